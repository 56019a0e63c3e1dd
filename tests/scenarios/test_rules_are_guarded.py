"""Each rule is taken out of a copy of the program, and the scenario that guards it must turn red.

Red by what the report says, not by a crash: a rule whose absence crashes would be guarded by anything.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from .alterations import Alteration
from .runner import Job
from .states import BY_NAME

_ASK = "        async with self.exchange(method, path, headers, body) as exchange:\n            content"
# What everybody writes first: it follows redirects, uses proxies and ~/.netrc, and has no limit of its own.
_ORDINARY_CLIENT = (
    "        import requests\n"
    "        url = f'{self.place.scheme}://{self.place.authority}{path}'\n"
    "        try:\n"
    "            told = requests.request(method, url, headers=dict(headers), data=body, timeout=1)\n"
    "        except requests.RequestException as error:\n"
    "            raise UnreachableError('no') from error\n"
    "        told_headers = tuple((key.lower(), value) for key, value in told.headers.items())\n"
    "        return Response(told.status_code, told_headers, told.content)\n"
)

# The rule; where it stands, its text, and what takes its place; the scenario that must not stand without it.
RULES = (
    (
        "another stack's service needs share",
        (
            "discovery/judging/ownership.py",
            "case Ownership.FOREIGN_CLAIM if service not in request.share:",
            "case None:",
        ),
        "another stack's service is somebody else's",
    ),
    (
        "labels alone make nothing ours, and nothing external",
        ("discovery/judging/ownership.py", "    return Ownership.ORPHAN\n", "    return Ownership.EXTERNAL\n"),
        "labels of this stack make nothing ours, and what bears them is not reused",
    ),
    (
        "what leads to a container is the container",
        ("discovery/asking.py", "found = whose(addresses, place.port, self._world)", "found = Whose()"),
        "a variable that leads to our own container does not make it external",
    ),
    (
        "a port of a container counts as the container",
        ("discovery/judging/ownership.py", "if configured or candidate.source is Source.DOCKER:", "if True:"),
        "a container on the usual port is found as a container, not as a process of the host",
    ),
    (
        "an image counts by its whole name",
        (
            "discovery/probes/docker_engine.py",
            "if repository in service.images)",
            "if any(image in repository for image in service.images))",
        ),
        "an image whose name merely contains the right one is not it",
    ),
    (
        "only what is verified is chosen",
        (
            "discovery/judging/selection.py",
            "        if finding.verdict is Verdict.VERIFIED\n        and ",
            "        if ",
        ),
        "a dead external deployment gives way to the next",
    ),
    (
        "a server's own order replaces the default",
        ("discovery/judging/selection.py", "tuple(order or DEFAULT_PRIORITY)", "tuple(DEFAULT_PRIORITY)"),
        "priority_order as a list replaces the default order",
    ),
    (
        "priorities are numbers",
        ("discovery/config.py", "for key in sorted(value, key=int))", "for key in sorted(value))"),
        "numbers in priority_order count as numbers, not as text",
    ),
    (
        "a pin limits the choice",
        ("discovery/judging/selection.py", "and (pin is None or pin.allows(finding))", ""),
        "a pin to a source is honoured",
    ),
    (
        "a pin is honoured or fails",
        (
            "discovery/judging/selection.py",
            "    if problems:\n        raise PinError",
            "    if False:\n        raise PinError",
        ),
        "a pin on an impostor fails, though another could be had",
    ),
    (
        "a model server lists models, and not any kind of thing",
        ("discovery/fingerprints/openai.py", 'and entry.get("object") == "model"]', "]"),
        "models: whoever merely answers is an impostor",
    ),
    (
        "a list of models on every page proves nothing",
        (
            "discovery/fingerprints/openai.py",
            "if names is not None and await answers_everything(wire, nowhere, listed):",
            "if False:",
        ),
        "models: whoever merely answers is an impostor",
    ),
    (
        "a model server's key waits for its marks",
        ("discovery/fingerprints/openai.py", "if product is None and not wire.place.secure:", "if False:"),
        "models: a key is told to nobody whom nobody named, nor before somebody said who he is",
    ),
    (
        "a model server's endpoint ends where its clients want it",
        ("discovery/judging/sightings.py", "if protocol_of(service) is not Protocol.OPENAI:", "if True:"),
        "models: Ollama on its port is found with its models, and no configuration at all",
    ),
    (
        "every address is this machine's to who asks Ollama",
        ("discovery/probes/environment.py", "_EVERY_ADDRESS.get(match[2], match[2])", "match[2]"),
        "models: OLLAMA_HOST is read as Ollama reads it",
    ),
    (
        "an MCP server is known by its name",
        ("discovery/fingerprints/mcp.py", "return name.strip().lower() in known", "return True"),
        "a stranger's MCP server on 8000 is an impostor, and Zen MCP is found on 8001",
    ),
    (
        "an MCP server's name counts as a whole",
        (
            "discovery/fingerprints/mcp.py",
            "return name.strip().lower() in known",
            "return any(word in name.lower() for word in known)",
        ),
        "an MCP server whose name only contains the right one is not it",
    ),
    (
        "a session opened to ask is closed",
        (
            "discovery/fingerprints/mcp.py",
            "    if _SESSION.fullmatch(session):\n",
            "    if False:\n",
        ),
        "a session that was opened to ask is closed again",
    ),
    (
        "a session that a refused message opened is closed",
        ("discovery/fingerprints/mcp.py", "if _SESSION.fullmatch(session):", "if _introduced(response):"),
        "a session that a refused message opened is closed again, too",
    ),
    (
        "questions do not wait for slow answers",
        ("discovery/wire.py", "PATIENCE = 0.1", "PATIENCE = 60"),
        "whoever takes more than half of the budget for each answer is found",
    ),
    (
        "a candidate's time grows with the budget",
        (
            "discovery/asking.py",
            "return remaining / (1 + -(-queued // CONCURRENCY))",
            "return min(2.0, remaining)",
        ),
        "the time of one candidate grows with the budget",
    ),
    (
        "Qdrant's title is no proof",
        (
            "discovery/fingerprints/qdrant.py",
            'if echo or not (is_old or (health.status == 200 and b"healthz check passed" in health.body)):',
            "if False:",
        ),
        "Qdrant's title alone is not Qdrant",
    ),
    (
        "Prometheus says that it is healthy, in its own words",
        (
            "discovery/fingerprints/prometheus.py",
            "if health.status != 200 or health.body.strip() not in HEALTHY:",
            "if False:",
        ),
        "VictoriaMetrics is not Prometheus",
    ),
    (
        "Grafana has its database",
        ("discovery/fingerprints/grafana.py", 'if health.status == 503 or state != "ok":', "if False:"),
        "a Grafana without its database is unhealthy",
    ),
    (
        "a Redis to be used is a primary",
        (
            "discovery/fingerprints/redis.py",
            'if told.roles - {"master"}:',
            "if False:",
        ),
        "a Redis replica is found, and not taken for a primary",
    ),
    (
        "a cluster's node serves a part only",
        ("discovery/fingerprints/redis.py", 'if told.mode == "cluster":', "if False:"),
        "a node of a cluster is not usable, and its bus is left alone",
    ),
    (
        "inner protocols are left alone",
        ("discovery/asking.py", "if proved is not None:", "if False:"),
        "a Qdrant's gRPC and what its nodes say to each other are left alone",
    ),
    (
        "the usual port of a process is asked first",
        ("discovery/judging/turns.py", "return port not in findable.known_ports, is_inner, port", "return -port"),
        "a Qdrant's gRPC and what its nodes say to each other are left alone",
    ),
    (
        "a database has to exist",
        ("discovery/fingerprints/redis.py", 'chosen != Simple("OK")', "False"),
        "a database that is not there is told",
    ),
    (
        "a password that ends an address is told as such",
        ("discovery/probes/environment.py", 'if "@" in rest[len(authority) :] or', "if False and"),
        "a REDIS_URL like redis://:a#SECRET@127.0.0.1:7379 says what to write",
    ),
    (
        "a name that is refused is told from a login that is wanted",
        ("discovery/fingerprints/answer.py", "    if response.status == _MISDIRECTED:\n        return True\n", ""),
        "what refuses its name is told as such, whatever it is",
    ),
    (
        "a host check by 403 is one",
        ("discovery/fingerprints/answer.py", "return response.status in (400, 403) and", "return False and"),
        "an MCP server that serves under other names only says so with 403, too",
    ),
    (
        "Grafana without a version shows its login page",
        ("discovery/fingerprints/grafana.py", "if login.status != 200 or _BOOT_DATA not in login.body:", "if False:"),
        "health without a version and without a login page is nobody's",
    ),
    (
        "a password only after Redis has shown itself",
        ("discovery/fingerprints/redis.py", "not await _may_log_in(wire, stream, first)", "False"),
        "a password is not told to one that wants one before everything",
    ),
    (
        "a secret only to what it was configured for",
        ("discovery/asking.py", "elif not sighting.probe.entitled:", "elif False:"),
        "a password meant for one Redis is not offered to another",
    ),
    (
        "no redirects",
        ("discovery/wire.py", _ASK, _ORDINARY_CLIENT + _ASK),
        "a redirect is no service, and is not followed",
    ),
    ("no ~/.netrc", ("discovery/wire.py", _ASK, _ORDINARY_CLIENT + _ASK), "~/.netrc is nobody's business"),
    (
        "no proxies",
        ("discovery/wire.py", _ASK, _ORDINARY_CLIENT + _ASK),
        "the environment's proxy sees nothing of a secret",
    ),
    (
        "a deadline that drips cannot stretch",
        ("discovery/wire.py", _ASK, _ORDINARY_CLIENT + _ASK),
        "silence, headers drop by drop, a body drop by drop, a status line drop by drop: "
        "they cost the budget at most, little memory, and no other service",
    ),
    (
        "each visit has a limit",
        (
            "discovery/asking.py",
            "async with asyncio.timeout_at(until):\n                answer",
            "async with asyncio.timeout_at(until + 3):\n                answer",
        ),
        "fifty configured servers that never answer cost the budget at most",
    ),
    (
        "each source has a limit",
        ("discovery/look.py", "asyncio.wait(running.values(), timeout=limit)", "asyncio.wait(running.values())"),
        "an engine that accepts and never answers costs the budget at most, and is named",
    ),
    (
        "a name is resolved once",
        ("discovery/wire.py", "for address in self._addresses:", "for address in (self.place.host,):"),
        "a name that resolves differently the second time is not followed to the second address",
    ),
    (
        "certificates are verified",
        ("discovery/wire.py", "context = ssl.create_default_context()", "context = ssl._create_unverified_context()"),
        "a certificate that nobody signed proves nothing, and its owner learns no key",
    ),
    (
        "addresses of metadata services are refused",
        ("reading/addresses.py", "if address.is_link_local or address in _METADATA:", "if False:"),
        "the metadata service is never asked by a name that resolves to it",
    ),
    (
        "no userinfo in a URL",
        (
            "reading/endpoints.py",
            '    if "@" in authority:\n',
            '    authority = authority.rpartition("@")[2]\n    if False:\n',
        ),
        "a URL with a user and a password is refused, and the password not shown",
    ),
    (
        "a lock of a dead process is stale",
        (
            "discovery/probes/lock_files.py",
            "elif reason := lock_format.stale_reason(lock, time.time()):",
            'elif reason := "":',
        ),
        "a lock of a dead process is reported, and not followed",
    ),
    (
        "a recycled pid is another process",
        (
            "discovery/readers/process_identity.py",
            "if process.create_time() > written + CLOCK_TOLERANCE_SECONDS:",
            "if False:",
        ),
        "a lock older than the process that now has its number is reported, and not followed",
    ),
    (
        "a lock is no symbolic link",
        ("discovery/readers/lock_format.py", "follow=False", "follow=True"),
        "what is no lock is reported, and neither opened, followed nor believed",
    ),
    (
        "a lock is ours or root's",
        ("discovery/readers/lock_format.py", "owners=frozenset({0, os.geteuid()})", "owners=None"),
        "what is no lock is reported, and neither opened, followed nor believed",
    ),
    (
        "a lock is for the service of its name",
        ("discovery/probes/lock_files.py", "if lock.service != service:", "if False:"),
        "what is no lock is reported, and neither opened, followed nor believed",
    ),
    (
        "foreign text is escaped",
        ("reading/text.py", 'c if c.isprintable() else c.encode("unicode_escape").decode("ascii")', "c"),
        "a server's name with a terminal's escapes is shown without them",
    ),
    (
        "a variable without value and default is an error",
        (
            "discovery/readers/expansion.py",
            "environment.get(name, default if separator else None)",
            "environment.get(name, default)",
        ),
        "a variable that is not set is named, and the rest of the URL is not asked",
    ),
    (
        "npx needs the package's key",
        (
            "discovery/probes/npx.py",
            "if package.key_variable is not None and key is None:",
            "if False:",
        ),
        "a package that needs a key is not chosen without it",
    ),
    (
        "the environment wins over .env",
        (
            "settings/layers.py",
            "own = {name: variable for name, variable in read.variables.items() if name not in environ}",
            "own = dict(read.variables); environ = {name: environ[name] for name in environ.keys() - own.keys()}",
        ),
        "the real environment wins over .env",
    ),
    (
        "a comment is no value",
        ("reading/env_file.py", 'if quote == "#" and space else', "if False else"),
        "a comment is no key, and so opens nothing",
    ),
    (
        "a value may have several lines",
        ("reading/env_file.py", "end = written.end", "pass"),
        "a value over several lines, and quotes within quotes, are nobody's business here",
    ),
    (
        "a variable in a value is expanded",
        ("reading/env_file.py", "made.of(written.text) if written.expands else written.text", "written.text"),
        "a password in an address may be another line's",
    ),
    (
        "what is not set is named",
        ("reading/env_file.py", "for what in made.unset]", "for what in []]"),
        "what is not set is named, and nothing stands for it",
    ),
    (
        "a .env carries nothing of this machine's elsewhere",
        ("discovery/probes/environment.py", "if problem is None and taken and not", "if False and not"),
        "a .env carries no variable of this machine to another one",
    ),
    (
        "a .env does not name the engine",
        (
            "discovery/readers/engine.py",
            "connection(request.machine_environment, request.home)",
            "connection(request.environment, request.home)",
        ),
        "a .env names neither the engine nor where the locks are",
    ),
    (
        "a .env does not say where the locks are",
        ("discovery/deploy_look.py", 'if origins.get(name) != ".env"}', "}"),
        "a .env names neither the engine nor where the locks are",
    ),
    (
        "a long list of models is read",
        ("discovery/fingerprints/openai.py", "_MAX_LIST = 2 * 1024 * 1024", "_MAX_LIST = 64 * 1024"),
        "models: a gateway's list of half a megabyte is one, too",
    ),
    (
        "a line that nobody needs ends no run",
        (
            "settings/layers.py",
            "if problem.is_broken and problem.name in (TUNING if why else _USED) - environ.keys()",
            "if problem.is_broken",
        ),
        "a line that can't be read and that nobody needs is a warning that does not repeat it",
    ),
    (
        "a line that is needed has to be readable",
        ("settings/layers.py", "    if needed:\n", "    if False:\n"),
        "a line that can't be read and that is needed is an error that does not repeat it",
    ),
    (
        "a refused value is shown without its login",
        ("settings/load.py", "{shown(error['input'])} is refused", "{error['input']!r} is refused"),
        "a login in UV_DEFAULT_INDEX (https://SECRET@python.example.com/simple) is refused, and not shown",
    ),
    (
        "an agent has its own order",
        ("discovery/agents.py", "    usable.sort(key=lambda each: order.index(each.tier))\n", ""),
        "an agent's own order replaces the default",
    ),
    (
        "front matter that is no YAML is read by its entries",
        (
            "reading/front_matter.py",
            "return _by_entries(text, keys, first_line)",
            "raise FrontMatterError('is no YAML')",
        ),
        "front matter that is no strict YAML is read as its author meant it",
    ),
    (
        "text that goes on without indentation is refused",
        ("reading/front_matter.py", 'elif line and line[0] != "#" and', "elif False and"),
        "text that goes on without indentation makes an agent of nobody's",
    ),
    (
        "an agent has a description",
        (
            "reading/agent_definition.py",
            "    if not value or not value.strip():\n",
            "    if value is None:\n        return ''\n    if False:\n",
        ),
        "an agent without a description is none",
    ),
    (
        "an agent's id is made of its name",
        ("discovery/agents.py", "            agent_id(definition.name),\n", "            definition.name,\n"),
        "a name for people becomes an id",
    ),
    (
        "two names with one id are told apart",
        ("discovery/agents.py", "    if definition.title == winner.title:\n", "    if True:\n"),
        "two names with one id: the second is listed, with the reason",
    ),
    (
        "all agents together have a limit",
        ("discovery/agents.py", "        if total > MAX_ALL_BYTES:\n", "        if False:\n"),
        "agents that do not fit are left out by the look, by name",
    ),
    (
        "a folder of agents has a limit, and says so",
        ("discovery/agents.py", "    if cut:\n", "    if False:\n"),
        "more files than are looked at are said with the number",
    ),
    (
        "the first files in order are looked at",
        ("reading/safe_files.py", "            if entries > MAX_ENTRIES:\n", "            if entries > 900:\n"),
        "more files than are looked at are said with the number",
    ),
    (
        "what has no name and is about agents is no agent",
        ("discovery/agents.py", "isinstance(error, NoNameError) and ", "False and "),
        "what lies beside agents is none",
    ),
    (
        "the way up ends at the repository's root",
        ("discovery/readers/agent_folders.py", '        if (folder / ".git").exists():\n', "        if number == 1:\n"),
        "what lies above the repository's root is nobody's agent",
    ),
    (
        "only plugins that are switched on count",
        (
            "discovery/readers/agent_folders.py",
            "        if not may_be_on or not of_project.get(plugin, True):\n",
            "        if False:\n",
        ),
        "a plugin's agents count where its user switched it on",
    ),
    (
        "a repository switches no plugin on",
        (
            "discovery/readers/agent_folders.py",
            "is_for_project or switches.get(plugin, False)\n",
            "is_for_project or (switches | of_project).get(plugin, False)\n",
        ),
        "a plugin's agents count where its user switched it on",
    ),
    (
        "a project's entry waits for approval",
        (
            "discovery/readers/mcp_files.py",
            "if not grant.approved and (launch or approver.only_approved or not is_loopback(would.endpoint)):",
            "if False:",
        ),
        "a project's address beyond the loopback is not called before it is approved",
    ),
    (
        "a project's package waits for approval",
        (
            "discovery/readers/mcp_files.py",
            "if not grant.approved and (launch or approver.only_approved or not is_loopback(would.endpoint)):",
            "if not grant.approved and (approver.only_approved or not is_loopback(would.endpoint)) and not launch:",
        ),
        "a project's package is not started before it is approved, and what it would be given is told by name",
    ),
    (
        "the discovery configuration's address waits for approval",
        (
            "discovery/probes/project_files.py",
            "if approver.grant(entry).approved or (is_loopback(url) and not approver.only_approved):",
            "if True:",
        ),
        "in none of a project's files an address is called before it is approved",
    ),
    (
        "the discovery configuration's package waits for approval",
        ("discovery/probes/npx.py", "if not grant.approved:", "if False:"),
        "a package of the discovery configuration is not started, nor given its key, before it is approved",
    ),
    (
        "a known package's key goes along with what this program knows of it only",
        ("discovery/probes/npx.py", "if written and (withheld := ", "if False and (withheld := "),
        "a known package with a project's arguments is given its key only where that is named for it",
    ),
    (
        "an approval is for the entry as it was written",
        (
            "discovery/approval.py",
            "if any(known.fingerprint == entry.fingerprint for known in self.approvals):",
            "if any(known.service == entry.service for known in self.approvals):",
        ),
        "an entry that has changed waits again",
    ),
    (
        "a project's url is given no variable",
        (
            "discovery/readers/mcp_files.py",
            "    if file.approver is not None:\n        # An",
            "    if False:\n        # An",
        ),
        "no URL of a project's carries a variable of this machine, approved or not",
    ),
    (
        "a project's url has its defaults, whatever this machine holds",
        ("discovery/readers/mcp_files.py", "        environment = {}\n", ""),
        "so is a default in the URL of a bridge's arguments",
    ),
    (
        "what is no text among a command's words is told",
        (
            "discovery/readers/commands.py",
            '    raise LaunchError(f"has {_kind(value)} as {what}; write a text")\n',
            '    return ""\n',
        ),
        "what is no text among the words is told, and nothing of the rest is started",
    ),
    (
        "a number among a command's words is a text",
        ("discovery/readers/commands.py", "if isinstance(value, int) and", "if False and"),
        "a package is known however it is started: numbers among the words",
    ),
    (
        "words beyond the limit are told",
        (
            "discovery/readers/commands.py",
            "    if len(given) > MAX_WORDS:",
            "    given = given[:MAX_WORDS]\n    if False:",
        ),
        "more words than are read are told with their number",
    ),
    (
        "a shell's line stays a shell's",
        ("discovery/readers/commands.py", "if _SHELLS_WORK.search(without_references):", "if False:"),
        "what only a shell could read is started by nobody",
    ),
    (
        "a folder that only Claude Code names is named as that",
        ("discovery/readers/mcp_files.py", "if folder := commands.claudes_folder(server):", "if folder := None:"),
        "a folder that only Claude Code names is named as that",
    ),
    (
        "no entry chooses a registry by an option",
        ("discovery/readers/package_runners.py", "if option in grammar.refused:", "if False:"),
        "another registry is not asked",
    ),
    (
        "no entry chooses a registry by a variable",
        ("discovery/readers/launches.py", "if key := _REGISTRIES.get(name.upper()):", "if key := None:"),
        "nor by a variable that would choose it",
    ),
    (
        "a package is one of a registry's",
        (
            "discovery/readers/package_runners.py",
            "return tidy if _PYTHON.fullmatch(tidy) else None",
            "return tidy or None",
        ),
        "a repository is no package of a registry",
    ),
    (
        "a script of this host's is no package",
        (
            "discovery/readers/package_runners.py",
            "(not self._packages or _is_a_script(rest))",
            "not self._packages",
        ),
        "a script of this host's is no package",
    ),
    (
        "variables that env sets count as the entry's",
        (
            "discovery/readers/mcp_files.py",
            "{**commands.variables_of(server), **command.variables}",
            "commands.variables_of(server)",
        ),
        "a variable that env sets is taken from this machine",
    ),
    (
        "a container's image has an exact version",
        (
            "discovery/readers/container_run.py",
            'if not match["digest"] and match["tag"] in (None, ":latest"):',
            "if False:",
        ),
        "a container's image needs an exact version",
    ),
    (
        "a container mounts nothing of this host",
        ("discovery/readers/container_run.py", '("-v", "--volume", "--mount", "--volumes-from"), _MOUNT', "(), _MOUNT"),
        "a container mounts nothing of this host",
    ),
    (
        "a container has no rights over this host",
        ("discovery/readers/container_run.py", "        if option in _REFUSED:", "        if False:"),
        "a container has no rights over this host",
    ),
    (
        "what a container hands on counts as the entry's",
        ("discovery/readers/mcp_files.py", "    yield from _handed_on(server)\n", ""),
        "a project's container waits for approval, with what it would be given",
    ),
    (
        "a name of a server names no variable",
        (
            "discovery/approval.py",
            "`mcpVariables` says.\n            yield Grant(approved=True)\n",
            "`mcpVariables` says.\n            yield Grant(approved=True, variables=frozenset(entry.variables))\n",
        ),
        "a package that the stack names is given no variable by that alone",
    ),
    (
        "variables are named for one server",
        (
            "discovery/approval.py",
            "frozenset(self.variables.get(entry.service, ()))",
            "frozenset(name for names in self.variables.values() for name in names)",
        ),
        "what is named for one server is not given to another",
    ),
    (
        "the loopback is an address or one name, as a whole",
        (
            "discovery/approval.py",
            'return host == "localhost" if address is None else address.is_loopback',
            'return host.startswith(("localhost", "127.")) or bool(address)',
        ),
        "what only looks like the loopback waits for approval, or is no address at all",
    ),
    (
        "localhost is the loopback",
        ("discovery/wire.py", 'if host == "localhost" and not', "if False and not"),
        "localhost is the loopback, or it is not asked",
    ),
    (
        "approvals are the operator's own file",
        ("discovery/readers/approval_records.py", "follow=False, private=True", "follow=False, private=False"),
        "approvals that others may have written count for nothing",
    ),
    (
        "a project's .env does not say where approvals are",
        (
            "discovery/deploy_look.py",
            "approval_records.path_of(os.environ, home)",
            "approval_records.path_of(environment, home)",
        ),
        "a project's .env moves neither the approvals nor the user's own files",
    ),
    (
        "a project's .env does not say where the user's files are",
        (
            "discovery/readers/claude_json.py",
            "claude_folder(request.home, request.machine_environment)",
            "claude_folder(request.home, request.environment)",
        ),
        "a project's .env moves neither the approvals nor the user's own files",
    ),
    (
        "a project's .env does not say which file of Claude Code's is the user's",
        (
            "discovery/readers/claude_json.py",
            "claude_folder(request.home, request.machine_environment)",
            "claude_folder(request.home, request.environment)",
        ),
        "a project's .env moves neither the approvals nor the user's own files",
    ),
    (
        "what the user rejected is not used",
        ("discovery/readers/claude_settings.py", "if of_project and (where := self.rejected.get(loose)):", "if False:"),
        "a project's server that the user rejected is not asked, whatever else approves it",
    ),
    (
        "what is switched off for a project is not used",
        ("discovery/readers/claude_settings.py", "if where := self.switched_off.get(loose):", "if False:"),
        "a server that is switched off for this project is not asked, the user's own neither",
    ),
    (
        "what is denied is not used",
        ("discovery/readers/claude_settings.py", "            if rule.fits(named):\n", "            if False:\n"),
        "what is denied by name, address or command is neither asked nor started",
    ),
    (
        "a name is allowed only where nothing better is",
        ("discovery/readers/claude_settings.py", "return not better and any(", "return any("),
        "where addresses are allowed, a name is no way around them",
    ),
    (
        "a repository's list of what is allowed widens nothing",
        ("discovery/readers/claude_settings.py", "own if file.own else others).append(listed)", "own).append(listed)"),
        "where addresses are allowed, a name is no way around them",
    ),
    (
        "the machine's list may be the only one",
        (
            "discovery/readers/claude_settings.py",
            "kept = managed if only_managed else [*managed, *own]",
            "kept = [*managed, *own]",
        ),
        "the user's list adds to the machine's, unless only that counts",
    ),
    (
        "managed servers exclude all others",
        ("discovery/readers/claude_settings.py", "if self.closed and not managed:", "if False:"),
        "managed servers exclude all others",
    ),
    (
        "what a broken managed file denies is unknown",
        ("discovery/readers/claude_settings.py", "        if len(warnings) > before:\n", "        if False:\n"),
        "managed settings that can't be read deny everything",
    ),
    (
        "a repository's settings approve nothing",
        (
            "discovery/readers/claude_settings.py",
            "Rules(_MAX_BYTES), warnings), own=False)",
            "Rules(_MAX_BYTES), warnings), own=True)",
        ),
        "a repository's settings approve nothing of the repository",
    ),
    (
        "settings in the repository are the repository's, whoever leads there",
        ("discovery/readers/claude_settings.py", "own = not path.resolve().is_relative_to(root)", "own = True"),
        "settings that lead into the repository approve nothing of it",
    ),
    (
        "settings approve what Claude Code would",
        ("discovery/readers/mcp_files.py", "by_settings = file.label == CLAUDES_PROJECT_FILE and ", "by_settings = "),
        "settings approve what stands in .mcp.json, and nothing else of the project",
    ),
    (
        "settings approve names, and give no variable",
        (
            "discovery/approval.py",
            "variable along.\n            yield Grant(approved=True)\n",
            "variable along.\n            yield Grant(approved=True, variables=frozenset(entry.variables))\n",
        ),
        "approved by settings alone, a server is given no variable of this machine",
    ),
    (
        "what is turned off is not found elsewhere",
        ("discovery/judging/judge.py", " and name not in off - set(FINDABLE)]", "]"),
        "what is turned off under its name is not found under it at another place",
    ),
    (
        "a label is no identity",
        ("discovery/judging/judge.py", "or (is_label and not identities):", "or False:"),
        "a label of the user's is no identity, and the server's own name is told",
    ),
    (
        "two names are two servers",
        ("discovery/readers/server_names.py", "if often[service] == 1 or name", "if True or name"),
        "names that are alike are two servers, and other scripts name one as well",
    ),
    (
        "what is kept of a large file has a limit",
        ("discovery/readers/claude_json.py", "if characters > _MAX_TEXT or count > _MAX_VALUES:", "if False:"),
        "servers that are larger than four megabytes are not read, and the number is said",
    ),
    (
        "a header waits until MCP is shown",
        (
            "discovery/fingerprints/mcp.py",
            "if not (wants_more and wire.place.secure) and not await _shows_mcp(wire, whole=wants_more):",
            "if False:",
        ),
        "what shows nothing of MCP learns no header in the clear",
    ),
    (
        "metadata is about that very host",
        (
            "discovery/fingerprints/mcp.py",
            "if isinstance(resource, str) and _is_here(resource, wire.place):",
            "if isinstance(resource, str):",
        ),
        "another resource's metadata shows nothing",
    ),
    (
        "metadata is about that very path",
        ("discovery/fingerprints/mcp.py", '.startswith(f"{whose}/"):', '.startswith("/"):'),
        "another resource's metadata shows nothing",
    ),
    (
        "headers are for that very address",
        (
            "discovery/fingerprints/mcp.py",
            "paths if own and wire.shows_headers else [*paths, stream]",
            "[*paths, stream]",
        ),
        "headers go to no other path of the host",
    ),
    (
        "headers beyond the loopback need TLS",
        ("discovery/asking.py", "if place.secure or all(_is_loopback(address) for address in resolved):", "if True:"),
        "headers are not sent in the clear beyond the loopback",
    ),
    (
        "a project's headers wait for approval",
        (
            "discovery/readers/mcp_files.py",
            "        if grant.approved:\n            return _with_headers",
            "        if True:\n            return _with_headers",
        ),
        "a project's headers wait for approval, though its loopback is asked",
    ),
    (
        "who asks with other headers sees another place",
        ("discovery/judging/sightings.py", "headers=candidate.headers)", "headers=())"),
        "two entries at one address are asked each with its own headers",
    ),
    (
        "a header that is HTTP's own is not an entry's",
        ("discovery/readers/entry_forms.py", "or str(name).lower() in _NOT_TO_SET:", ":"),
        "a header that would break the request is not sent, and told",
    ),
    (
        "a header is one line",
        (
            "discovery/readers/entry_forms.py",
            "if not value.isascii() or not value.isprintable() or not value:",
            "if False:",
        ),
        "a header that would break the request is not sent, and told",
    ),
    (
        "what another tool turned off is off",
        ("discovery/readers/entry_forms.py", ' or server.get("enabled") is False:', ":"),
        "what can't be used of other forms says why",
    ),
    (
        "other tools' files are read as long as the stack wants it",
        ("discovery/probes/other_tools.py", "if not request.other_tools:", "if False:"),
        "otherTools turns files of other tools off",
    ),
    (
        "a project's .env does not say where other tools' files are",
        (
            "discovery/probes/other_tools.py",
            "_settings_folder(request.home, request.machine_environment)",
            "_settings_folder(request.home, request.environment)",
        ),
        "a hostile repository is looked at, and nothing of it is run, called or told a secret",
    ),
    (
        "production takes what is named",
        ("discovery/judging/selection.py", "not (only_named or item.user)", "not item.user"),
        "a port that nobody named is offered to production, and not taken",
    ),
    (
        "another user's server is not taken unnamed",
        ("discovery/judging/selection.py", "not (only_named or item.user)", "not only_named"),
        "another user's server is offered, and not taken",
    ),
    (
        "a daemon is no other user",
        ("discovery/readers/socket_owners.py", "uid in _PEOPLE and uid not in own", "uid not in own"),
        "a daemon's own account is no other user",
    ),
    (
        "a pin to a source names no port",
        ("discovery/judging/selection.py", "and (pin.endpoint is not None or pin.source is Source.DOCKER)", ""),
        "a pin to a source names no port",
    ),
    (
        "an address is named for one service",
        ("discovery/judging/judge.py", "service=other, named_by=NamedBy.NOBODY)", "service=other)"),
        "an address that was named for one service is not another's",
    ),
    (
        "any folder can be looked at",
        (
            "settings/load.py",
            "is_elsewhere = anywhere and not (layers.is_own_checkout(root) or (is_named and layers.is_ours(root)))",
            "is_elsewhere = False",
        ),
        "in a folder that is nobody's project the program's own defaults count",
    ),
    (
        "another project is another project",
        (
            "settings/layers.py",
            "return root.resolve() == PROGRAM",
            'return read_file(root, "Pulumi.yaml") is not None',
        ),
        "in another project's folder the program's own defaults count",
    ),
    (
        "another folder's stack files approve nothing",
        (
            "settings/layers.py",
            "return root.resolve() == PROGRAM",
            'return b"promptcraft-hybrid" in (read_file(root, "Pulumi.yaml") or b"")',
        ),
        "a stack file of another folder approves, pins and calls nothing",
    ),
    (
        "a stack file that does not count is told of",
        ("settings/layers.py", "    if _OUR_KEY.search(data) is None:\n", "    if True:\n"),
        "a stack file of another folder approves, pins and calls nothing",
    ),
    (
        "another folder has no state of ours",
        ("discovery/deploy_look.py", "        if settings.is_elsewhere\n", "        if False\n"),
        "Pulumi is not asked for the state of another folder",
    ),
    (
        "a named folder's stack file counts",
        ("discovery/__main__.py", "is_named=options.root is not None", "is_named=False"),
        "a stack file counts in the folder that the operator names",
    ),
    (
        "a .env that came with the repository is no operator's",
        ("settings/layers.py", 'why = _COMMITTED.get(tracking(root / DOTENV), "") if own else ""', 'why = ""'),
        "a .env that git tracks sends nobody beyond this machine",
    ),
    (
        "an address of a committed .env is this machine's",
        (
            "discovery/probes/environment.py",
            "        elif problem is None:\n            # Whoever",
            "        elif False:\n            # Whoever",
        ),
        "a .env that git tracks sends nobody beyond this machine",
    ),
    (
        "an address of a committed .env is one that nobody named",
        ("discovery/probes/environment.py", "named_by = NamedBy.NOBODY", "named_by = NamedBy.OPERATOR"),
        "in production a .env that git tracks takes nothing",
    ),
    (
        "a committed .env moves no port of the environment's",
        ("discovery/probes/environment.py", '"" if moved else', ""),
        "the environment's address counts, whatever a .env that git tracks says",
    ),
    (
        "a committed .env sets nothing but what tunes",
        ("settings/layers.py", "if not why or name in TUNING}", "if True}"),
        "a .env that git tracks gives no server a variable, and names no registry",
    ),
    (
        "a committed .env gives no entry its values",
        ("settings/layers.py", "if not why or name in TUNING}", "if not why or name not in VARIABLES}"),
        "a .env that git tracks moves no address of the user's own files",
    ),
    (
        "what a committed .env says in vain is told",
        ("settings/layers.py", "    if refused:\n", "    if False:\n"),
        "a .env that git tracks gives no server a variable, and names no registry",
    ),
    (
        "only what git tracks came with the repository",
        (
            "settings/git_tracking.py",
            "        return Tracking.UNTRACKED\n    # Entries",
            "        return Tracking.TRACKED\n    # Entries",
        ),
        "a .env that git does not track is the operator's word",
    ),
    (
        "an index that can't be read vouches for nothing",
        (
            "settings/git_tracking.py",
            "    if index is None:\n        return Tracking.UNKNOWN",
            "    if index is None:\n        return Tracking.UNTRACKED",
        ),
        "an index that can't be read vouches for no .env",
    ),
    (
        "a tool pin is read strictly",
        ("discovery/readers/tool_pins.py", "if unknown := sorted(tool.keys() - set(_KEYS)):", "if unknown := []:"),
        "a tool pin that is not as it was written is an error with its line",
    ),
    (
        "a tool pin is no link",
        ("discovery/readers/tool_pins.py", "follow=False)", "follow=True)"),
        "a tool pin that stands elsewhere is not followed",
    ),
    (
        "a key twice is an error",
        ("reading/strict_yaml.py", "            if key in values:\n", "            if False:\n"),
        "every mistake in the discovery configuration is named with its line and key, in one go",
    ),
)

_JOBS = [
    pytest.param(
        Job(BY_NAME[scenario], Alteration(*alteration)),
        id=rule,
        marks=[pytest.mark.engine] if BY_NAME[scenario].engine else [],
    )
    for rule, alteration, scenario in RULES
]


@pytest.mark.parametrize("job", _JOBS)
def test_without_the_rule_its_scenario_turns_red(job: Job, check: Callable[[Job], None]) -> None:
    with pytest.raises(AssertionError) as red:
        check(job)
    assert "Traceback" not in str(red.value), f"not red, but crashed:\n{red.value}"
