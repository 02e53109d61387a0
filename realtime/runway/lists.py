"""The members that lists share: where a page begins, and dates in a query."""

from __future__ import annotations

import math
import re
from datetime import UTC, date, datetime
from typing import Annotated

from fastapi import Query

from .bodies import is_uuid
from .errors import invalid
from .pages import key_of

DAY_S = 86_400.0

Limit = Annotated[int, Query(ge=1, le=100)]
Cursor = Annotated[str | None, Query(min_length=1, max_length=1000)]


def after(cursor: str | None) -> tuple[float, str] | None:
    """The place (time, id) after which the page begins. Raises a 400 on a cursor that this server did not give."""
    try:
        key = key_of(cursor)
    except RecursionError:
        key = ()
    if key is None:
        return None
    match key:
        case (float(seconds), str(id)) if math.isfinite(seconds) and is_uuid(id):
            return seconds, id
    raise invalid(["cursor"], "is not a cursor that this server gave")


def moment(text: str, field: str, *, ends_day: bool = False) -> float:
    """Unix seconds of an ISO 8601 date or time; UTC where it names no zone. A date alone is its first instant, or with
    `ends_day` its last. Raises a 400 that names `field`."""
    try:
        if len(text) == 10:
            found = datetime.combine(date.fromisoformat(text), datetime.min.time(), UTC)
            return found.timestamp() + (DAY_S - 0.001 if ends_day else 0.0)
        # an unescaped + of a zone arrives as a space
        found = datetime.fromisoformat(re.sub(r" (\d\d:?\d\d)$", r"+\1", text))
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        raise invalid([field], f"is {text[:40]!a}, which is not an ISO 8601 date or time", "invalid_date") from None


def day_of(seconds: float) -> str:
    """The day in UTC, YYYY-MM-DD."""
    return datetime.fromtimestamp(seconds, UTC).date().isoformat()
