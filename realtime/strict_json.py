"""JSON from strangers: bounded before anything looks at it, and without what no database keeps.

Half surrogate pairs and NUL characters are refused: an answer or a database that meets one later fails for everybody
who asks. Depth and number of values are bounded, because validating a body takes time for each of them.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

MAX_DEPTH = 64
MAX_VALUES = 20_000
LOOP_BYTES = 32 * 1024  # a longer body is parsed in a thread


async def parsed(body: bytes) -> Any:
    """`parse`, off the event loop where it could take long. Raises ValueError."""
    return await asyncio.to_thread(parse, body) if len(body) > LOOP_BYTES else parse(body)


def parse(body: bytes) -> Any:
    """What `body` says, UTF-8 with or without a byte order mark. Raises ValueError in one line: not JSON, NaN or
    Infinity, a number of thousands of digits, too deep, too many values, a string that cannot be kept."""
    text = body.decode("utf-8-sig")
    try:
        found = json.loads(text, parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    _check(found, strings="\\u" in text or "\0" in text)
    return found


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a number of JSON")


def _check(found: Any, *, strings: bool) -> None:
    """Walks without recursion: depth is the sender's choice. Escapes alone bring in what UTF-8 does not."""
    level, depth, count = [found], 0, 1
    while level:
        following: list[Any] = []
        for value in level:
            if isinstance(value, dict):
                inside = [*value, *value.values()] if strings else list(value.values())
            elif isinstance(value, list):
                inside = value
            else:
                if strings and isinstance(value, str):
                    _check_text(value)
                continue
            count += len(inside)
            if count > MAX_VALUES:
                raise ValueError(f"it holds more than {MAX_VALUES} values")
            following += inside
        level, depth = following, depth + 1
        if depth > MAX_DEPTH and level:
            raise ValueError("it is nested too deeply")


def _check_text(text: str) -> None:
    if "\0" in text:
        raise ValueError("it holds a NUL character")
    if not text.isascii() and any("\ud800" <= c <= "\udfff" for c in text):
        raise ValueError("it holds half of a surrogate pair")
