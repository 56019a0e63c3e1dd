"""All that a stack is told, read once. `load_settings` is the way in."""

from settings.config import VARIABLES, StackConfig
from settings.load import load_settings
from settings.secrets import GENERATED_VARIABLE, OPENS, SECRET_KEYS, Secret, fingerprint
from settings.stack import StackSettings

__all__ = [
    "GENERATED_VARIABLE",
    "OPENS",
    "SECRET_KEYS",
    "VARIABLES",
    "Secret",
    "StackConfig",
    "StackSettings",
    "fingerprint",
    "load_settings",
]
