"""Settings: one precedence, and errors that name file, line, key, value and cure."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from catalog import PROVIDERS, Provider
from errors import ConfigError
from gateway.settings import Settings as GatewaySettings
from settings import VARIABLES, StackSettings, fingerprint, load_settings
from settings.config import TUNING
from tests.builders import ROOT
from tests.scenarios.tls import certificate
from tests.unit.reading.test_git_index import git


@pytest.fixture
def project(tmp_path: Path) -> Path:
    shutil.copy(ROOT / "Pulumi.yaml", tmp_path)
    (tmp_path / "images").mkdir()
    shutil.copy(ROOT / "images" / "references.json", tmp_path / "images")
    for context in ("gateway", "zen-mcp"):
        (tmp_path / context).mkdir()
    return tmp_path


def write(project: Path, *lines: str) -> None:
    text = "".join(f"  promptcraft-hybrid:{line}\n" for line in lines)
    (project / "Pulumi.dev.yaml").write_text(f"config:\n{text}")


def load(project: Path, environ: dict[str, str] | None = None, **overrides: str) -> StackSettings:
    full = {f"promptcraft-hybrid:{key}": value for key, value in overrides.items()}
    return load_settings(project, "dev", environ or {}, full)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("replicas: -1", "Pulumi.dev.yaml:2: replicas: -1 is refused"),
        ("replicas: three", "Pulumi.dev.yaml:2: replicas: 'three' is refused"),
        ("replicas: 0", "Pulumi.dev.yaml:2: replicas: 0 is refused"),
        ("monitoring: 1", "Pulumi.dev.yaml:2: monitoring: 1 is refused"),
        ("allowHostCommands: sometimes", "Pulumi.dev.yaml:2: allowHostCommands: 'sometimes' is refused"),
        ("replica: 2", "Pulumi.dev.yaml:2: replica: unknown key"),
        ("mcpVariables: {docs: [A-B]}", "mcpVariables.docs.0: 'A-B' is refused: is not the name of an environment"),
        ("mcpVariables: {Docs: [A]}", "'Docs' is refused: is not a server's name"),
        ("mcpVariables: TEAM", "mcpVariables: 'TEAM' is refused: names no server's variables"),
        ("gateway: {PROMPTCRAFT_PLAN_FILE: /x}", "is not the application's to be set here"),
        ("gateway: {OTEL_EXPORTER_OTLP_HEADERS: key}", "is not the application's to be set here"),
        ("models: {opus: mistral}", "Pulumi.dev.yaml:2: models.opus: 'mistral' is refused: names no provider"),
        ("models: {opus: 'mistral:large'}", "with one of anthropic, openai, google, openrouter, xai, local"),
        ("models: {opus: 'local:'}", "models.opus: 'local:' is refused: names no model"),
        ("models: {'opus[1m]': 'xai:grok'}", "'opus[1m]' is refused: is not what an agent calls a model"),
        ("engine: podman", "Pulumi.dev.yaml:2: engine: 'podman' is refused"),
        ("services: [redis, postgres]", "Pulumi.dev.yaml:2: services.1: 'postgres' is refused: is not a service"),
        ("images: {redis: 'redis:latest'}", "images.redis: 'redis:latest' is not an exact image"),
        ("images: {redis: 'redis'}", "images.redis: 'redis' is not an exact image"),
        ("images: {redis: 'redis:1;rm -rf'}", "images.redis: 'redis:1;rm -rf' is not an exact image"),
        ("portOffset: 022", "Pulumi.dev.yaml:2: config.promptcraft-hybrid:portOffset"),
        ("monitoring: no", "Pulumi.dev.yaml:2: config.promptcraft-hybrid:monitoring"),
    ],
)
def test_a_bad_key_or_value_is_one_line_with_its_place(project: Path, line: str, expected: str) -> None:
    write(project, line)
    with pytest.raises(ConfigError) as raised:
        load(project)
    assert str(raised.value).startswith(expected) or expected in str(raised.value)
    assert len(str(raised.value).splitlines()) == 1


def test_what_pulumi_config_set_writes_in_quotes_is_read_as_what_it_says(project: Path) -> None:
    write(project, 'replicas: "3"', 'monitoring: "true"')
    config = load(project).config
    assert (config.replicas, config.monitoring) == (3, True)


def test_a_line_of_env_names_variables_by_server(project: Path) -> None:
    (project / ".env").write_text("MCP_VARIABLES=docs:A,B weather:C  docs:D\n")
    assert load(project).config.mcp_variables == {"docs": ["A", "B", "D"], "weather": ["C"]}
    write(project, "mcpVariables: {docs: [E]}")
    assert load(project).config.mcp_variables == {"docs": ["E"]}
    with pytest.raises(ConfigError, match=r"^environment: MCP_VARIABLES: mcpVariables\.docs\.0: '' is refused"):
        write(project)
        load(project, {"MCP_VARIABLES": "docs:"})


def test_every_problem_is_told_at_once(project: Path) -> None:
    write(project, "replicas: -1", "colour: red")
    with pytest.raises(ConfigError) as raised:
        load(project)
    assert [line.split(": ")[1] for line in str(raised.value).splitlines()] == ["replicas", "colour"]


def test_malformed_yaml_names_the_line(project: Path) -> None:
    (project / "Pulumi.dev.yaml").write_text("config:\n  a: [1\n  b: 2\n")
    with pytest.raises(ConfigError, match=r"^Pulumi\.dev\.yaml:3: file: is not YAML"):
        load(project)


@pytest.mark.parametrize(
    ("stack_file", "environ", "dot_env", "expected"),
    [
        ("logLevel: ERROR", {"LOG_LEVEL": "DEBUG"}, "LOG_LEVEL=WARNING", "ERROR"),
        (None, {"LOG_LEVEL": "debug"}, "LOG_LEVEL=WARNING", "DEBUG"),
        (None, {}, "LOG_LEVEL=WARNING", "WARNING"),
        (None, {}, "", "INFO"),
    ],
)
def test_stack_file_over_environment_over_dot_env_over_default(
    project: Path, stack_file: str | None, environ: dict[str, str], dot_env: str, expected: str
) -> None:
    if stack_file:
        write(project, stack_file)
    (project / ".env").write_text(dot_env + "\n")
    assert load(project, environ).config.log_level == expected


def test_of_a_committed_env_only_what_tunes_the_stack_counts(project: Path) -> None:
    lines = [f"{variable}=1" for variable in VARIABLES if variable not in TUNING]
    lines += ["PROMPTCRAFT_GENERATED=1", "REDIS_URL=redis://:password@127.0.0.1:1/", "LOG_LEVEL=DEBUG", "BAD='"]
    (project / ".env").write_text("\n".join(lines))
    git(project, "init", "-q")
    git(project, "add", "-f", ".env")
    settings = load(project, {"QDRANT_API_KEY": "of the environment"})
    assert {name for name, origin in settings.origins.items() if origin == ".env"} == {"LOG_LEVEL"}
    assert settings.config.log_level == "DEBUG"
    assert settings.secrets.keys() == {"qdrant"}
    assert settings.committed.addresses == {"REDIS_URL": "redis://:password@127.0.0.1:1/"}
    assert "password" not in repr(settings)
    told = [line for line in settings.warnings if "is committed" in line]
    assert told == [line for line in settings.warnings if "NPM_CONFIG_REGISTRY" in line], settings.warnings
    assert len(told) == 1 and len(told[0]) <= 200, told


def test_the_engines_defaults_do_not_outrank_the_environment(project: Path) -> None:
    assert load(project, {"LOG_LEVEL": "DEBUG"}, logLevel="INFO").config.log_level == "DEBUG"


def test_a_bad_variable_is_named_with_its_line(project: Path) -> None:
    (project / ".env").write_text("# limits\nMAX_CONCURRENT_AGENTS=many\n")
    with pytest.raises(ConfigError, match=r"^\.env:2: maxConcurrentAgents: 'many' is refused"):
        load(project)


def test_a_stack_secret_outranks_the_environments_and_neither_prints(project: Path) -> None:
    settings = load(project, {"QDRANT_API_KEY": "from-environment"}, qdrantApiKey="from-stack")
    assert settings.secrets["qdrant"].value == "from-stack"
    assert "from-" not in repr(settings)


def test_openais_key_is_openais_alone(project: Path) -> None:
    own, others = "https://api.openai.com/v1", "http://127.0.0.1:11434/v1"
    assert "openaiApiKey" in load(project, {"OPENAI_API_KEY": "k"}).secrets
    assert "openaiApiKey" in load(project, {"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": own}).secrets
    # It may be that server's, or a word that its client insists on.
    for url in (others, "https://api.openai.com.example.com/v1", "http://[x/v1"):
        assert load(project, {"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": url}).secrets == {}
    stack = load(project, {"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": others}, openaiApiKey="from-stack")
    assert stack.secrets["openaiApiKey"].value == "from-stack"


@pytest.mark.parametrize("provider", PROVIDERS.values(), ids=PROVIDERS)
def test_a_providers_key_comes_from_its_variable_and_prints_nowhere(project: Path, provider: Provider) -> None:
    (project / ".env").write_text(f"{provider.variable}=sk-zzq\n")
    settings = load(project)
    assert settings.secrets[provider.secret_key].value == "sk-zzq"
    assert "zzq" not in repr(settings)


def test_a_generated_secret_is_the_stacks_own_until_a_person_sets_another(project: Path) -> None:
    write(project, f"generated: {{qdrantApiKey: '{fingerprint('made')}'}}")
    assert load(project, qdrantApiKey="made").secrets["qdrant"].is_own
    assert not load(project, qdrantApiKey="by-hand").secrets["qdrant"].is_own


def test_a_password_in_redis_url_is_a_secret_with_its_user(project: Path) -> None:
    secret = load(project, {"REDIS_URL": "rediss://app:p%40ss@cache.example:6380/0"}).secrets["redis"]
    assert (secret.username, secret.value) == ("app", "p@ss")


@pytest.mark.parametrize("token", ["tiny", "0123456789abcde", "a-token-of-20-chars-\xe9"])
def test_a_token_that_could_be_guessed_or_sent_by_nobody_is_refused_unseen(project: Path, token: str) -> None:
    write(project, "replicas: 1")
    with pytest.raises(ConfigError, match=r"^Pulumi\.dev\.yaml: gatewayTokens: token 2 of 2 .*openssl") as raised:
        load(project, gatewayTokens=f"long-enough-0123456789 {token}")
    assert token not in str(raised.value)
    with pytest.raises(ConfigError, match=r"^environment: GATEWAY_TOKENS: gatewayTokens: token 1 of 1"):
        load(project, {"GATEWAY_TOKENS": token})


TOKEN = "long-enough-0123456789"


@pytest.mark.parametrize("name", ["", "caf\xe9", "-ci", "a" * 65, "ci:cd", "anybody", "unnamed"])
def test_a_name_that_no_token_can_have_is_refused_unseen(project: Path, name: str) -> None:
    with pytest.raises(
        ConfigError, match=r"^environment: GATEWAY_TOKENS: gatewayTokens: token 2 of 2 has a name"
    ) as no:
        load(project, {"GATEWAY_TOKENS": f"{TOKEN} {name}:{TOKEN}"})
    assert TOKEN not in str(no.value)
    assert not name or f" {name}:" not in str(no.value)


def test_a_name_taken_for_its_token_is_refused(project: Path) -> None:
    with pytest.raises(ConfigError, match=r"token 1 of 1 is shorter than 16") as no:
        load(project, {"GATEWAY_TOKENS": f"{TOKEN}:ci"})
    assert TOKEN not in str(no.value)


@pytest.mark.parametrize(
    ("access", "expected"),
    [
        ("{ci: [context7]}", "access.ci.0: 'context7' is refused: is not server__tool; write context7__\\*"),
        ("{ci: ['a b__*']}", "access.ci.0: 'a b__\\*' is refused: is not server__tool"),
        ("{ci: context7__*}", "access.ci: 'context7__\\*' is refused: input should be a valid list"),
        ("{'a b': []}", r"access.a b.\[key\]: 'a b' is refused: is not a caller's name"),
        ("all", "access: 'all' is refused: input should be a valid dictionary"),
    ],
)
def test_access_that_cannot_be_meant_is_an_error_with_its_place(project: Path, access: str, expected: str) -> None:
    write(project, "replicas: 1", f"access: {access}")
    with pytest.raises(ConfigError, match=rf"^Pulumi\.dev\.yaml:3: {expected}"):
        load(project)


@pytest.mark.parametrize(
    ("oauth", "expected"),
    [
        ("https://login.example.com", "oauth: 'https://login.example.com' is refused: input should be"),
        (
            "{issuer: login.example.com, audience: x}",
            "oauth.issuer: 'login.example.com' is refused: is not an issuer's",
        ),
        (
            "{issuer: 'https://x.example.com/?a', audience: x}",
            r"oauth.issuer: 'https://x.example.com/\?\*+' is refused",
        ),
        ("{issuer: 'https://x.example.com'}", "oauth.audience: .* is refused: field required"),
        (
            "{issuer: 'https://x.example.com', audience: x, scopes: ['a b']}",
            "oauth.scopes.0: 'a b' is refused: is not a",
        ),
        (
            "{issuer: 'https://x.example.com', audience: x, claim: sub}",
            "oauth.claim: unknown key; .* audience, callerClaim, issuer, scopes$",
        ),
    ],
)
def test_an_issuer_that_cannot_be_meant_is_an_error_with_its_place(project: Path, oauth: str, expected: str) -> None:
    write(project, f"oauth: {oauth}")
    with pytest.raises(ConfigError, match=rf"^Pulumi\.dev\.yaml:2: {expected}"):
        load(project)


def test_access_is_what_the_file_says_and_none_is_not_the_same_as_nothing(project: Path) -> None:
    assert load(project).config.access is None
    write(project, "access: {}")
    assert load(project).config.access == {}
    write(project, "access: {ci: ['context7__*', agent__code-reviewer], 'auth0|5f7c': ['*']}")
    assert load(project).config.access == {"ci": ["context7__*", "agent__code-reviewer"], "auth0|5f7c": ["*"]}


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (None, "'ca.pem' does not exist"),
        ("", "'ca.pem' holds no certificate"),
        ("-----BEGIN CERTIFICATE-----\nno\n-----END CERTIFICATE-----\n", "'ca.pem' holds no certificate"),
        ("\xe9", "'ca.pem' holds no certificate"),
    ],
)
def test_a_file_of_authorities_that_is_none_is_refused(project: Path, content: str | None, complaint: str) -> None:
    write(project, "caFile: ca.pem")
    if content is not None:
        (project / "ca.pem").write_text(content)
    with pytest.raises(ConfigError, match=rf"^Pulumi\.dev\.yaml:2: caFile: {complaint}"):
        load(project)


def test_authorities_are_read_and_must_not_come_with_their_key(project: Path) -> None:
    write(project, "caFile: ca.pem")
    certificate(project, "127.0.0.1")
    text = (project / "cert.pem").read_text()
    (project / "ca.pem").write_text(text)
    assert load(project).authorities == text
    (project / "ca.pem").write_text(text + (project / "key.pem").read_text())
    with pytest.raises(ConfigError, match="holds a private key as well"):
        load(project)


def test_a_variable_of_the_application_may_be_a_number(project: Path) -> None:
    write(project, "gateway: {PROMPTCRAFT_QUEUE_SECONDS: 60}")
    assert load(project).config.gateway == {"PROMPTCRAFT_QUEUE_SECONDS": "60"}


# Where things lie is the program's to say, and secrets come as secrets.
NOBODYS = {"HOST", "PAGE_PORT", "API_PORT", "PLAN_FILE", "ALLOWED_HOSTS", "TOKENS_FILE", "EMBEDDINGS_KEY_FILE"}


def test_every_limit_of_the_application_is_a_persons_to_set(project: Path) -> None:
    known = {str(field.alias) for field in GatewaySettings.model_fields.values()}
    wanted = {name for name in known if name.startswith("PROMPTCRAFT_")} - {f"PROMPTCRAFT_{it}" for it in NOBODYS}
    assert len(wanted) > 10
    write(project, "gateway: {" + ", ".join(f"{name}: 60" for name in sorted(wanted)) + "}")
    assert load(project).config.gateway.keys() == wanted


def test_a_service_without_an_image_is_an_error_that_names_the_file(project: Path) -> None:
    file = project / "images" / "references.json"
    entries = json.loads(file.read_text())
    del entries["redis"]
    file.write_text(json.dumps(entries))
    with pytest.raises(ConfigError, match=r"^images/references\.json:1: redis: has no image"):
        load(project)
