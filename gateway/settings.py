"""Everything the environment says to the gateway; read once, at the start."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, HttpUrl, Json, ValidationError


class SettingsError(Exception):
    """The environment does not fit; the text names the variable and says what to do."""


def _comma_separated(value: object) -> object:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


Names = Annotated[tuple[str, ...], BeforeValidator(_comma_separated)]
Port = Annotated[int, Field(ge=1, le=65535)]


class Settings(BaseModel):
    """Each field is set by the variable that its alias names. Times in seconds."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    log_level: Annotated[
        Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"], BeforeValidator(lambda value: str(value).upper())
    ] = Field("INFO", alias="LOG_LEVEL", description="What the application logs.")
    host: str = Field("0.0.0.0", alias="PROMPTCRAFT_HOST", description="The address that both ports listen on.")
    page_port: Port = Field(7860, alias="PROMPTCRAFT_PAGE_PORT", description="The page's port.")
    api_port: Port = Field(7862, alias="PROMPTCRAFT_API_PORT", description="The API's port.")
    plan_file: Path = Field(
        Path("/run/promptcraft/plan.json"), alias="PROMPTCRAFT_PLAN_FILE", description="The plan document."
    )
    allowed_hosts: Names = Field(
        (),
        alias="PROMPTCRAFT_ALLOWED_HOSTS",
        description="Host names that the application is reached under, separated by commas, besides IP addresses and "
        "names without a dot.",
    )
    check_seconds: float = Field(
        2.0,
        gt=0,
        le=30,
        alias="PROMPTCRAFT_CHECK_SECONDS",
        description="The longest wait for a service's health.",
    )
    body_seconds: float = Field(
        30.0, gt=0, le=3600, alias="PROMPTCRAFT_BODY_SECONDS", description="The longest time for a request's body."
    )
    environment: str = Field("development", alias="ENVIRONMENT", description="What the stack is for.")
    tokens_file: Path = Field(
        Path("/run/promptcraft/secrets/gateway-tokens"),
        alias="PROMPTCRAFT_TOKENS_FILE",
        description="SHA-256 of one bearer token a line, in hex. No file, no tokens.",
    )

    agent_server: str | None = Field(
        None,
        alias="PROMPTCRAFT_AGENT_SERVER",
        description="An MCP server whose tool answers for all agents; if not set, models do.",
    )
    agent_tool: str = Field("chat", alias="PROMPTCRAFT_AGENT_TOOL", description="The tool of it that answers.")
    prompt_argument: str = Field(
        "prompt", alias="PROMPTCRAFT_AGENT_PROMPT_ARGUMENT", description="The tool's argument that gets the prompt."
    )
    model_argument: str = Field(
        "model", alias="PROMPTCRAFT_AGENT_MODEL_ARGUMENT", description="The tool's argument that gets the model."
    )
    # Zen MCP's `chat` wants a directory that it may write to.
    extra_arguments: Json[dict[str, Any]] = Field(
        {"working_directory_absolute_path": "/tmp"},
        alias="PROMPTCRAFT_AGENT_ARGUMENTS",
        description="Further arguments of the tool, sent as they are.",
    )
    run_seconds: float = Field(300.0, gt=0, le=3600, alias="PROMPTCRAFT_RUN_SECONDS", description="The longest run.")
    run_turns: int = Field(
        50,
        ge=1,
        le=1000,
        alias="PROMPTCRAFT_RUN_TURNS",
        description="How often a run may ask its model. An agent's `maxTurns` can only lower it.",
    )
    run_tokens: int = Field(
        1_000_000,
        ge=0,
        alias="PROMPTCRAFT_RUN_TOKENS",
        description="How many tokens of a model a run may use, in and out; 0 for any number.",
    )
    day_tokens: int = Field(
        0,
        ge=0,
        alias="PROMPTCRAFT_DAY_TOKENS",
        description="How many tokens of models each caller may use in a day (UTC); 0 for any number.",
    )
    answer_mib: int = Field(
        8,
        ge=1,
        le=1024,
        alias="PROMPTCRAFT_ANSWER_MIB",
        description="How many MiB an answer of an MCP server may have at `/mcp`.",
    )
    caller_calls: int = Field(
        6000,
        ge=0,
        alias="PROMPTCRAFT_CALLER_CALLS",
        description="How many calls a minute each caller may make at `/mcp`, over all replicas; 0 for any number.",
    )
    caller_at_once: int = Field(
        100,
        ge=0,
        alias="PROMPTCRAFT_CALLER_AT_ONCE",
        description="How many calls at `/mcp` each caller may have under way at each replica; 0 for any number.",
    )
    server_calls: int = Field(
        12_000,
        ge=0,
        alias="PROMPTCRAFT_SERVER_CALLS",
        description="How many calls a minute each MCP server gets from `/mcp`, over all replicas; 0 for any number.",
    )
    server_at_once: int = Field(
        100,
        ge=0,
        alias="PROMPTCRAFT_SERVER_AT_ONCE",
        description="How many calls from `/mcp` each MCP server has under way at each replica; 0 for any number.",
    )
    queue_limit: int = Field(
        100, ge=0, le=10_000, alias="PROMPTCRAFT_QUEUE_LIMIT", description="How many runs may wait for a slot."
    )
    queue_seconds: float = Field(
        120.0,
        gt=0,
        le=3600,
        alias="PROMPTCRAFT_QUEUE_SECONDS",
        description="The longest wait for a slot. A run that got none is refused.",
    )
    cache_seconds: int = Field(3600, ge=0, alias="PROMPTCRAFT_CACHE_SECONDS", description="How long a result is kept.")
    store_mib: int = Field(
        48,
        ge=4,
        le=65_536,
        alias="PROMPTCRAFT_STORE_MIB",
        description="MiB of Redis that results, records, sessions and keys may take together. With the stack's own "
        "Redis it is half of Redis's memory limit.",
    )

    session_turns: int = Field(
        20, ge=1, le=200, alias="PROMPTCRAFT_SESSION_TURNS", description="How many turns of a session are kept."
    )
    session_bytes: int = Field(
        65_536,
        ge=1024,
        le=1_048_576,
        alias="PROMPTCRAFT_SESSION_BYTES",
        description="How many bytes of a session are kept.",
    )
    session_seconds: int = Field(
        86_400,
        ge=1,
        alias="PROMPTCRAFT_SESSION_SECONDS",
        description="How long a session is kept after its last turn.",
    )

    embeddings_url: HttpUrl | None = Field(
        None,
        alias="PROMPTCRAFT_EMBEDDINGS_URL",
        description="The whole address of an OpenAI-compatible embeddings endpoint (`https://…/v1/embeddings`). "
        "If not set, results are embedded by hashing their words.",
    )
    embeddings_model: str = Field(
        "text-embedding-3-small", alias="PROMPTCRAFT_EMBEDDINGS_MODEL", description="The model that it is asked for."
    )
    embeddings_key_file: Path | None = Field(
        None, alias="PROMPTCRAFT_EMBEDDINGS_KEY_FILE", description="The file with the key to it."
    )
    similar_days: int = Field(
        30, ge=1, alias="PROMPTCRAFT_SIMILAR_DAYS", description="How many days runs are kept to find similar ones."
    )

    # The SDK reads its other `OTEL_…` variables itself.
    traces_endpoint: str | None = Field(
        None,
        alias="OTEL_EXPORTER_OTLP_ENDPOINT",
        description="Where traces go, by OTLP over HTTP; if not set, nowhere.",
    )

    @property
    def log_level_number(self) -> int:
        return logging.getLevelNamesMapping()[self.log_level]


def load_settings(environment: Mapping[str, str]) -> Settings:
    """The settings in `environment`; an empty variable counts as absent. Raises `SettingsError`."""
    try:
        return Settings.model_validate({name: value for name, value in environment.items() if value != ""})
    except ValidationError as error:
        first = error.errors()[0]
        raise SettingsError(f"{first['loc'][0]}: {first['msg']}; correct the variable or leave it out") from error
