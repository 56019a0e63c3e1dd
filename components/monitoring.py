"""Prometheus, its exporters, and Grafana: what each needs beyond being a workload."""

from __future__ import annotations

import json

from catalog import EXPORTERS
from components.files import Files
from components.service import Declared, ServiceComponent, Setup
from planning.contents import SecretText
from planning.plan import SECRETS_PATH
from rendering.alert_rules import alert_rules
from rendering.grafana_provisioning import grafana_files
from rendering.prometheus_config import (
    CONFIG_FILE,
    RULES_FILE,
    prometheus_command,
    prometheus_config,
    qdrant_key_wanted,
)


class Prometheus(ServiceComponent):
    """Prometheus over everything of this stack that has metrics, with its alert rules."""

    TOKEN = "promptcraft:monitoring:Prometheus"

    def setup(self, declared: Declared) -> Setup:
        plan, workload = declared.plan, declared.workload
        files = Files(
            plain={CONFIG_FILE: prometheus_config(plan, workload), RULES_FILE: alert_rules(plan)},
            secret={"qdrant": declared.secrets["qdrant"]} if qdrant_key_wanted(plan, workload) else {},
        )
        return Setup(files, command=prometheus_command(workload.data_path or "/prometheus"))


_REDIS_PASSWORDS = "redis-passwords.json"


class Exporter(ServiceComponent):
    """What tells Prometheus the figures of a service."""

    TOKEN = "promptcraft:monitoring:Exporter"

    def setup(self, declared: Declared) -> Setup:
        command = EXPORTERS[declared.workload.service].command
        password = declared.secrets.get("redis")
        if password is None:
            return Setup(command=command)
        # A password by server, which is how redis_exporter reads it from a file.
        passwords = SecretText(json.dumps({"redis://redis:6379": password.text}))
        return Setup(
            Files(secret={_REDIS_PASSWORDS: passwords}),
            command=(*command, f"--redis.password-file={SECRETS_PATH}/{_REDIS_PASSWORDS}"),
        )


class Grafana(ServiceComponent):
    """Grafana with its data source and dashboards in place."""

    TOKEN = "promptcraft:monitoring:Grafana"

    def setup(self, declared: Declared) -> Setup:
        files = grafana_files(declared.plan, declared.contents.dashboards)
        return Setup(Files(plain=files, secret={"grafana": declared.secrets["grafana"]}))
