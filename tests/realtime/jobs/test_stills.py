"""Pictures: every ratio exact, seeds in a row, formats, sizes far above what is drawn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.realtime.jobs.clip_orders import Told, order, small
from worldstream.realtime.jobs.contract import Cancelled, JobError
from worldstream.realtime.jobs.stills import still

R16 = (
    (1024, 1024), (1080, 1080), (1168, 880), (1360, 768), (1440, 1080), (1080, 1440), (1808, 768), (1920, 1080),
    (1080, 1920), (2112, 912), (1280, 720), (720, 1280), (720, 720), (960, 720), (720, 960), (1680, 720),
)  # fmt: skip


@pytest.mark.parametrize(("width", "height"), [*R16, (6336, 2688), (1024, 4096)])
def test_every_ratio_is_exact(tmp_path: Path, width: int, height: int) -> None:
    made = still(order("still", tmp_path, width=width, height=height, format="jpeg"), small(), Told())
    with Image.open(made.outputs[0].path) as picture:
        assert picture.size == (width, height)
        picture.load()
    assert any("enlarged" in note for note in made.facts["notes"])


@pytest.mark.parametrize(
    ("format", "kind", "media_type"),
    [("png", "PNG", "image/png"), ("jpeg", "JPEG", "image/jpeg"), ("webp", "WEBP", "image/webp")],
)
def test_every_format_is_what_it_says(tmp_path: Path, format: str, kind: str, media_type: str) -> None:
    made = still(order("still", tmp_path, format=format), small(), Told())
    assert made.outputs[0].media_type == media_type
    with Image.open(made.outputs[0].path) as picture:
        assert (picture.format, picture.size) == (kind, (96, 64))


def pixels(path: Path) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.asarray(Image.open(path).convert("RGB"))


def test_several_pictures_are_those_of_the_seeds_in_a_row(tmp_path: Path) -> None:
    told = Told()
    many = still(order("still", tmp_path / "many", count=3, seed=4), small(), told)
    assert len(many.outputs) == 3
    for i, output in enumerate(many.outputs):
        alone = still(order("still", tmp_path / str(i), seed=4 + i), small(), Told())
        np.testing.assert_array_equal(pixels(output.path), pixels(alone.outputs[0].path))
    assert not np.array_equal(pixels(many.outputs[0].path), pixels(many.outputs[1].path))
    assert told.fractions == sorted(told.fractions)
    assert (told.fractions[-1], len(told.previews)) == (1.0, 3)


def test_pictures_that_nobody_wants_leave_nothing(tmp_path: Path) -> None:
    with pytest.raises(Cancelled):
        still(order("still", tmp_path, count=3), small(), Told(3, Cancelled()))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"count": 11}, "1 to 10 pictures"), ({"width": 9000}, "9000 x 64"), ({"format": "gif"}, "'gif'"),
        ({"quality": "superb"}, "'superb'"), ({"quality": 0}, "got 0"), ({"width": 8192, "height": 16}, "too narrow"),
        ({"references": [{"input": "ref0"}]}, "ref0"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_said(tmp_path: Path, params: dict[str, Any], said: str) -> None:
    with pytest.raises(JobError, match=said):
        still(order("still", tmp_path, **params), small(), Told())
    assert list(tmp_path.iterdir()) == []
