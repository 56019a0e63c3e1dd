"""The project's own configuration: the usual files are good, and everything else is told with file, line and key."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discovery import config
from discovery.report import Source
from discovery.request import ConfigError
from tests.unit.asking import MANY, write

SERVERS_TEXT = """\
servers:
  zen-mcp:
    priority_order:
      1: external_deployment    # Your existing server
      2: user_installation      # ~/dev/zen-mcp-server
      3: docker_sidecar         # Docker container

    resource_requirements:
      memory_mb: 512
      cpu_cores: 0.5
  context7:
    priority_order:
      1: npx_cloud  # Always prefer cloud
resource_limits:
  total_memory_mb: 4096
  max_concurrent_agents: 5
  model_limits:
    opus: 1
    claude-opus-5-5: 2
"""

AGENTS_TEXT = """\
agents:
  ai-engineer:
    priority_order:
      - project_specific   # Use project implementation
      - user_override      # Allow user customization

    dependencies:
      services:
        qdrant: "192.168.1.16:6333"
        zen_mcp: "auto_discover"
"""


def servers(text: str) -> config.DiscoveryConfig:
    return config.parse_discovery_config(text.encode())


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        servers(text)
    return str(caught.value).splitlines()


def test_servers_as_people_write_them() -> None:
    loaded = servers(SERVERS_TEXT)

    zen = loaded.servers["zen-mcp"]
    assert zen.priority_order == (Source.EXTERNAL, Source.USER, Source.DOCKER)
    assert zen.resource_requirements == config.Resources(memory_mb=512, cpu_cores=0.5)
    assert loaded.servers["context7"].priority_order == (Source.NPX,)
    assert loaded.resource_limits.total_memory_mb == 4096
    assert loaded.resource_limits.model_limits == {"opus": 1, "sonnet": 8, "haiku": 15, "claude-opus-5-5": 2}


def test_agents_as_people_write_them() -> None:
    agent = config.parse_agents_config(AGENTS_TEXT.encode()).agents["ai-engineer"]

    assert agent.priority_order == ("project_specific", "user_override")
    assert agent.dependencies.services == {"qdrant": "192.168.1.16:6333", "zen-mcp": "auto_discover"}


def test_both_forms_of_an_order_mean_the_same() -> None:
    as_map = servers("servers: {a: {priority_order: {3: npx_cloud, 1: docker_sidecar, 2: user_installation}}}")
    as_list = servers("servers: {a: {priority_order: [docker_service, user_installation, npx_cloud]}}")

    assert as_map == as_list


def test_every_key_of_a_server() -> None:
    server = servers(
        "servers:\n  mine:\n    identities: [My Server]\n    url: HTTPS://Example.COM/mcp\n    package: '@a/b@1.2.3'\n"
        "    key_variable: MY_KEY\n    dependencies: {services: {redis: auto_discover}}\n"
        "    resource_requirements: {cpu_cores: 2}\n"
    ).servers["mine"]

    assert server.identities == ("my server",)
    assert server.url == "https://example.com:443/mcp"
    assert (server.package, server.key_variable) == ("@a/b@1.2.3", "MY_KEY")
    assert server.dependencies.services == {"redis": "auto_discover"}
    assert server.resource_requirements == config.Resources(cpu_cores=2.0)


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "{}", "servers: {}"])
def test_saying_nothing_is_the_default(text: str) -> None:
    assert servers(text) == config.DiscoveryConfig()


def test_no_file_is_the_default(tmp_path: Path) -> None:
    assert config.load_discovery_config(tmp_path) == config.DiscoveryConfig()
    assert config.load_agents_config(tmp_path) == config.AgentsConfig()


BAD = [
    ("severs: {}", r":1: severs: .*did you mean servers\?"),
    ("servers:\n  a:\n    prio: 1", r":3: servers\.a\.prio: is an unknown key; .*priority_order"),
    ("servers: [a]", r":1: servers: must be a map"),
    ("servers:\n  a: 5", r":2: servers\.a: must be a map of keys \(it is a whole number: 5\)"),
    ("servers:\n  a:", r":2: servers\.a: is empty"),
    ("servers:\n  agent: {}", r":2: servers\.agent: stands for agents among the tools"),
    ("servers:\n  A_b: {}", r":2: servers\.A_b: is not a valid name"),
    ("servers:\n  ../../etc/cron.d/x: {}", r":2: servers.*etc.*is not a valid name"),
    ("servers:\n  '.': {}", r":2: .*is not a valid name"),
    (f"servers:\n  {'x' * 64}: {{}}", r":2: .*at most 63"),
    ('servers:\n  "a\\nb": {}', r":2: servers\.a\\nb: is not a valid name"),
    ("servers:\n  8000: {}", r":2: servers\.8000: '8000' is a key that is not text"),
    ("servers:\n  a: {priority_order: []}", r":2: servers\.a\.priority_order: is empty"),
    ("servers:\n  a: {priority_order: npx_cloud}", r":2: .*must be a list, or a map"),
    ("servers:\n  a:\n    priority_order:\n      1: k8s", r":4: servers\.a\.priority_order\.1: .*'k8s'"),
    (
        "servers:\n  a:\n    priority_order:\n      2: npx_cloud\n      1: x",
        r":5: servers\.a\.priority_order\.1: .*'x'",
    ),
    ("servers:\n  a:\n    priority_order:\n    - npx_cloud\n    - x", r":5: servers\.a\.priority_order\[1\]: .*'x'"),
    ("servers:\n  a: {priority_order: [user_override]}", r"is a word for agents"),
    ("servers:\n  a: {priority_order: [docker_sidecar, docker_service]}", r"names docker_service twice"),
    ("servers:\n  a: {priority_order: {0: npx_cloud}}", r"number its entries"),
    ("servers:\n  a: {priority_order: {x: npx_cloud}}", r"number its entries"),
    ("servers:\n  a: {priority_order: [[npx_cloud]]}", r"priority_order\[0\]: is not a known entry"),
    ("servers:\n  a: {url: 'ftp://x'}", r"servers\.a\.url: has the wrong scheme"),
    ("servers:\n  a: {url: 'http://me:geheim@x:1'}", r"carries a user name or password \('http://\*\*\*@x:1'\)"),
    ("servers:\n  a: {url: 'http://x:1/?key=geheim'}", r"carries a query.*'http://x:1/\?\*\*\*'"),
    ("servers:\n  a: {url: 'http://169.254.169.254/'}", r"cannot be asked"),
    ("servers:\n  a: {url: 'http://${HOST}:80'}", r"neither a name nor an address"),
    ("servers:\n  a: {package: 'x; rm -rf /'}", r"is not an npm package name"),
    ("servers:\n  a: {package: --call}", r"is not an npm package name"),
    ("servers:\n  a: {key_variable: 'A B'}", r"is not the name of an environment variable"),
    ("servers:\n  a: {identities: [5]}", r"identities\[0\]: must be text"),
    ("servers:\n  a: {identities: ['']}", r"1 to 100 printable characters"),
    ("servers:\n  a: {resource_requirements: {memory_mb: '512'}}", r"memory_mb: must be a whole number \(it is text"),
    ("servers:\n  a: {resource_requirements: {memory_mb: 1.5}}", r"memory_mb: must be a whole number"),
    ("servers:\n  a: {resource_requirements: {memory_mb: true}}", r"memory_mb: must be a whole number"),
    ("servers:\n  a: {resource_requirements: {memory_mb: -1}}", r"memory_mb: .*greater than or equal"),
    ("servers:\n  a: {resource_requirements: {cpu_cores: 0}}", r"cpu_cores: .*greater than 0"),
    ("servers:\n  a: {resource_requirements: {cpu_cores: no}}", r"cpu_cores: 'no' is read as"),
    ("servers:\n  a: {resource_requirements: {cpu: 1}}", r"known are memory_mb, cpu_cores"),
    ("servers:\n  a: {dependencies: {services: {qdrant: 22:22}}}", r"services\.qdrant: '22:22' .*base 60"),
    ("servers:\n  a: {dependencies: {services: {zen_mcp: x}}}", r"services\.zen_mcp: has no port"),
    ("servers:\n  a: {dependencies: {services: {qdrant: 'x:99999'}}}", r"from 1 to 65535"),
    ("servers:\n  a: {dependencies: {services: {a_b: 'x:1', a-b: 'x:1'}}}", r"with '_' and with '-'"),
    ("servers:\n  a: {dependencies: {redis: x}}", r"dependencies\.redis: is an unknown key"),
    ("resource_limits: {max_concurrent_agents: 0}", r"max_concurrent_agents: .*greater than or equal to 1"),
    ("resource_limits: {total_memory_mb: 1e3}", r"total_memory_mb: must be a whole number"),
    ("resource_limits: {model_limits: {g pt: 1}}", r"model_limits\.g pt: is not what an agent calls a model"),
    ("resource_limits:\n  model_limits: {opus: 022:22}", r":2: resource_limits\.model_limits\.opus: "),
]


@pytest.mark.parametrize(("text", "pattern"), BAD)
def test_what_is_wrong_is_told_with_file_line_and_key(text: str, pattern: str) -> None:
    (line,) = problems(text)

    assert line.startswith(".mcp/discovery-config.yaml:")
    assert re.search(pattern, line), line
    assert "; " in line
    assert "geheim" not in line


def test_all_problems_are_told_at_once_in_the_order_of_their_lines() -> None:
    lines = problems("servers:\n  a:\n    x: 1\n    url: no\n  b: {url: 1}\nresource_limits: {y: 1}\n")

    assert [int(line.split(":")[1]) for line in lines] == [3, 4, 5, 6]


def test_a_key_given_twice_hides_nothing_else() -> None:
    lines = problems("servers:\n  a:\n    x: 1\n  a: {}\n")

    assert [line.split(": ")[1] for line in lines] == ["servers.a.x", "servers.a"]


@pytest.mark.parametrize("word", ["npx_cloud", "docker_service", ""])
def test_an_agents_order_takes_agents_words(word: str) -> None:
    with pytest.raises(ConfigError, match=r"\.agents/discovery-config\.yaml:1: agents\.a\.priority_order\[0\]"):
        config.parse_agents_config(f"agents: {{a: {{priority_order: ['{word}']}}}}".encode())


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: path.symlink_to("/dev/zero")])
def test_what_is_no_file_is_an_error_at_once(tmp_path: Path, make: object) -> None:
    path = tmp_path / config.SERVERS_FILE
    path.parent.mkdir()
    assert callable(make)
    make(path)

    with pytest.raises(ConfigError, match=r"^\.mcp/discovery-config\.yaml:1: \(file\): is a .*; put a readable"):
        config.load_discovery_config(tmp_path)


def test_a_large_file_is_an_error(tmp_path: Path) -> None:
    write(tmp_path / config.AGENTS_FILE, "# \n" * 30_000)

    with pytest.raises(ConfigError, match="larger than 64 KiB"):
        config.load_agents_config(tmp_path)


def test_the_sample_is_good() -> None:
    loaded = config.load_discovery_config(Path(__file__).resolve().parents[3])

    assert loaded.servers["zen-mcp"].priority_order == (Source.EXTERNAL, Source.USER, Source.DOCKER)


_MODELS = (config.DiscoveryConfig, config.ServerConfig, config.Resources, config.ResourceLimits, config.AgentsConfig)
_KEYS = st.sampled_from(
    [*(key for model in _MODELS for key in model.model_fields), "services", "opus", "a", "zen-mcp", "A", "1", "2"]
)
_WORDS = ["npx_cloud", "docker_sidecar", "user_override", "http://x:1", "'x:1'", "auto_discover", "~", "''", "[]", "{}"]
_NUMBERS = ["1", "0.5", "-1", "no", "true", "0777", "22:22", ".inf", "*a", "&a"]
_LEAVES = st.sampled_from([*_WORDS, *_NUMBERS]) | st.text(alphabet="ab1:-/@$\"'\\\n {}[],", max_size=8)
_VALUES: st.SearchStrategy[str] = st.recursive(
    _LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda values: "[" + ", ".join(values) + "]")
        | st.lists(st.tuples(_KEYS, inner), max_size=4).map(
            lambda pairs: "{" + ", ".join(f"{key}: {value}" for key, value in pairs) + "}"
        )
    ),
    max_leaves=20,
)


@MANY
@given(_VALUES | st.text(max_size=40))
def test_any_text_is_a_configuration_or_told_what_is_wrong(text: str) -> None:
    data = text.encode("utf-8", "replace")
    for parse, label in (
        (config.parse_discovery_config, config.SERVERS_FILE),
        (config.parse_agents_config, config.AGENTS_FILE),
    ):
        try:
            parse(data)
        except ConfigError as error:
            for line in str(error).split("\n"):
                assert re.fullmatch(rf"{re.escape(label)}:\d+: [^\n]+: [^\n]+; [^\n]+", line), line
                assert line.isprintable()
