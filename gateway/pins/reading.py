"""A stranger's text as its reader takes it: without tricks of characters, so that a rule sees the words."""

# ruff: noqa: RUF001 - letters that look alike are what this is about

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

# Letters of other alphabets that look like Latin ones (Unicode's confusables.txt, those in common use).
_ALIKE = dict(
    zip(
        "абвгеёзіїјкмноԛрсѕтуԝхһԁԍьӏАВЕЁЅІЈКМНОРСТУХΑΒΕΖΗΙΚΜΝΟΡΤΥΧαεικνορτυχγ",
        "abbreesiijkmhoqpcstywxhdgbiABEESIJKMHOPCTYXABEZHIKMNOPTYXaeikvoptuxy",
        strict=True,
    )
)
# What some fonts show as nothing, though Unicode calls it a letter or a symbol.
_BLANK = frozenset("\u115f\u1160\u3164\uffa0\u2800\u034f\u17b4\u17b5")
_JOINERS = frozenset("\u200c\u200d")
_SELECTORS = frozenset(chr(code) for code in (*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0)))
_TEXT_CONTROLS = frozenset("\t\n\r")
# `r e a d`, `r.e.a.d`: what is spelled with gaps is one word.
_SPELLED = re.compile(r"(?<![\w'])(?:\w[ .\-_*]){3,}\w(?![\w'])")
_DEFANGED = (
    (re.compile(r"hxxp", re.IGNORECASE), "http"),
    # A browser takes it for a dot (IDNA).
    (re.compile(r"(?<=\w)\u3002(?=\w)"), "."),
    (re.compile(r"\s?[\[({]\s?(?:\.|dot)\s?[\])}]\s?"), "."),
)
_SENTENCE = re.compile(r"(?<=[.!?:;])\s+|\n+|<br\s*/?>|\s[-*•]\s")
_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)?")


def plain(text: str) -> str:
    """The text with what hides taken out, look-alikes put right, and one kind of white space but for ends of lines."""
    latin = text
    # What is printable ASCII hides nothing.
    if not (text.isascii() and text.isprintable()):
        shown = "".join(letter for letter in text if not is_hidden(letter) and letter not in _SELECTORS)
        latin = unicodedata.normalize("NFKC", shown)
        if _is_latin(latin):
            latin = "".join(_ALIKE.get(letter, letter) for letter in _without_accents(latin))
    for pattern, instead in _DEFANGED:
        latin = pattern.sub(instead, latin)
    joined = _SPELLED.sub(lambda match: re.sub(r"[ .\-_*]", "", match[0]), latin)
    lines = (" ".join(line.split()) for line in joined.splitlines())
    return "\n".join(line for line in lines if line).replace("’", "'")


def sentences(text: str) -> Iterator[str]:
    """The sentences of a text that is `plain`, each as its words."""
    for part in _SENTENCE.split(text):
        if part and (kept := part.strip(" -*•#>`\"'")):
            yield kept


def words(text: str) -> tuple[str, ...]:
    return tuple(_WORD.findall(text.casefold()))


def is_hidden(letter: str) -> bool:
    """Whether a character shows nothing, or turns the order of what is shown, or steers a terminal."""
    category = unicodedata.category(letter)
    return (category in ("Cc", "Cf", "Co", "Cn", "Zl", "Zp") and letter not in _TEXT_CONTROLS) or letter in _BLANK


def hidden_in(text: str) -> list[str]:
    """The characters of a text that hide something, as `U+200B`, each once.

    Joiners stay out where a script or an emoji needs them, and so does the sequence of an emoji's flag.
    """
    found: dict[str, None] = {}
    if text.isascii() and text.isprintable():
        return []
    for place, letter in enumerate(text):
        before, after = text[place - 1 : place], text[place + 1 : place + 2]
        if letter in _JOINERS and _joins(before) and _joins(after):
            continue
        if letter == "\ufeff" and place == 0:
            continue
        # A lone selector after a symbol says how to draw it; a second one says something else.
        is_selector = letter in _SELECTORS and not (before and not before.isascii() and before not in _SELECTORS)
        is_keycap = letter == "\ufe0f" and before in tuple("0123456789#*")
        if (is_hidden(letter) or (is_selector and not is_keycap)) and not _is_of_flag(text, place):
            found[f"U+{ord(letter):04X}"] = None
    return list(found)


def mixed_words(text: str) -> list[str]:
    """Words that mix alphabets which look alike, or are written in another alphabet's look-alikes alone."""
    is_latin = _is_latin(text)
    found: dict[str, None] = {}
    for word in re.findall(r"[^\W\d_]+", text):
        foreign = [letter for letter in word if letter in _ALIKE]
        if not foreign:
            continue
        has_latin = any(letter.isascii() for letter in word)
        if has_latin or (is_latin and len(foreign) == len(word) and len(word) > 1):
            found[word] = None
    return list(found)


def _is_latin(text: str) -> bool:
    """Whether a text is written in Latin letters, for the most part."""
    letters = [letter for letter in text if letter.isalpha()]
    return sum(letter < "\u0250" for letter in letters) * 2 >= len(letters)


def _without_accents(text: str) -> str:
    parts = unicodedata.normalize("NFD", text)
    return "".join(letter for letter in parts if not unicodedata.combining(letter))


def _joins(letter: str) -> bool:
    # Emoji, and the scripts that write joiners: Arabic to Sinhala, Myanmar, Khmer, Mongolian.
    return bool(letter) and (ord(letter) > 0x2190 or 0x0600 <= ord(letter) <= 0x18AF or letter in _SELECTORS)


def _is_of_flag(text: str, place: int) -> bool:
    # 🏴 and the letters of a region as tags, closed by U+E007F: at most 7 of them.
    if not 0xE0020 <= ord(text[place]) <= 0xE007F:
        return False
    start = text.rfind("\U0001f3f4", max(0, place - 7), place)
    return start >= 0 and all(0xE0020 <= ord(letter) <= 0xE007F for letter in text[start + 1 : place + 1])
