"""The network of looks that ships: night is dark, not black; fog is flat; what is asked to stay nearly does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from worldstream.worlds.edit_look import ASKED, Look, load_look, wish_of
from worldstream.worlds.procedural.attributes import Attributes
from worldstream.worlds.procedural.captions import Hints, parse
from worldstream.worlds.procedural.episodes import TEST_SEED, episode
from worldstream.worlds.weights import SHIPPED


@pytest.fixture(scope="module")
def look() -> Look:
    return load_look(SHIPPED)


@pytest.fixture(scope="module")
def noon() -> NDArray[np.uint8]:
    place = Attributes(0, 2, 0, 0, 0.5, 0.4, 0.5)
    return episode(TEST_SEED + 61, 1, 128, 80, attributes=place, changes=False).rgb[0]


def test_other_lights_and_weathers(look: Look, noon: NDArray[np.uint8]) -> None:
    now = parse("noon, clear, vivid")
    made = {
        name: look.grid(
            noon, parse(f"{name}, clear, vivid" if name == "night" else f"noon, {name}, vivid"), now
        ).applied(noon)
        for name in ("night", "foggy")
    }
    assert 2 < made["night"].mean() < 0.5 * noon.mean()
    assert made["foggy"].std() < 0.85 * noon.std()


def test_what_is_asked_to_stay_nearly_does(look: Look, noon: NDArray[np.uint8]) -> None:
    same = look.grid(noon, parse("noon, clear, vivid"), guidance=0.0).applied(noon)
    assert np.abs(same.astype(int) - noon).mean() < 20


def test_wishes_name_only_what_changes() -> None:
    assert not wish_of(Hints()).any()
    assert wish_of(Hints(theme=0, mood=5)).nonzero().ravel().tolist() == [0, ASKED - 1]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"look\.safetensors is missing"):
        load_look(tmp_path)
