"""The stack's settings: stack files, environment and `.env`, read once, with one precedence.

What `pulumi config set` wrote on this machine wins over the committed `Pulumi.<stack>.yaml`, which wins over the
environment, which wins over `.env`, which wins over the default in `Pulumi.yaml`. Everything after this file sees one
frozen value.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from errors import ConfigError
from reading import safe_files
from reading.text import shown
from settings import layers
from settings.config import OAuth, StackConfig
from settings.images import load_images
from settings.layers import Value
from settings.secrets import GENERATED_VARIABLE, SECRET_KEYS, Secret, secrets_of
from settings.stack import StackSettings
from settings.stack_files import stack_files
from settings.tls import Setting, read_tls

_MAX_AUTHORITIES = 1024 * 1024  # bytes; a whole system's bundle has a quarter of that


def load_settings(
    root: Path,
    stack: str,
    environ: Mapping[str, str],
    overrides: Mapping[str, str] | None = None,
    *,
    anywhere: bool = False,
    is_named: bool = False,
) -> StackSettings:
    """Read the settings of `stack` from the project folder `root`.

    `overrides` is the configuration as Pulumi's engine hands it to its program (full keys, JSON text, secrets
    decrypted). With `anywhere` the folder may be a stranger's: then the program's own defaults count, and no stack
    file, which came with the folder and would approve. It is not where it is the program's own checkout, or where the
    operator named it (`is_named`) and it is this project's. Raises `ConfigError` with one line for each problem.
    """
    is_elsewhere = anywhere and not (layers.is_own_checkout(root) or (is_named and layers.is_ours(root)))
    unread = layers.unread_stack_file(root, stack) if is_elsewhere else ()
    project = layers.PROGRAM if is_elsewhere else root
    environment = layers.read_environment(root, environ)
    defaults = layers.read_defaults(project)
    written = {} if is_elsewhere else layers.read_stack_files(root, stack_files(root, stack), overrides or {})
    secrets = layers.from_engine(overrides or {}, written, defaults)
    values = defaults | layers.from_environment(environment) | written
    plain = {key: value for key, value in values.items() if key not in SECRET_KEYS}
    config = _validated(plain, f"Pulumi.{stack}.yaml")
    tls = read_tls(
        root,
        Setting(config.tls_certificate, values["tlsCertificate"].where),
        _key_entry(written.get("tlsKey"), secrets.pop("tlsKey", None)),
        config.public_hosts,
    )
    return StackSettings(
        stack=stack,
        config=config,
        images=load_images(project, config.images),
        environment=environment.values,
        origins=environment.origins,
        taken=environment.taken,
        warnings=(*environment.warnings, *unread),
        committed=environment.committed,
        secrets=secrets_of(
            secrets,
            environment.values,
            f"Pulumi.{stack}.yaml",
            {*config.generated.values(), *environment.values.get(GENERATED_VARIABLE, "").split()},
        )
        | ({"tlsKey": Secret(tls.key)} if tls and tls.key else {}),
        authorities=_authorities(root, config.ca_file, values["caFile"].where) if config.ca_file else None,
        tls=tls,
        is_elsewhere=is_elsewhere,
    )


def _authorities(root: Path, file: str, where: str) -> str:
    """The certificates in `file`, a path from the project's folder. Raises `ConfigError` where there are none."""
    try:
        data = safe_files.read_file(root / file, safe_files.Rules(max_bytes=_MAX_AUTHORITIES))
    except safe_files.UnsafeFile as error:
        raise ConfigError(f"{where}: caFile: {file!r} {error}; name a plain PEM file of authorities") from error
    if data is None:
        raise ConfigError(f"{where}: caFile: {file!r} does not exist; name a PEM file by its path from the project")
    try:
        text = data.decode("ascii")
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=text)
    except (ValueError, ssl.SSLError) as error:
        raise ConfigError(f"{where}: caFile: {file!r} holds no certificate; name a PEM file of authorities") from error
    if "PRIVATE KEY" in text:
        raise ConfigError(f"{where}: caFile: {file!r} holds a private key as well; keep certificates only in it")
    return text


def _validated(values: Mapping[str, Value], file: str) -> StackConfig:
    try:
        return StackConfig.model_validate({key: value.value for key, value in values.items()})
    except ValidationError as invalid:
        raise ConfigError("\n".join(_problem(dict(error), values, file) for error in invalid.errors())) from invalid


def _problem(error: Mapping[str, Any], values: Mapping[str, Value], file: str) -> str:
    key = str(error["loc"][0])
    where = values[key].where if key in values else f"{file}:1"
    path = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        fields = (OAuth if len(error["loc"]) > 1 else StackConfig).model_fields
        known = ", ".join(sorted(defined.alias or name for name, defined in fields.items()))
        return f"{where}: {path}: unknown key; remove it or use one of: {known}"
    message = str(error["msg"]).removeprefix("Value error, ")
    why = f"{message[:1].lower()}{message[1:]}; correct the value or remove the key"
    return f"{where}: {path}: {shown(error['input'])} is refused: {why}"


def _key_entry(written: Value | None, decrypted: str | None) -> Setting | None:
    """`tlsKey` as far as it is known; a secret's text is there only where Pulumi's engine decrypted it."""
    if written is None:
        return Setting(decrypted, "pulumi config") if decrypted else None
    if isinstance(written.value, str):
        return Setting(written.value, written.where, in_the_open=True)
    return Setting(decrypted, written.where)
