"""Lists in pages, and timestamps, as the contract wants them."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

from .errors import invalid

T = TypeVar("T")


def stamp(seconds: float) -> str:
    """Unix seconds as ISO 8601 with milliseconds and `Z`."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def cursor_of(*key: float | str) -> str:
    """An opaque cursor: where the next page begins."""
    return base64.urlsafe_b64encode(json.dumps(key).encode()).decode().rstrip("=")


def key_of(cursor: str | None) -> tuple[Any, ...] | None:
    """What `cursor_of` was given; None for None. Raises a 400 on anything else."""
    if cursor is None:
        return None
    try:
        found = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (binascii.Error, ValueError):
        found = None
    if not isinstance(found, list) or not all(isinstance(part, str | int | float) for part in found):
        raise invalid(["cursor"], "is not a cursor that this server gave")
    return tuple(found)


def page(rows: Sequence[T], limit: int, as_dict: Callable[[T], Any], key: Callable[[T], str]) -> dict[str, Any]:
    """`{data, hasMore, nextCursor}` of up to `limit` + 1 rows; `key` is the cursor after a row."""
    shown = rows[:limit]
    more = len(rows) > limit
    return {
        "data": [as_dict(row) for row in shown],
        "hasMore": more,
        "nextCursor": key(shown[-1]) if more and shown else None,
    }
