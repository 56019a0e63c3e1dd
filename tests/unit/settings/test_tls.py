"""The load balancer's certificate: what can't serve is refused before anything is declared, with what to do."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from discovery.config import DiscoveryConfig
from discovery.deploy_look import request_for
from errors import ConfigError
from planning.decide import decide
from planning.plan import Deploy, Edge, Plan
from rendering.mcp_config import urls
from settings import StackSettings, load_settings
from tests.builders import report_of
from tests.certificates import Pair, encrypted_key, make_pair
from tests.unit.settings.test_load import load, project, write

__all__ = ["project"]

HOST = "craft.example.com"
BOTH = ("tlsCertificate: tls.pem", "tlsKey: tls.key")
HOSTS = f"publicHosts: [{HOST}]"
SHARED = make_pair(HOST)


def configured(project: Path, pair: Pair = SHARED, *lines: str) -> None:
    pair.write(project)
    write(project, *BOTH, HOSTS, "loadBalancer: true", *lines)


def refusal(project: Path, key: str | None = None) -> str:
    with pytest.raises(ConfigError) as raised:
        load(project, {}, **({} if key is None else {"tlsKey": key}))
    assert len(str(raised.value).splitlines()) == 1
    return str(raised.value)


def warnings(settings: StackSettings) -> tuple[str, ...]:
    assert settings.tls is not None
    return settings.tls.warnings


@pytest.mark.parametrize(
    ("certificate", "key", "expected"),
    [
        (
            lambda: make_pair(HOST, until=timedelta(hours=-1)).certificate,
            lambda: SHARED.key,
            "Pulumi.dev.yaml:2: tlsCertificate: tls.pem (CN=test) expired on 20",
        ),
        (
            lambda: make_pair(HOST, since=timedelta(hours=1)).certificate,
            lambda: SHARED.key,
            "Pulumi.dev.yaml:2: tlsCertificate: tls.pem (CN=test) is valid only from 20",
        ),
        (
            lambda: SHARED.certificate,
            lambda: make_pair(HOST).key,
            "Pulumi.dev.yaml:3: tlsKey: it does not belong to the certificate",
        ),
        (lambda: SHARED.certificate, encrypted_key, "Pulumi.dev.yaml:3: tlsKey: it is encrypted"),
        (lambda: SHARED.certificate, lambda: "none", "Pulumi.dev.yaml:3: tlsKey: it is no PEM private key"),
        (lambda: SHARED.key, lambda: SHARED.key, "Pulumi.dev.yaml:2: tlsCertificate: tls.pem is no PEM certificate"),
        (
            lambda: make_pair("ca.example.com").certificate + SHARED.certificate,
            lambda: SHARED.key,
            "Pulumi.dev.yaml:2: tlsCertificate: tls.pem is number 2 in its file; put the server's own first",
        ),
        (
            lambda: SHARED.certificate + make_pair("ca", until=timedelta(hours=-1)).certificate,
            lambda: SHARED.key,
            "Pulumi.dev.yaml:2: tlsCertificate: tls.pem (CN=test) expired on 20",
        ),
    ],
)
def test_a_pair_that_cannot_serve_is_refused(
    certificate: Callable[[], str], key: Callable[[], str], expected: str, project: Path
) -> None:
    configured(project, Pair(certificate(), key()))
    assert refusal(project).startswith(expected)


def test_a_file_that_is_not_there_or_no_file_is_refused(project: Path) -> None:
    configured(project)
    (project / "tls.key").unlink()
    assert refusal(project).startswith("Pulumi.dev.yaml:3: tlsKey: 'tls.key' is not there")
    (project / "tls.key").mkdir()
    assert refusal(project).startswith("Pulumi.dev.yaml:3: tlsKey: 'tls.key' is a directory")


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ((BOTH[0], HOSTS), "Pulumi.dev.yaml:2: tlsCertificate: there is no tlsKey to it"),
        ((BOTH[1], HOSTS), "Pulumi.dev.yaml:2: tlsKey: there is no tlsCertificate"),
        (BOTH, "Pulumi.dev.yaml:2: tlsCertificate: publicHosts is empty"),
        ((*BOTH, "publicHosts: [10.0.0.1]"), "Pulumi.dev.yaml:4: publicHosts.0: '10.0.0.1' is refused"),
        (("publicHosts: ['x.example; }']",), "Pulumi.dev.yaml:2: publicHosts.0: 'x.example; }' is refused"),
        (("publicHosts: ['*.example.com']",), "Pulumi.dev.yaml:2: publicHosts.0: '*.example.com' is refused"),
        (("publicHosts: [Craft.example.com]",), "Pulumi.dev.yaml:2: publicHosts.0: 'Craft.example.com' is refused"),
        (
            (BOTH[0], 'tlsKey: "-----BEGIN PRIVATE KEY-----"', HOSTS),
            "Pulumi.dev.yaml:3: tlsKey: stands in this file in the open",
        ),
    ],
)
def test_half_a_configuration_is_refused(lines: tuple[str, ...], expected: str, project: Path) -> None:
    SHARED.write(project)
    write(project, *lines)
    assert refusal(project).startswith(expected)


def test_a_key_may_be_a_secret_of_the_stack(project: Path) -> None:
    SHARED.write(project)
    write(project, BOTH[0], HOSTS)
    own = project / ".promptcraft/stacks/Pulumi.dev.yaml"
    own.parent.mkdir(parents=True)
    own.write_text("config:\n  promptcraft-hybrid:tlsKey:\n    secure: v1:abc\n")
    undecrypted = load(project).tls
    assert undecrypted is not None and undecrypted.key is None
    decrypted = load(project, tlsKey=SHARED.key)
    assert decrypted.secrets["tlsKey"].value == SHARED.key
    assert "PRIVATE" not in repr(decrypted)
    assert refusal(project, make_pair(HOST).key).startswith(f"{own.relative_to(project)}:2: tlsKey: it does not belong")


def test_a_key_beside_the_certificate_stays_a_secret(project: Path) -> None:
    configured(project, Pair(SHARED.certificate + SHARED.key, SHARED.certificate + SHARED.key))
    settings = load(project)
    assert settings.tls is not None
    assert settings.tls.certificate == SHARED.certificate
    assert settings.secrets["tlsKey"].value == SHARED.key


def test_what_will_not_serve_for_long_or_for_a_name_is_a_warning(project: Path) -> None:
    configured(project, make_pair("*.example.com", until=timedelta(days=20)))
    (soon,) = warnings(load(project))
    assert soon.startswith("Pulumi.dev.yaml:2: tlsCertificate: tls.pem expires on 20")
    for name in ("other.example.com", "*.craft.example.com", "*.com"):
        configured(project, make_pair(name))
        (wrong,) = warnings(load(project))
        assert wrong.endswith(f"tls.pem is not for {HOST} but for {name}; browsers will refuse it there")
    configured(project)
    assert warnings(load(project)) == ()
    (project / "tls.key").chmod(0o644)
    assert warnings(load(project)) == (
        "Pulumi.dev.yaml:3: tlsKey: every user of this machine can read tls.key; chmod 600 it",
    )


# --- what is decided from it ---


def plan_of(settings: StackSettings) -> Plan:
    return decide(report_of(), settings, DiscoveryConfig())


def deployed(plan: Plan, service: str) -> Deploy:
    decision = plan.decisions[service]
    assert isinstance(decision, Deploy)
    return decision


def test_a_certificate_adds_a_port_a_secret_and_a_public_address(project: Path) -> None:
    configured(project, SHARED, "portOffset: 1000")
    settings = load_settings(project, "dev", {})
    plan = plan_of(settings)
    assert plan.edge == Edge((HOST,), SHARED.certificate, 1443)
    nginx = deployed(plan, "nginx").workload
    assert [(port.external, port.internal) for port in nginx.replicas[0].ports] == [(1080, 8080), (1443, 8443)]
    others = [one.workload.secrets for one in plan.deployments if one.workload.service != "nginx"]
    assert nginx.secrets == ("tlsKey",) and not any("tlsKey" in secrets for secrets in others)
    assert urls(plan)["nginx"] == f"https://{HOST}:1443"
    # So that a port that is taken is found before anything is declared.
    assert 1443 in request_for(project, settings).host_ports


def test_the_application_knows_its_public_names(project: Path) -> None:
    write(project, f"publicHosts: [{HOST}, b.example.com, {HOST}]", "loadBalancer: true")
    plan = plan_of(load(project))
    assert plan.edge == Edge((HOST, "b.example.com"))
    environment = deployed(plan, "promptcraft").workload.environment
    assert environment["PROMPTCRAFT_ALLOWED_HOSTS"] == "craft.example.com,b.example.com"
    assert urls(plan)["nginx"] == f"http://{HOST}"


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ((*BOTH, HOSTS), "tlsCertificate: there is no load balancer to show it"),
        ((*BOTH, HOSTS, "loadBalancer: true", "publicTlsPort: 80"), "port 80 is asked for by nginx and nginx"),
        (("loadBalancer: true", "publicPort: 6333"), "port 6333 is asked for by qdrant and nginx"),
    ],
)
def test_what_cannot_be_declared_is_refused(lines: tuple[str, ...], expected: str, project: Path) -> None:
    SHARED.write(project)
    write(project, *lines)
    with pytest.raises(ConfigError, match=expected):
        plan_of(load(project))
