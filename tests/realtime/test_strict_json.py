"""JSON from strangers: what is refused before anything looks at it."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worldstream.realtime.strict_json import MAX_DEPTH, MAX_VALUES, parse, parsed

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b'{"a": NaN}', "NaN is not a number"),
        (b"[-Infinity]", "-Infinity is not a number"),
        (b'{"a": "\\u0000"}', "NUL"),
        (b'{"\\u0000": 1}', "NUL"),
        (b'["x\\ud800y"]', "surrogate"),
        (b'{"a": {"\\udfff": 1}}', "surrogate"),
        (b"[" * 200_000, "nested too deeply"),
        (b"[" * (MAX_DEPTH + 2) + b"]" * (MAX_DEPTH + 2), "nested too deeply"),
        (b"[" + b"1," * MAX_VALUES + b"1]", "more than"),
        (json.dumps({f"k{n}": n for n in range(MAX_VALUES + 1)}).encode(), "more than"),
        (b"1" * 5000, "digits"),
        (b"\xff", "utf-8"),
        (b"", "Expecting value"),
    ],
)
async def test_what_is_refused(body: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why) as caught:
        parse(body)
    assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match=why):
        await parsed(body)


@settings(max_examples=25, deadline=None, derandomize=True, database=None)
@given(VALUES, st.booleans())
def test_everything_else_is_what_json_says(value: Any, escapes: bool) -> None:
    text = json.dumps(value, ensure_ascii=escapes)
    if "\0" in text or "\\u0000" in text or any("\ud800" <= c <= "\udfff" for c in text):
        return
    assert parse(text.encode()) == value


def test_a_whole_pair_is_a_character() -> None:
    assert parse(b'"\\ud83d\\ude00"') == "\U0001f600"


def test_large_bodies_take_no_longer_than_reading_them() -> None:
    body = json.dumps({"uri": "A" * 16 * 2**20}).encode()
    began_s = time.process_time()
    assert len(parse(body)["uri"]) == 16 * 2**20
    assert time.process_time() - began_s < 2.0
