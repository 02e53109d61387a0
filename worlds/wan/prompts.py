"""Prompts as the text encoder was trained to see them: repaired, unescaped, one space between words.

Published Wan models pass every prompt through ftfy, unescape HTML twice and collapse white space. ftfy is optional
here. Without it `clean_prompt` makes the same exact replacements (quotes, ligatures, full-width letters, control
characters, NFC) but does not guess at text that was decoded with the wrong character set: "sÃ¼Ã" stays as typed.
"""

from __future__ import annotations

import html
import importlib
import re
import unicodedata
from typing import Any

# 512 tokens of at most 16 characters are 8,192; the rest of a longer prompt could not be seen anyway.
MAX_CHARACTERS = 65_536

_TERMINAL_ESCAPE = re.compile("\x1b\\[[0-9;]*[A-Za-z]")
_CONTROL = (*range(0x09), 0x0B, *range(0x0E, 0x20), 0x7F, *range(0x206A, 0x2070), 0xFEFF, *range(0xFFF9, 0xFFFD))
_LIGATURES = (*range(0x0132, 0x0134), 0x0149, *range(0x01C4, 0x01CD), *range(0x01F1, 0x01F4), *range(0xFB00, 0xFB07))


def _replacements() -> dict[int, str | None]:
    """Character by character: what typographic and full-width forms become. None deletes."""
    table: dict[int, str | None] = dict.fromkeys(_CONTROL)
    table |= dict.fromkeys((0x2BC, *range(0x2018, 0x201C)), "'")
    table |= dict.fromkeys(range(0x201C, 0x2020), '"')
    for code in range(0x80, 0xA0):  # no one types these: they are Windows' characters, read as Latin-1
        table[code] = bytes([code]).decode("windows-1252", "ignore") or chr(code)
    for code in (0x3000, *range(0xFF01, 0xFFF0), *_LIGATURES):
        plain = unicodedata.normalize("NFKC", chr(code))
        if plain != chr(code):
            table[code] = plain
    return table


_REPLACEMENTS = _replacements()


def clean_prompt(prompt: str) -> str:
    """The text that is tokenized: no line breaks, no doubled or outer spaces, no lone surrogates.

    At most `MAX_CHARACTERS` long. The same prompt gives the same text; a text that is clean stays as it is, except
    that each call unescapes HTML.
    """
    text = prompt.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    text = html.unescape(html.unescape(_repair(text))).strip()
    return re.sub(r"\s+", " ", text).strip()[:MAX_CHARACTERS].rstrip()


def _repair(text: str) -> str:
    ftfy = _ftfy()
    if ftfy is not None:
        return str(ftfy.fix_text(text))
    text = _TERMINAL_ESCAPE.sub("", text)
    text = text.translate(_REPLACEMENTS).translate(_REPLACEMENTS)  # some become quotes that are straightened then
    return unicodedata.normalize("NFC", text)


def _ftfy() -> Any:
    try:
        return importlib.import_module("ftfy")
    except ImportError:
        return None
