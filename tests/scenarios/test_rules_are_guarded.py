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
            "if problem.is_broken and problem.name in _USED - environ.keys()]",
            "if problem.is_broken]",
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
        "a name of a server names no variable",
        (
            "discovery/approval.py",
            "yield Grant(approved=True)\n",
            "yield Grant(approved=True, variables=frozenset(entry.variables))\n",
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
            "discovery/probes/user_files.py",
            "claude_folder(request.home, request.machine_environment)",
            "claude_folder(request.home, request.environment)",
        ),
        "a project's .env moves neither the approvals nor the user's own files",
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
        ("settings/load.py", "is_elsewhere = anywhere and not layers.is_ours(root)", "is_elsewhere = False"),
        "in a folder that is nobody's project the program's own defaults count",
    ),
    (
        "another project is another project",
        (
            "settings/layers.py",
            'return _OUR_NAME.search(read_file(root, "Pulumi.yaml") or b"") is not None',
            'return read_file(root, "Pulumi.yaml") is not None',
        ),
        "in another project's folder the program's own defaults count",
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
