"""Range requests after RFC 9110, section 14: one range of bytes, or the whole."""

from __future__ import annotations

import re
from dataclasses import dataclass

_RANGE = re.compile(r"bytes[ \t]*=[ \t]*(\d{0,18})-(\d{0,18})[ \t]*", re.IGNORECASE | re.ASCII)


@dataclass(frozen=True, slots=True)
class Span:
    """Bytes `start` to `stop`, the last one excluded; never empty."""

    start: int
    stop: int

    @property
    def bytes(self) -> int:
        return self.stop - self.start


class Unsatisfiable(Exception):
    """A range that lies behind the end: status 416."""


def span_of(header: str | None, size: int) -> Span | None:
    """What a Range header asks of `size` bytes; None where the whole is to be sent: without a header, with one that is
    not understood, and with several ranges, which a server may answer so. Raises Unsatisfiable."""
    found = _RANGE.fullmatch(header.strip()) if header else None
    if found is None or found[1] == found[2] == "":
        return None
    first, last = found[1], found[2]
    if first == "":  # the last n bytes
        start, stop = max(0, size - int(last)), size
    else:
        start, stop = int(first), size if last == "" else min(size, int(last) + 1)
        if last and int(last) < int(first):
            return None  # not a range at all, says section 14.1.1
    if start >= size or stop <= start:
        raise Unsatisfiable
    return Span(start, stop)


def whole_again(if_range: str | None, etag: str) -> bool:
    """Whether an If-Range header forbids a part: the client's part is of something else (section 13.1.5). We send no
    dates, so a date never matches."""
    return if_range is not None and if_range.strip() != etag


def unchanged(if_none_match: str | None, etag: str) -> bool:
    """Whether the client has it already (section 13.1.2: weak comparison)."""
    if if_none_match is None:
        return False
    tags = [tag.strip().removeprefix("W/") for tag in if_none_match.split(",")]
    return "*" in tags or etag in tags
