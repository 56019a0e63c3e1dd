"""The one error for what a person must mend before set-up can go on."""

from __future__ import annotations

import re

# Tools repeat the address that they were given, and the address of a registry may hold a login.
_LOGIN = re.compile(r"(?<=://)(?:[^\s/@]+|[^\s/@:]*:[^\s@]*)@")


class SetupError(Exception):
    """Set-up can't go on. The text says what is missing and which commands to run; it is shown without traceback.

    A login in an address is masked.
    """

    def __init__(self, text: str) -> None:
        super().__init__(_LOGIN.sub("***@", text))
