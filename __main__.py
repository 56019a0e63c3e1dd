"""PromptCraft Hybrid Infrastructure: look at what already runs, then declare only what is missing."""

import os
from pathlib import Path

import pulumi

from components.stack import PromptCraftStack, outputs
from dashboards import load_dashboards
from discovery import deploy_look
from discovery.deployment_lock import BusyError
from errors import ConfigError
from planning.contents import Contents, SecretText
from planning.decide import decide
from settings import load_settings

root = Path(__file__).resolve().parent
try:
    settings = load_settings(root, pulumi.get_stack(), os.environ, pulumi.runtime.config.get_config_env())
    look = deploy_look.take(root, settings, updating=not pulumi.runtime.is_dry_run())
    plan = decide(look.report, settings, look.config)
    look.confirm_started({name: server.key for name, server in plan.in_runner.items()})
    look.confirm_headers({name: (headers.key, headers.names) for name, headers in plan.headers.items()})
    contents = Contents(
        secrets={name: SecretText(secret.value) for name, secret in settings.secrets.items()},
        agent_texts=look.agent_texts,
        tool_pins=look.tool_pins,
        dashboards=load_dashboards(root),
        launches={place: SecretText(text) for place, text in look.launches.items()},
        headers={place: SecretText(text) for place, text in look.headers.items()},
        certificates=look.certificates,
    )
except (ConfigError, BusyError) as error:
    raise pulumi.RunError(str(error)) from None

PromptCraftStack(plan, contents)
for name, value in outputs(plan).items():
    pulumi.export(name, value)
