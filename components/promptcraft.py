"""The application: its plan and agents as files, its credentials as secret files, one container a replica."""

from __future__ import annotations

from components.files import Files
from components.service import Declared, ServiceComponent, Setup
from planning.plan import AUTHORITIES_FILE, FILES_PATH, SECRETS_PATH
from rendering import gateway_tokens
from rendering.plan_document import agent_file, header_file, pin_file, plan_document


class PromptCraft(ServiceComponent):
    """The gateway."""

    TOKEN = "promptcraft:promptcraft:PromptCraft"

    def setup(self, declared: Declared) -> Setup:
        plan, texts = declared.plan, declared.contents.agent_texts
        agents = {
            agent_file(agent.selected).removeprefix(f"{FILES_PATH}/"): texts[name]
            for name, agent in plan.agents.items()
            if agent.selected is not None and name in texts
        }
        pins = {
            pin_file(name).removeprefix(f"{FILES_PATH}/"): declared.contents.tool_pins[name]
            for name in sorted(plan.pinned)
        }
        authorities = {AUTHORITIES_FILE: plan.authorities} if plan.authorities else {}
        credentials = dict(declared.secrets)
        if tokens := credentials.pop("gatewayTokens", None):
            credentials[gateway_tokens.FILE] = gateway_tokens.gateway_tokens(tokens)
        headers = {
            header_file(name).removeprefix(f"{SECRETS_PATH}/"): declared.contents.headers[name, entry.key]
            for name, entry in plan.headers.items()
        }
        document = plan_document(plan, declared.workload.secrets)
        return Setup(
            Files(plain={"plan.json": document, **authorities, **agents, **pins}, secret={**credentials, **headers})
        )
