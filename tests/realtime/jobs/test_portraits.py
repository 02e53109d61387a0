"""Portraits: the size that was asked for, and what is cut away."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from worldstream.realtime.jobs.contract import JobError, JobOrder
from worldstream.realtime.jobs.portraits import portrait


def run(folder: Path, picture: Path, **params: Any) -> Any:
    out = folder / "out"
    out.mkdir()
    order = JobOrder("id", "portrait", {"width": 136, "height": 88, **params}, {"image": picture}, out)
    return portrait(order, None, lambda fraction, preview=None: None)  # type: ignore[arg-type]


def test_a_tall_picture_keeps_its_head(tmp_path: Path) -> None:
    rgb = np.zeros((400, 136, 3), np.uint8)
    rgb[80:120] = 255  # the head, a quarter down
    Image.fromarray(rgb).save(tmp_path / "tall.png")
    result = run(tmp_path, tmp_path / "tall.png")
    with Image.open(result.outputs[0].path) as made:
        assert made.size == (136, 88)
        assert np.asarray(made)[30:50].mean() > 250
    assert result.facts["from"] == [136, 400]


def test_none_leaves_the_picture_whole(tmp_path: Path) -> None:
    Image.new("RGB", (4096, 1024), (200, 10, 10)).save(tmp_path / "wide.jpg")
    with Image.open(run(tmp_path, tmp_path / "wide.jpg", processing="none").outputs[0].path) as made:
        assert made.size == (2048, 512)


def test_no_picture(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(b"<svg/>")
    with pytest.raises(JobError, match="The picture cannot be read"):
        run(tmp_path, tmp_path / "x.png")
