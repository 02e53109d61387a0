"""Keyframes are met exactly, and their looks hold over their ranges, smoothly between."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.worlds.test_edit_grid import scene
from worldstream.worlds.edit_keyframes import Guided, Keyframe, known, moments, shares

FPS = 10.0


def film(count: int = 30) -> list[NDArray[np.uint8]]:
    """A picture that slides by."""
    large = scene(5, 90, 260)
    return [np.ascontiguousarray(large[:, 2 * i : 2 * i + 140]) for i in range(count)]


def test_a_keyframe_is_shown_as_it_is_and_its_look_fades_into_the_next() -> None:
    frames = film()
    dark, marked = (frames[5] * 0.4).astype(np.uint8), frames[25].copy()
    marked[20:40, 60:80] = (255, 255, 0)
    keys = [
        known(Keyframe(dark, 0.5, -1e9), frames[5], 5, 0),
        known(Keyframe(marked, 2.5), frames[25], 25, 0),
    ]
    guided = Guided(keys, FPS)
    out = [guided.frame(picture, i, 0) for i, picture in enumerate(frames)]
    np.testing.assert_array_equal(out[5], dark)
    np.testing.assert_array_equal(out[25], marked)
    light = [float(o.mean()) / float(f.mean()) for o, f in zip(out, frames, strict=True)]
    assert light[0] == pytest.approx(0.4, abs=0.06)
    assert light[29] == pytest.approx(1.0, abs=0.06)
    assert max(abs(b - a) for a, b in itertools.pairwise(light)) < 0.25  # no jump
    # the mark is carried along with what it lies on: two pixels to the left a frame
    assert out[27][22:38, 58:74].astype(int)[..., 2].mean() < frames[27][22:38, 58:74].astype(int)[..., 2].mean() - 30


def test_outside_of_its_range_a_keyframe_has_no_say() -> None:
    frames = film()
    key = Keyframe(np.zeros_like(frames[0]), 1.0, 0.5, 1.5)
    guided = Guided([known(key, frames[10], 10, 0)], FPS)
    np.testing.assert_array_equal(guided.frame(frames[0], 0, 0), frames[0])
    np.testing.assert_array_equal(guided.frame(frames[20], 20, 0), frames[20])
    assert guided.frame(frames[11], 11, 0).mean() < 20
    weights, much = shares([key], 0.7)
    assert weights == [1.0]
    assert much == pytest.approx(0.5)


def test_keyframes_are_checked() -> None:
    black = np.zeros((4, 4, 3), np.uint8)
    with pytest.raises(ValueError, match="must lie in its range"):
        Keyframe(black, 3.0, 0.0, 2.0)
    with pytest.raises(ValueError, match=r"at 9 s, and the video ends at 3 s"):
        moments([Keyframe(black, 9.0)], FPS, 30)
    with pytest.raises(ValueError, match="two keyframes"):
        moments([Keyframe(black, 1.0), Keyframe(black, 1.01)], FPS, 30)
    assert list(moments([Keyframe(black, 3.0)], FPS, 30)) == [29]
