"""Range requests, held equal to a slow and obvious reading of RFC 9110."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worldstream.realtime.byte_ranges import Span, Unsatisfiable, span_of, unchanged, whole_again

SIZE = 10


def obvious(first: int | None, last: int | None, size: int) -> list[int]:
    """The positions that a range names, one by one."""
    if first is None:
        assert last is not None
        return [i for i in range(size) if i >= size - last]
    return [i for i in range(size) if i >= first and (last is None or i <= last)]


@given(st.none() | st.integers(0, 30), st.none() | st.integers(0, 30), st.integers(0, 20))
def test_ranges_name_what_they_should(first: int | None, last: int | None, size: int) -> None:
    if first is None and last is None:
        return
    header = f"bytes={'' if first is None else first}-{'' if last is None else last}"
    if first is not None and last is not None and last < first:
        assert span_of(header, size) is None
        return
    expected = obvious(first, last, size)
    if not expected:
        with pytest.raises(Unsatisfiable):
            span_of(header, size)
        return
    span = span_of(header, size)
    assert span is not None
    assert list(range(span.start, span.stop)) == expected
    assert span.bytes == len(expected)


@pytest.mark.parametrize(
    "header",
    [None, "", "bytes=-", "bytes=1-2,4-5", "items=0-1", "bytes 0-1", "bytes=a-b", "bytes=--1", "bytes=5-1", "0-1",
     "bytes=\u0661-\u0662", "bytes=" + "9" * 40 + "-"],
)  # fmt: skip
def test_what_is_not_understood_gives_the_whole(header: str | None) -> None:
    assert span_of(header, SIZE) is None


@given(st.text(max_size=30))
def test_no_header_breaks_it(header: str) -> None:
    try:
        span = span_of(header, SIZE)
    except Unsatisfiable:
        return
    assert span is None or 0 <= span.start < span.stop <= SIZE


def test_spelling() -> None:
    assert span_of("Bytes = 2-3 ", SIZE) == Span(2, 4)
    assert span_of("bytes=0-999999999999999999", SIZE) == Span(0, SIZE)


def test_conditions() -> None:
    assert unchanged('"a"', '"a"')
    assert unchanged('W/"a"', '"a"')
    assert unchanged('"b", "a"', '"a"')
    assert unchanged("*", '"a"')
    assert not unchanged('"b"', '"a"')
    assert not unchanged(None, '"a"')
    assert whole_again('"b"', '"a"')
    assert whole_again("Sat, 21 Nov 2026 18:00:00 GMT", '"a"')
    assert not whole_again('"a"', '"a"')
    assert not whole_again(None, '"a"')
