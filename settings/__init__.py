"""All that a stack is told, read once. `load_settings` is the way in."""

from settings.config import VARIABLES, OAuth, StackConfig
from settings.layers import Committed
from settings.load import load_settings
from settings.secrets import (
    ANYBODY,
    GENERATED_VARIABLE,
    OPENS,
    SECRET_KEYS,
    UNNAMED,
    Secret,
    fingerprint,
    names_another_openai,
    token_names,
)
from settings.stack import StackSettings
from settings.stack_files import StackFiles, bring_along, stack_files

__all__ = [
    "ANYBODY",
    "GENERATED_VARIABLE",
    "OPENS",
    "SECRET_KEYS",
    "UNNAMED",
    "VARIABLES",
    "Committed",
    "OAuth",
    "Secret",
    "StackConfig",
    "StackFiles",
    "StackSettings",
    "bring_along",
    "fingerprint",
    "load_settings",
    "names_another_openai",
    "stack_files",
    "token_names",
]
