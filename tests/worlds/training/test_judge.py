"""The judge's lessons: a pair's motion is what the walker did in between; nobody is asked about a changing sky."""

from __future__ import annotations

import numpy as np
import torch

from worldstream.worlds.judge import GAP, HEIGHT_PX, SIZES, WIDTH_PX, Judge, judged_size
from worldstream.worlds.training.data import Walks
from worldstream.worlds.training.judge import attributes_at, draw_pairs, worn

FRAMES = 12


def walks(width_px: int = 32, height_px: int = 20) -> Walks:
    """Two shards of two walks; every picture's grey is its frame, its first row the number of its walk."""
    rgb = np.zeros((2, 2, FRAMES, height_px, width_px, 3), np.uint8)
    for shard in range(2):
        for e in range(2):
            for t in range(FRAMES):
                rgb[shard, e, t] = 60 * (2 * shard + e) + 3 * t
    paths = np.random.default_rng(0).normal(size=(4, FRAMES, 4)).astype(np.float32)
    first, second = ({"theme": 3, "time": t, "weather": 1, "mood": 2} for t in (0, 5))
    meta: list[dict[str, object]] = [{"attributes": [first, second], "change_at": 6} for _ in range(4)]
    return Walks(list(rgb), paths, meta)


def test_motion_is_the_sum_of_the_steps_between() -> None:
    source = walks()
    pairs = draw_pairs(source, 100, np.random.default_rng(1))
    before, after = ((255 * p[:, 0, 0, 0]).round().int() for p in (pairs.before, pairs.after))
    for i in range(100):
        e, t = divmod(int(before[i]), 60)
        start, stop = t // 3, (int(after[i]) - 60 * e) // 3
        assert stop - start == GAP
        expected = sum(source.paths[e, k].astype(np.float64) for k in range(start + 1, stop + 1))
        np.testing.assert_allclose(pairs.motion[i].numpy(), expected, atol=1e-6)
        assert pairs.attributes[i].tolist() == attributes_at(source.meta[e], start)


def test_pairs_come_at_the_judges_size() -> None:
    for size in ((32, 20), (WIDTH_PX, HEIGHT_PX), (256, 160)):
        assert draw_pairs(walks(*size), 2, np.random.default_rng(0)).before.shape == (2, 3, HEIGHT_PX, WIDTH_PX)


def test_its_own_size_is_left_as_it_is() -> None:
    x = torch.rand(2, 3, HEIGHT_PX, WIDTH_PX)
    assert torch.equal(judged_size(x), x)


def test_attributes_hold_before_and_well_after_a_change() -> None:
    meta = walks().meta[0]
    assert attributes_at(meta, 5) == [3, 0, 1, 2]
    assert attributes_at(meta, 6) == [3, -1, -1, -1]
    assert attributes_at(meta, 49) == [3, -1, -1, -1]
    assert attributes_at(meta, 50) == [3, 5, 1, 2]


def test_wear_keeps_shape_and_picture() -> None:
    torch.manual_seed(0)
    x = torch.rand(2, 3, 5, 8).repeat_interleave(16, 2).repeat_interleave(16, 3)
    for seed in range(12):
        y = worn(x, np.random.default_rng(seed))
        assert y.shape == x.shape
        assert float((y - x).abs().mean()) < 0.12


def test_judge_answers_for_every_picture_and_pair() -> None:
    torch.manual_seed(0)
    judge = Judge().eval().requires_grad_(False)
    x, y = torch.rand(2, 3, HEIGHT_PX, WIDTH_PX), torch.rand(2, 3, HEIGHT_PX, WIDTH_PX)
    assert [a.shape for a in judge.read(x)] == [(2, size) for size in SIZES]
    assert judge.moved(x, y).shape == (2, 4)
    torch.testing.assert_close(judge.moved(x[1:], y[1:]), judge.moved(x, y)[1:])
