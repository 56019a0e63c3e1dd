"""What the environment and `.env` name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog import FINDABLE
from discovery.probes.environment import MEANINGS, environment
from discovery.report import NamedBy, Source
from settings import Committed
from tests.unit.asking import MANY, request_in


@pytest.mark.parametrize(
    ("variables", "service", "endpoint"),
    [
        ({"QDRANT_HOST": "192.168.1.16"}, "qdrant", "http://192.168.1.16:6333"),
        ({"QDRANT_HOST": "192.168.1.16", "QDRANT_PORT": "7333"}, "qdrant", "http://192.168.1.16:7333"),
        ({"QDRANT_HOST": "h:7333"}, "qdrant", "http://h:7333"),
        ({"QDRANT_HOST": "h:7333", "QDRANT_PORT": "7333"}, "qdrant", "http://h:7333"),
        ({"QDRANT_HOST": "http://h/"}, "qdrant", "http://h:6333"),
        ({"QDRANT_HOST": "https://x.cloud.qdrant.io"}, "qdrant", "https://x.cloud.qdrant.io:6333"),
        ({"QDRANT_HOST": "https://h:443"}, "qdrant", "https://h:443"),
        ({"QDRANT_HOST": "::1", "QDRANT_PORT": "7333"}, "qdrant", "http://[::1]:7333"),
        ({"QDRANT_HOST": "[::1]:7333"}, "qdrant", "http://[::1]:7333"),
        ({"QDRANT_HOST": " h "}, "qdrant", "http://h:6333"),
        ({"ZEN_MCP_URL": "http://localhost:8000"}, "zen-mcp", "http://localhost:8000"),
        ({"ZEN_MCP_URL": "https://h/servers/zen/mcp"}, "zen-mcp", "https://h:443/servers/zen/mcp"),
        ({"REDIS_URL": "redis://h"}, "redis", "redis://h:6379"),
        ({"REDIS_URL": "rediss://me:geheim@h:6380/2"}, "redis", "rediss://h:6380/2"),
        ({"REDIS_URL": "redis://:ge@heim@h"}, "redis", "redis://h:6379"),
        ({"REDIS_URL": "redis://h/?ssl_cert_reqs=none"}, "redis", "redis://h:6379"),
        ({"UPSTASH_REDIS_REST_URL": "https://x.upstash.io"}, "redis", "https://x.upstash.io:443"),
        ({"PROMETHEUS_URL": "http://h:9090/"}, "prometheus", "http://h:9090"),
        ({"OPENAI_BASE_URL": "http://h:8000/v1"}, "models", "http://h:8000/v1"),
        ({"CUSTOM_API_URL": "http://h:4000"}, "models", "http://h:4000"),
        # As Ollama's own envconfig reads it.
        ({"OLLAMA_HOST": "h"}, "models", "http://h:11434"),
        ({"OLLAMA_HOST": "h:8080"}, "models", "http://h:8080"),
        ({"OLLAMA_HOST": ":8080"}, "models", "http://127.0.0.1:8080"),
        ({"OLLAMA_HOST": "0.0.0.0"}, "models", "http://127.0.0.1:11434"),
        ({"OLLAMA_HOST": "0.0.0.0:1"}, "models", "http://127.0.0.1:1"),
        ({"OLLAMA_HOST": "[::]:1"}, "models", "http://[::1]:1"),
        ({"OLLAMA_HOST": "::1"}, "models", "http://[::1]:11434"),
        ({"OLLAMA_HOST": "http://h"}, "models", "http://h:80"),
        ({"OLLAMA_HOST": "https://h/"}, "models", "https://h:443"),
        ({"OLLAMA_HOST": "https://h:1/ollama"}, "models", "https://h:1/ollama"),
        ({"GRAFANA_URL": "http://h:3000/grafana"}, "grafana", "http://h:3000/grafana"),
    ],
)
def test_a_variable_names_an_external_deployment(
    tmp_path: Path, variables: dict[str, str], service: str, endpoint: str
) -> None:
    (candidate,) = environment(request_in(tmp_path, **variables)).candidates

    assert (candidate.service, candidate.source) == (service, Source.EXTERNAL)
    assert (candidate.endpoint, candidate.problem) == (endpoint, None)
    assert candidate.evidence == next(iter(variables))


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"QDRANT_HOST": "h", "QDRANT_PORT": "99999"}, ["QDRANT_PORT", "'99999'", "1 to 65535"]),
        ({"QDRANT_HOST": "h", "QDRANT_PORT": "22:22"}, ["QDRANT_PORT", "'22:22'"]),
        ({"QDRANT_HOST": "h", "QDRANT_PORT": "+80"}, ["QDRANT_PORT"]),
        ({"QDRANT_HOST": "h:1", "QDRANT_PORT": "2"}, ["QDRANT_HOST", "QDRANT_PORT=2", "differ"]),
        ({"QDRANT_HOST": "h;reboot"}, ["QDRANT_HOST", "'h;reboot'"]),
        ({"QDRANT_HOST": "u:geheim@h"}, ["QDRANT_HOST", "'***@h'"]),
        ({"QDRANT_HOST": "file:///etc/passwd"}, ["QDRANT_HOST"]),
        ({"QDRANT_HOST": "169.254.169.254"}, ["QDRANT_HOST", "cannot be asked"]),
        ({"ZEN_MCP_URL": "file:///etc/passwd"}, ["ZEN_MCP_URL", "wrong scheme"]),
        ({"ZEN_MCP_URL": "http://169.254.169.254/x"}, ["ZEN_MCP_URL", "cannot be asked"]),
        ({"ZEN_MCP_URL": "localhost:8000"}, ["ZEN_MCP_URL", "http://host:port"]),
        ({"REDIS_URL": "geheim"}, ["REDIS_URL", "redis://host:port"]),
        ({"REDIS_URL": "redis://:geheim"}, ["REDIS_URL"]),
        ({"REDIS_URL": "redis://:geh/eim@h:x"}, ["REDIS_URL"]),
        ({"REDIS_URL": "http://h"}, ["REDIS_URL", "wrong scheme"]),
        ({"UPSTASH_REDIS_REST_URL": "your_upstash_url"}, ["UPSTASH_REDIS_REST_URL", "'your_upstash_url'"]),
        ({"PROMETHEUS_URL": "http://admin:geheim@h:9090"}, ["PROMETHEUS_URL", "'http://***@h:9090'"]),
        ({"GRAFANA_URL": "gopher://h"}, ["GRAFANA_URL", "'gopher://h'"]),
        ({"GRAFANA_URL": "http://h/\x1b[2J\n[OK] ours"}, ["GRAFANA_URL", r"\x1b[2J\n[OK]"]),
        ({"GRAFANA_URL": "http://h/?api_key=geheim"}, ["GRAFANA_URL", "?***"]),
        ({"OPENAI_BASE_URL": "http://sk-geheim@h/v1"}, ["OPENAI_BASE_URL", "'http://***@h/v1'"]),
        ({"OLLAMA_HOST": "u:geheim@h"}, ["OLLAMA_HOST"]),
        ({"OLLAMA_HOST": "169.254.169.254"}, ["OLLAMA_HOST", "cannot be asked"]),
        ({"OLLAMA_HOST": "ftp://h"}, ["OLLAMA_HOST"]),
        ({"OLLAMA_HOST": "h:99999"}, ["OLLAMA_HOST", "1 to 65535"]),
    ],
)
def test_a_bad_value_is_never_asked_and_says_why(tmp_path: Path, variables: dict[str, str], words: list[str]) -> None:
    (candidate,) = environment(request_in(tmp_path, **variables)).candidates

    assert candidate.endpoint == ""
    assert candidate.problem is not None
    assert candidate.problem.isprintable()
    assert "geheim" not in repr(candidate)
    for word in words:
        assert word in candidate.problem


def test_an_empty_variable_is_as_good_as_none(tmp_path: Path) -> None:
    variables = {"QDRANT_HOST": "", "QDRANT_PORT": "6333", "ZEN_MCP_URL": " ", "REDIS_URL": "", "GRAFANA_URL": ""}

    assert environment(request_in(tmp_path, **variables)).candidates == ()


@pytest.mark.parametrize("url", ["https://api.openai.com/v1", "https://openrouter.ai/api/v1", "https://api.x.ai/v1"])
def test_a_providers_own_address_names_no_server_of_ones_own(tmp_path: Path, url: str) -> None:
    assert environment(request_in(tmp_path, OPENAI_BASE_URL=url)).candidates == ()


def test_what_comes_from_dotenv_says_so(tmp_path: Path) -> None:
    request = replace(request_in(tmp_path, ZEN_MCP_URL="http://h:1"), origins={"ZEN_MCP_URL": ".env"})

    assert environment(request).candidates[0].evidence == "ZEN_MCP_URL (.env)"


@pytest.mark.parametrize(
    "url",
    ["http://10.0.0.5:1", "http://localhost.example", "http://127.0.0.1.example", "http://0x7f.1", "http://[::2]:1"],
)
def test_a_committed_address_is_asked_on_the_loopback_only(tmp_path: Path, url: str) -> None:
    def asked(committed: str) -> str:
        known = Committed({"GRAFANA_URL": committed}, "is committed")
        (candidate,) = environment(replace(request_in(tmp_path), committed=known)).candidates
        assert (candidate.problem is None) == bool(candidate.endpoint)
        assert candidate.named_by is NamedBy.NOBODY
        return candidate.endpoint

    assert asked(url) == ""
    assert [asked(f"http://{host}:1") for host in ("127.0.0.1", "localhost", "[::1]", "127.9.9.9")] == [
        f"http://{host}:1" for host in ("127.0.0.1", "localhost", "[::1]", "127.9.9.9")
    ]


_NAMES = ("QDRANT_HOST", "QDRANT_PORT", "ZEN_MCP_URL", "REDIS_URL", "UPSTASH_REDIS_REST_URL", "GRAFANA_URL")
_VALUE = st.text(max_size=30) | st.builds(
    "".join,
    st.lists(st.sampled_from(["http://", "redis://", "h", ":", "1", "@", "/", "?", "[", "]", "::1"]), max_size=8),
)


@MANY
@given(st.dictionaries(st.sampled_from(_NAMES), _VALUE))
def test_any_value_is_an_endpoint_or_a_problem(tmp_path: Path, variables: dict[str, str]) -> None:
    for candidate in environment(request_in(tmp_path, **variables)).candidates:
        assert (candidate.endpoint == "") == (candidate.problem is not None)
        assert "@" not in urlsplit(candidate.endpoint).netloc
        assert (candidate.problem or "").isprintable()


class Recording(dict[str, str]):
    """An environment in which every variable is set; `asked` is what somebody looked for."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: set[str] = set()

    def get(self, name: str, default: str = "") -> str:  # type: ignore[override]
        self.asked.add(name)
        return "http://h"


def test_each_variable_that_is_read_is_in_the_catalog_and_has_its_meaning(tmp_path: Path) -> None:
    variables = Recording()
    environment(replace(request_in(tmp_path), environment=variables))
    assert variables.asked == MEANINGS.keys() == {name for service in FINDABLE.values() for name in service.variables}
