"""Which way an agent's runs are answered: by the tool that it names, else by the model that it means."""

from __future__ import annotations

from gateway.agents import Definition
from gateway.models.names import UnknownModel, resolve
from gateway.runs.model_way import ModelRunner, ModelWay
from gateway.runs.tool import ToolCaller, ToolWay, choose_tool, names_a_tool
from gateway.runs.way import Way


class Unanswerable(Exception):
    """Nothing can answer for the agent; the text is one line that says what to set or start."""


class Ways:
    def __init__(self, runner: ModelRunner, caller: ToolCaller) -> None:
        self._runner = runner
        self._caller = caller

    def choose(self, agent: str, definition: Definition) -> Way:
        """Raises `Unanswerable`."""
        plan, settings = self._runner.plan, self._runner.settings
        if names_a_tool(settings, definition):
            tool = choose_tool(plan, settings, definition)
            if tool is None:
                wanted = definition.server or settings.agent_server
                what = f"no MCP server {wanted}" if wanted else "no MCP server"
                raise Unanswerable(f"this stack has {what} that could answer")
            return ToolWay(tool, self._caller)
        try:
            return ModelWay(agent, resolve(definition.model, plan.models), self._runner)
        except UnknownModel as error:
            raise Unanswerable(str(error)) from error
