"""Asking for LoRAs by words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worldstream.worlds.wan.lora_words import asked

NAMES = ("ink", "water colour")


@pytest.mark.parametrize(
    ("prompt", "text", "scales"),
    [
        ("a forest", "a forest", {}),
        ("a <lora:ink:0.8> forest", "a forest", {"ink": 0.8}),
        ("<lora:ink>", "", {"ink": 1.0}),
        ("x <lora:ink:0.5> <lora:water colour:-1>", "x", {"ink": 0.5, "water colour": -1.0}),
        ("<lora:ink:0.5> <lora:ink:0.7>", "", {"ink": 0.7}),
        ("a <lora:oil:1> forest", "a <lora:oil:1> forest", {}),
        ("<lora:ink:much>", "<lora:ink:much>", {}),
        ("<lora:ink:nan> <lora:ink:9>", "<lora:ink:nan> <lora:ink:9>", {}),
    ],
)
def test_what_is_asked_for(prompt: str, text: str, scales: dict[str, float]) -> None:
    assert asked(prompt, NAMES) == (text, scales)


@given(st.text(alphabet="<lora:ink1.5>- \n", max_size=80))
def test_any_words_are_read(prompt: str) -> None:
    text, scales = asked(prompt, NAMES)
    assert set(scales) <= {"ink"}
    assert text == prompt or scales
    assert asked(text, ()) == (text, {})
