"""What each stack declares, for each state of the world: the exact list of resources, by Pulumi's own mocks."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
import tarfile
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pulumi
import pytest

from catalog import EXPORTERS, LABEL_STAND_IN, PROVIDERS, SERVICES, SHARED, host_port
from components.stack import PromptCraftStack
from discovery.config import DiscoveryConfig
from discovery.report import Candidate, Finding, HostLaunch, Launch, Ownership, Reach, Source, Vantage, Verdict
from planning.contents import Contents, SecretText
from planning.decide import decide
from settings import Secret, StackSettings
from settings.images import Image
from settings.tls import Tls
from tests.builders import finding, report_of, settings_of

GATEWAY = "10.99.0.1"


class Recorder(pulumi.runtime.Mocks):
    """Accepts every resource and remembers its type, name and inputs."""

    def __init__(self) -> None:
        self.resources: list[tuple[str, str, dict[str, Any]]] = []

    def new_resource(self, args: pulumi.runtime.MockResourceArgs) -> tuple[str, dict[str, Any]]:
        self.resources.append((args.typ, args.name, args.inputs))
        chosen = {
            "imageId": f"{args.name}-image-id",
            "ipamConfigs": [{"gateway": GATEWAY, "subnet": "10.99.0.0/24"}],
            # What an image says it would start.
            "stdout": '[["/srv/maps"],["--all"]]',
        }
        return f"{args.name}-id", dict(args.inputs) | chosen

    def call(self, args: pulumi.runtime.MockCallArgs) -> Any:
        raise AssertionError(f"the program calls {args.token}, but it may only declare")


def declared(stack: str, found: Iterable[Finding] = (), **config: Any) -> Recorder:
    return run(settings_of(stack, {"GRAFANA_PASSWORD": "only-for-tests"}, **config), found)


def run(settings: StackSettings, found: Iterable[Finding] = ()) -> Recorder:
    """Run the program's second half under Pulumi's mocks, to the end of all its outputs."""
    recorder = Recorder()
    plan = decide(report_of(found), settings, DiscoveryConfig())

    def program() -> None:
        secrets = {name: SecretText(secret.value) for name, secret in settings.secrets.items()}
        launches = {place: SecretText(text) for place, text in LAUNCHES.items()}
        headers = {place: SecretText(text) for place, text in HEADERS.items()}
        PromptCraftStack(plan, Contents(secrets, launches=launches, headers=headers, certificates="authorities"))

    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        pulumi.runtime.set_mocks(recorder, project="promptcraft-hybrid", stack=settings.stack, preview=False)
        pulumi.runtime.test(program)()  # type: ignore[no-untyped-call]
    finally:
        loop.close()
        asyncio.set_event_loop(None)
    return recorder


def engine_objects(recorder: Recorder) -> list[str]:
    """`Container name` for everything on the engine, sorted; components and commands left out."""
    return sorted(
        f"{typ.rsplit(':', 1)[1]} {inputs['name']}"
        for typ, _, inputs in recorder.resources
        if typ.startswith("docker:") and not typ.endswith("RemoteImage") and "-files" not in str(inputs["name"])
    )


def containers(stack: str, *names: str) -> list[str]:
    return [f"Container promptcraft-{stack}-{name}" for name in names]


def everything(stack: str, *services: str) -> list[str]:
    keeping = {name for name, service in SERVICES.items() if service.data_path} | {"runner"}
    volumes = [f"Volume promptcraft-{stack}-{name}-data" for name in services if name in keeping]
    networks = ["network", *(["egress-network"] if "egress" in services else [])]
    behind = [f"Volume promptcraft-{stack}-carrier-program"] if "egress" in services else []
    behind += [f"Volume promptcraft-{stack}-{name}-door" for name in services if name == SHARED]
    return sorted(
        [
            *containers(stack, *services),
            *volumes,
            *behind,
            *(f"Network promptcraft-{stack}-{name}" for name in networks),
        ]
    )


OURS = tuple(finding(name, Verdict.OWNED, ownership=Ownership.OURS) for name in SERVICES)
FOREIGN = (
    finding("redis", endpoint="redis://10.0.0.5:6379"),
    finding("qdrant", reach=Reach(Vantage.CONTAINER_NETWORK, "theirs", "http://qdrant-1:6333")),
    finding("zen-mcp"),
)
MODELS_HERE = (finding("models", endpoint="http://127.0.0.1:11434/v1", reach=Reach(Vantage.HOST_LOOPBACK)),)
ON_LOOPBACK = (finding("redis", endpoint="redis://127.0.0.1:6379", reach=Reach(Vantage.HOST_LOOPBACK)),)
BY_NPX = (
    Finding(
        Candidate(
            "context7",
            Source.NPX,
            "npx:a",
            "npx package of context7",
            launch=Launch("npx", "a@1.0.0", told=("-y", "a@1.0.0")),
            key="npx package of context7",
        ),
        Verdict.VERIFIED,
        "npx starts it when it is needed",
        reach=Reach(Vantage.PROCESS),
    ),
)
BY_HEADERS = (
    Finding(
        Candidate(
            "far", Source.USER, "https://10.0.0.5:443/mcp", "~/.claude.json", key="its place", header_names=("X-Key",)
        ),
        Verdict.VERIFIED,
        "said so",
    ),
)
HEADERS = {("far", "its place"): '{"X-Key": "header-zzq"}'}
BY_IMAGE = (
    Finding(
        Candidate("maps", Source.USER, "", "entry of maps", launch=Launch("docker", "acme/maps:1.2"), key="maps"),
        Verdict.SKIPPED,
        "speaks stdio",
    ),
)
LAUNCHES = {
    ("context7", "npx package of context7"): '{"key": "launch-zzq"}',
    ("maps", "maps"): '{"binary": null, "arguments": ["--key", "argument-zzq"], "environment": {"KEY": "launch-zzq"}}',
}
ON_THIS_HOST = (
    Finding(
        Candidate(
            "notes",
            Source.USER,
            "",
            "~/.claude.json: mcpServers.notes",
            launch=HostLaunch("0123456789abcdef", run=3),
            key="~/.claude.json: mcpServers.notes",
        ),
        Verdict.SKIPPED,
        "a command of this host",
    ),
)
ALL = ("promptcraft", "redis", "zen-mcp", "qdrant")
RUNNERS = ("runner", "egress", "runner-servers")
REPLICAS = ("promptcraft-1", "promptcraft-2", "promptcraft-3")
PRODUCTION = (*REPLICAS, *(name for name in SERVICES if name != "promptcraft"), *EXPORTERS)


@pytest.mark.parametrize(
    ("stack", "found", "services"),
    [
        ("dev", (), ALL),
        ("dev", OURS, ALL),
        ("dev", FOREIGN, ("promptcraft",)),
        ("hybrid", (), ALL),
        ("hybrid", OURS, ALL),
        ("hybrid", FOREIGN, ("promptcraft",)),
        ("hybrid", ON_LOOPBACK, ("promptcraft", "redis-relay", "zen-mcp", "qdrant")),
        ("dev", MODELS_HERE, (*ALL, "models-relay")),
        ("hybrid", MODELS_HERE, (*ALL, "models-relay")),
        ("cloud", MODELS_HERE, ("promptcraft",)),
        ("cloud", (), ("promptcraft",)),
        ("cloud", OURS, ("promptcraft",)),
        ("cloud", FOREIGN, ("promptcraft",)),
        ("cloud", BY_NPX, ("promptcraft", *RUNNERS)),
        ("dev", BY_NPX, (*ALL, *RUNNERS)),
        ("dev", ON_THIS_HOST, ALL),
        ("production", (), PRODUCTION),
        ("production", OURS, PRODUCTION),
        ("production", FOREIGN, (*REPLICAS, "nginx", "prometheus", "grafana", "nginx-exporter")),
        (
            "production",
            (finding("prometheus", reach=Reach(Vantage.CONTAINER_NETWORK, "theirs", "http://prometheus:9090")),),
            tuple(name for name in PRODUCTION if name != "prometheus"),
        ),
        ("production", (*FOREIGN, finding("prometheus"), finding("grafana")), (*REPLICAS, "nginx")),
    ],
)
def test_a_stack_declares_exactly_what_was_not_found(
    stack: str, found: tuple[Finding, ...], services: tuple[str, ...]
) -> None:
    assert engine_objects(declared(stack, found)) == everything(stack, *services)


def test_replicas_are_numbered_and_only_the_first_is_published() -> None:
    recorder = declared("dev", replicas=3)
    published = {
        inputs["name"]: len(inputs.get("ports", []))
        for typ, _, inputs in recorder.resources
        if typ == "docker:index/container:Container" and "promptcraft-dev-promptcraft-" in inputs["name"]
    }
    published.pop("promptcraft-dev-promptcraft-files")
    assert published == {f"promptcraft-dev-promptcraft-{number}": 2 if number == 1 else 0 for number in (1, 2, 3)}


def test_the_application_joins_the_network_of_what_it_reuses() -> None:
    recorder = declared("dev", FOREIGN)
    networks = [
        [network["name"] for network in inputs["networksAdvanced"]]
        for typ, name, inputs in recorder.resources
        if typ == "docker:index/container:Container" and name == "promptcraft"
    ]
    assert networks == [["promptcraft-dev-network", "theirs"]]


def test_a_relay_listens_on_the_networks_gateway_and_its_users_know_it_by_name() -> None:
    inputs = {
        name: inputs
        for typ, name, inputs in declared("dev", ON_LOOPBACK).resources
        if typ == "docker:index/container:Container"
    }
    relay, app = inputs["redis-relay"], inputs["promptcraft"]
    assert (relay["networkMode"], relay.get("networksAdvanced"), relay["ports"]) == ("host", None, [])
    conf = next(value for value in relay["envs"] if value.startswith("RELAY_CONF="))
    assert f"listen {GATEWAY}:21379;" in conf and "proxy_pass 127.0.0.1:6379;" in conf
    assert app["hosts"] == [{"host": "redis-relay", "ip": GATEWAY}]
    assert all("hosts" not in inputs[name] for name in ("qdrant", "zen-mcp", "redis-relay"))


def test_a_command_of_this_host_is_started_and_stopped_by_name_and_known_to_the_application() -> None:
    resources = declared("dev", ON_THIS_HOST, allow_host_commands=True).resources
    (inputs,) = [inputs for typ, name, inputs in resources if name == "notes-host-command" and "create" in inputs]
    who = "--service notes --project promptcraft-hybrid --stack dev"
    port = host_port("notes", 0)
    assert inputs["create"] == (
        f".venv/bin/python -m host_command start {who} --evidence '~/.claude.json: mcpServers.notes' "
        f"--fingerprint 0123456789abcdef --run 3 --address {GATEWAY} --subnet 10.99.0.0/24 --port {port} "
        "--host notes-host"
    )
    assert inputs["delete"] == f".venv/bin/python -m host_command stop {who}"
    evidence = "~/.claude.json: mcpServers.notes"
    assert inputs["triggers"] == [3, "0123456789abcdef", evidence, port, GATEWAY, "10.99.0.0/24"]
    hosts = {name: inputs.get("hosts") for typ, name, inputs in resources if typ == "docker:index/container:Container"}
    assert hosts.pop("promptcraft") == [{"host": "notes-host", "ip": GATEWAY}] and not any(hosts.values())
    assert "notes-host-command" not in [name for _, name, _ in declared("dev", ON_THIS_HOST).resources]


@pytest.mark.parametrize(
    ("stack", "found", "count"),
    [
        ("production", (), len(PRODUCTION)),
        ("dev", ON_LOOPBACK, len(ALL)),
        ("cloud", BY_NPX, 4),
        ("dev", BY_IMAGE, len(ALL) + 3),
    ],
)
def test_every_container_is_hardened_alike(stack: str, found: tuple[Finding, ...], count: int) -> None:
    recorder = declared(stack, found)
    running = [
        inputs
        for typ, _, inputs in recorder.resources
        if typ == "docker:index/container:Container" and inputs.get("start") is not False
    ]
    assert len(running) == count
    for inputs in running:
        uid, gid = inputs["user"].split(":")
        assert int(uid) > 0 and int(gid) > 0
        assert inputs["readOnly"] is True
        assert inputs["capabilities"] == {"drops": ["ALL"]}
        assert inputs["securityOpts"] == ["no-new-privileges:true"]
        assert inputs["memory"] == inputs["memorySwap"] > 0
        assert float(inputs["cpus"]) > 0
        assert inputs["logOpts"].keys() == {"max-file", "max-size"}
        assert inputs["healthcheck"]["tests"]
        beyond = {"0.0.0.0"} if inputs["name"] == "promptcraft-production-nginx" else set()
        assert {port["ip"] for port in inputs.get("ports", [])} - {"127.0.0.1"} == beyond


def uploads_of(inputs: dict[str, Any]) -> list[dict[str, Any]]:
    """The files that a container takes, out of the wrapping that marks the list as secret."""
    uploads = inputs.get("uploads", [])
    found: list[dict[str, Any]] = uploads["value"] if isinstance(uploads, dict) else uploads
    return found


def test_a_server_in_an_image_of_its_own_is_started_by_a_carrier() -> None:
    recorder = declared("dev", BY_IMAGE)
    resources = {(typ.rsplit(":", 1)[1], name): inputs for typ, name, inputs in recorder.resources}
    server = resources["Container", "maps-stdio"]
    assert server["entrypoints"] == ["/run/carrier/busybox"]
    # Arguments take the place of the image's command, and are in the script.
    assert server["command"] == ["sh", "/run/promptcraft/carry.sh", "maps", "/srv/maps"]
    assert [(volume["containerPath"], volume["readOnly"]) for volume in server["volumes"]] == [
        ("/run/promptcraft", True),
        ("/run/carrier", True),
        ("/run/door", True),
    ]
    assert server["memory"] == 128 and not server.get("ports")
    assert resources["RemoteImage", "maps-stdio-image"]["name"] == "acme/maps:1.2"
    # The runner is told what it is, and nothing else.
    (told,) = [
        upload["content"]
        for upload in uploads_of(resources["Container", "runner-files"])
        if "server-maps" in upload["file"]
    ]
    assert "acme/maps:1.2" in str(told) and "zzq" not in str(told)


@pytest.mark.parametrize("found", [BY_NPX, BY_IMAGE])
def test_who_runs_a_server_has_no_network_and_no_secret_on_its_disk(found: tuple[Finding, ...]) -> None:
    recorder = declared("dev", found)
    made = {name: inputs for typ, name, inputs in recorder.resources if typ == "docker:index/container:Container"}
    (server,) = [name for name in made if name in ("runner-servers", "maps-stdio")]
    assert made[server]["networkMode"] == "none" and not made[server].get("networksAdvanced")
    # It can't make sockets where the runner listens.
    mounted = {volume["containerPath"]: volume.get("readOnly") for volume in made[server]["volumes"]}
    assert mounted["/run/door"] is True and mounted["/run/carrier"] is True
    networks = {name: [one["name"] for one in made[name]["networksAdvanced"]] for name in ("runner", "egress")}
    assert networks == {
        "runner": ["promptcraft-dev-network", "promptcraft-dev-egress-network"],
        "egress": ["promptcraft-dev-egress-network"],
    }


@pytest.mark.parametrize(("stand_in", "said"), [("a small store", "a small store"), (None, "")])
def test_who_keeps_data_says_whether_it_is_the_real_service_and_so_does_its_volume(
    stand_in: str | None, said: str
) -> None:
    tokens = {"GRAFANA_PASSWORD": "only-for-tests", "GATEWAY_TOKENS": "first-token-0123456789-zzq"}
    settings = settings_of("production", tokens)
    image = Image("a/b:1.0.0", stand_in, vouched_for=True)
    labelled = {
        f"{typ.rsplit(':', 1)[1]} {name}": {entry["label"]: entry["value"] for entry in inputs["labels"]}
        for typ, name, inputs in run(replace(settings, images=dict.fromkeys(settings.images, image))).resources
        if inputs.get("labels")
    }
    marks = {name: labels.get(LABEL_STAND_IN) for name, labels in labelled.items()}
    assert (marks["Container qdrant"], marks["Volume qdrant-data"]) == (said, said)
    assert marks["Container grafana"] == stand_in
    assert marks["Network network"] is None


def test_no_resource_carries_a_secret_in_the_open() -> None:
    settings = settings_of(
        "production",
        {
            "QDRANT_API_KEY": "q-key-zzq",
            "REDIS_URL": "redis://:r-pass-zzq@10.0.0.9",
            "GRAFANA_PASSWORD": "g-pass-zzq",
            "GATEWAY_TOKENS": "first-token-0123456789-zzq second-token-0123456789-zzq",
        },
    )
    plan = decide(report_of(), settings, DiscoveryConfig())
    assert "zzq" not in repr(plan) + repr(settings)
    recorder = run(settings, (*BY_NPX, *BY_IMAGE, *BY_HEADERS))
    assert "launch-zzq" in repr(recorder.resources)
    assert "header-zzq" in repr(recorder.resources)
    for typ, name, inputs in recorder.resources:
        uploads = uploads_of(inputs)
        rest = {key: value for key, value in inputs.items() if key != "uploads"}
        assert "zzq" not in repr(rest), f"{typ} {name}"
        where = {upload["file"] for upload in uploads if "zzq" in repr(upload)}
        assert all(file.startswith("/run/promptcraft/secrets/") for file in where)
        # A list with a secret in it goes to the engine as one secret, marked as such.
        assert not where or "value" in inputs["uploads"]


def test_the_application_is_given_its_tokens_by_hash_only() -> None:
    tokens = ["first-token-0123456789-zzq", "second-token-0123456789-zzq"]
    environment = {"GRAFANA_PASSWORD": "only-for-tests", "GATEWAY_TOKENS": f"{tokens[0]} ci:{tokens[1]}"}
    resources = run(settings_of("production", environment)).resources
    uploads = [upload for _, _, inputs in resources for upload in uploads_of(inputs)]
    assert not any(token in repr(uploads) for token in tokens)
    (told,) = (upload for upload in uploads if upload["file"] == "/run/promptcraft/secrets/gateway-tokens")
    hashes = [hashlib.sha256(token.encode()).hexdigest() for token in tokens]
    assert told["content"] == f"{hashes[0]}\n{hashes[1]} ci\n"


PROVIDERS_KEYS = {provider.variable: f"{provider.name}-key-zzq" for provider in PROVIDERS.values()}


def declared_with(keys: dict[str, str]) -> dict[str, Any]:
    """The inputs of every resource of production with these variables set, by type and name."""
    environment = {"GRAFANA_PASSWORD": "only-for-tests", **keys}
    resources = run(settings_of("production", environment)).resources
    return {f"{typ} {name}": inputs for typ, name, inputs in resources if not typ.startswith("promptcraft:")}


def test_a_providers_key_is_a_file_of_the_application_and_of_zen_mcp_and_of_nobody_else() -> None:
    resources = declared_with(PROVIDERS_KEYS)
    knowing = {name for name, inputs in resources.items() if "zzq" in repr(inputs)}
    assert {name.split(" ")[1] for name in knowing} == {"promptcraft-files", "zen-mcp-files"}
    for name in knowing:
        files = {upload["file"]: upload["content"] for upload in uploads_of(resources[name])}
        for provider in PROVIDERS.values():
            assert files[f"/run/promptcraft/secrets/{provider.secret_key}"] == f"{provider.name}-key-zzq"


def test_a_changed_key_replaces_those_two_only() -> None:
    before, after = declared_with(PROVIDERS_KEYS), declared_with(PROVIDERS_KEYS | {"XAI_API_KEY": "another-zzq"})
    changed = {name.split(" ")[1] for name, inputs in after.items() if inputs != before[name]}
    assert after.keys() == before.keys()
    # The files, and with them whoever mounts them.
    assert changed == {"promptcraft-files", *REPLICAS, "zen-mcp-files", "zen-mcp"}


def test_who_asks_others_over_tls_is_told_whom_to_trust_besides() -> None:
    settings = replace(settings_of("dev"), authorities="-----BEGIN CERTIFICATE-----")
    resources = run(settings).resources
    told = [
        name for _, name, inputs in resources for it in uploads_of(inputs) if it["file"].endswith("authorities.pem")
    ]
    assert sorted(told) == ["promptcraft-files", "zen-mcp-files"]
    for variable, name in (("SSL_CERT_FILE", "promptcraft"), ("PROMPTCRAFT_AUTHORITIES", "zen-mcp")):
        trusting = [name for _, name, inputs in resources if f"{variable}=" in repr(inputs.get("envs"))]
        assert trusting == [name]


def test_nginx_gets_its_files_once_its_own_image_took_them() -> None:
    settings = settings_of("production", {"GRAFANA_PASSWORD": "only-for-tests"}, public_hosts=["craft.example.com"])
    settings = replace(
        settings, tls=Tls("a certificate", "t-key-zzq"), secrets={**settings.secrets, "tlsKey": Secret("t-key-zzq")}
    )
    recorder = run(settings)
    (check,) = [inputs for typ, name, inputs in recorder.resources if name == "nginx-check" and "create" in inputs]
    assert " nginx-image-image-id -c " in check["create"]
    assert check["create"].endswith("exec nginx -t -q -c /run/promptcraft/nginx.conf'")
    # Pulumi's mark of a secret is around all of the archive, as it is around all of the uploads.
    (archive,) = check["environment"]["value"].values()
    with tarfile.open(fileobj=io.BytesIO(base64.b64decode(archive))) as opened:
        read = {member.name: opened.extractfile(member) for member in opened.getmembers()}
        taken = {name: file.read().decode() for name, file in read.items() if file is not None}
    (uploads,) = [
        inputs["uploads"]["value"]
        for typ, name, inputs in recorder.resources
        if typ == "docker:index/container:Container" and name == "nginx-files"
    ]
    assert taken == {upload["file"].removeprefix("/run/promptcraft/"): upload["content"] for upload in uploads}
    assert taken["secrets/tlsKey"] == "t-key-zzq"
    names = [name for typ, name, _ in recorder.resources if not typ.startswith("promptcraft:")]
    assert names.index("nginx-check") < names.index("nginx-files") < names.index("nginx")


def test_type_tokens_stay_as_they_are() -> None:
    stacks = (
        declared("production"),
        declared("dev", ON_LOOPBACK),
        declared("cloud", (*BY_NPX, *ON_THIS_HOST), allow_host_commands=True),
        declared("dev", BY_IMAGE),
    )
    every = [resource for stack in stacks for resource in stack.resources]
    tokens = {typ for typ, _, _ in every if typ.startswith("promptcraft:")}
    assert tokens == {
        "promptcraft:data_stores:Qdrant",
        "promptcraft:data_stores:Redis",
        "promptcraft:egress:Egress",
        "promptcraft:files:WorkloadFiles",
        "promptcraft:files_check:FilesCheck",
        "promptcraft:host_command:CommandOfThisHost",
        "promptcraft:load_balancer:LoadBalancer",
        "promptcraft:lock:Lock",
        "promptcraft:mcp:ZenMcp",
        "promptcraft:monitoring:Exporter",
        "promptcraft:monitoring:Grafana",
        "promptcraft:monitoring:Prometheus",
        "promptcraft:network:StackNetwork",
        "promptcraft:process_limits:ProcessLimits",
        "promptcraft:promptcraft:PromptCraft",
        "promptcraft:relay:LoopbackRelay",
        "promptcraft:runner:Runner",
        "promptcraft:stack:PromptCraftStack",
        "promptcraft:stdio:Carrier",
        "promptcraft:stdio:Doors",
        "promptcraft:stdio:SharedPackages",
        "promptcraft:stdio:StdioServer",
        "promptcraft:workload:ContainerWorkload",
    }
