"""Addresses in a text: where something could be sent to or taken from."""

from __future__ import annotations

import re
from collections.abc import Iterator

# Last labels of names that are hosts. Two letters are a country's, but for those that end the name of a file.
_TOP_WORDS = """
com org net edu gov mil int info biz name mobi dev app page cloud site online store shop tech xyz club top live
link click work zone host space website world today email systems solutions services digital agency network
tools run zip mov icu vip pro fun art wiki news blog chat code team onion local internal localhost test example
invalid lan home corp arpa
"""
_TOP = frozenset(_TOP_WORDS.split())
# Endings of files that are nobody's country: `Node.js` is no host. `setup.py` could be one, and is a path anyhow.
_FILE_WORDS = """
js ts go db gz rb vb hs jl kt 7z cs
"""
_FILES = frozenset(_FILE_WORDS.split())
_ABBREVIATIONS = frozenset({"e.g", "i.e", "a.m", "p.m", "u.s", "u.k", "e.u"})
_SECRET_PLACES = (
    r"ssh|env|aws|azure|gnupg|kube|docker|npmrc|pypirc|netrc|git-credentials|gitconfig|bash_history|zsh_history|"
    r"cursor|claude|claude\.json|vscode|config|mcp\.json|profile|bashrc|zshrc|pgpass|vault-token"
)
_PATTERNS = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"\b[a-z][a-z0-9+.-]{1,15}://[^\s<>\"'`)\]}]+",
        r"\b(?:data:[\w.+-]+/[\w.+-]+[;,]|javascript:|mailto:)[^\s<>\"'`)\]}]*",
        r"(?<![\w.+-])[\w.+-]{1,64}@(?!\d)[a-z0-9-]{1,63}(?:\.[a-z0-9-]{1,63}){0,5}",
        r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?![\w.]\d)",
        r"(?<![\w:])(?:[0-9a-f]{1,4}:){1,7}(?::[0-9a-f]{1,4}){1,7}(?![\w:])|(?<![\w:])::1\b",
        r"(?<![\w:])(?:[0-9a-f]{1,4}:){5,7}[0-9a-f]{1,4}(?![\w:])",
        # /etc/passwd  ~/x  ./x  $HOME/x  %APPDATA%\x  C:\x  \\server\share
        r"(?<![\w/.<:*)])(?:~\w*|\.{1,2}|\$\{?\w+\}?|%\w+%)?/[\w.@%+~-]*\w(?:/[\w.@%+~-]*)*",
        r"(?<!\w)(?:[a-z]:|%\w+%|\\)\\[\w.\\ $-]*\w",
        # docs/notes.txt
        r"(?<![\w/.-])\.?[\w-]+(?:/[\w.-]+)*/[\w-]+\.[a-z]\w{0,4}(?!\w)",
        rf"(?<![\w.])\.(?:{_SECRET_PLACES})(?:/[\w.-]+)*(?![\w-])",
        r"\bid_(?:rsa|dsa|ecdsa|ed25519)\b",
        r"\blocalhost(?::\d+)?\b",
    )
)
_HOST = re.compile(r"(?<![\w.@/-])[a-z0-9_-]{1,63}(?:\.[a-z0-9-]{1,63}){1,6}(?![\w@-])", re.IGNORECASE)
_SAID = re.compile(r"\b([a-z0-9-]{2,63}) dot ([a-z]{2,12})\b", re.IGNORECASE)


def addresses_in(text: str) -> Iterator[str]:
    """Every URL, host, address of mail, IP and path in a text that is `plain`, in small letters."""
    lowered = text.casefold()
    for pattern in _PATTERNS:
        for match in pattern.finditer(lowered):
            yield match[0].rstrip(".,;:!?")
    for match in _HOST.finditer(lowered):
        if _is_host(match[0]):
            yield match[0]
    for match in _SAID.finditer(lowered):
        if match[2] in _TOP:
            yield f"{match[1]}.{match[2]}"


def _is_host(name: str) -> bool:
    labels = name.split(".")
    last = labels[-1]
    if name in _ABBREVIATIONS or last.isdigit():
        return False
    if last in _FILES:
        return False
    return last in _TOP or last.startswith("xn--") or (len(last) == 2 and last.isalpha())
