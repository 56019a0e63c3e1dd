"""The reference PromptCraft gateway: what the stack is for. Shares one JSON document, the plan, with the program."""

VERSION = "1.0.0"
SERVICE = "promptcraft"
