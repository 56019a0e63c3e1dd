"""All that a stack is told, read once. `load_settings` is the way in."""

from settings.config import VARIABLES, StackConfig
from settings.layers import Committed
from settings.load import load_settings
from settings.secrets import GENERATED_VARIABLE, OPENS, SECRET_KEYS, Secret, fingerprint, names_another_openai
from settings.stack import StackSettings
from settings.stack_files import StackFiles, bring_along, stack_files

__all__ = [
    "GENERATED_VARIABLE",
    "OPENS",
    "SECRET_KEYS",
    "VARIABLES",
    "Committed",
    "Secret",
    "StackConfig",
    "StackFiles",
    "StackSettings",
    "bring_along",
    "fingerprint",
    "load_settings",
    "names_another_openai",
    "stack_files",
]
