"""Bringing a walk back: only when it strays, without a cut, one noise level a frame, each walk by itself."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from tests.worlds.tiny_world import NETWORK, WORLD, autoencoder, network
from worldstream.worlds import reanchor as module
from worldstream.worlds.config import DriftConfig, WorldConfig
from worldstream.worlds.drift import Gauge
from worldstream.worlds.judge import Judge
from worldstream.worlds.kv_cache import KVCache
from worldstream.worlds.reanchor import MOST_SHARE, Keeper, from_prompt

DRIFT = DriftConfig(every=4, looks=1.0, fade=8, rest=6, repaint_from=0.8, lost_from=1.0)
CONFIG: WorldConfig = replace(WORLD, drift=DRIFT)
SHAPE = (NETWORK.channels, NETWORK.rows, NETWORK.columns)
STILL = torch.zeros(1, 1, NETWORK.action_size)
DRAWING = 2  # of the levels 1, 0.8 and 0.4, those from 0.8 on


class Brightness(Gauge):
    """Reads the mean of a latent, so that the test decides what strays."""

    def __init__(self) -> None:
        super().__init__(Judge(), autoencoder())

    def readings(self, latents: Tensor) -> Tensor:
        return latents.mean((1, 2, 3), keepdim=True)[:, :, 0, 0]


def keeper() -> Keeper:
    return Keeper(CONFIG, Brightness(), None)


def stack(*newest: float) -> Tensor:
    """Walks whose anchor is 0 and whose newest frames are a constant."""
    rows = [torch.cat([torch.zeros(1, 1, *SHAPE), torch.full((1, NETWORK.stack, *SHAPE), v)], 1) for v in newest]
    return torch.stack(rows)


class Prompt:
    """The network without history: what it would draw is a constant."""

    def __init__(self, value: float = 0.5) -> None:
        self.value = value
        self.levels: list[float] = []

    def __call__(self, z: Tensor, sigma: Tensor) -> Tensor:
        self.levels.append(float(sigma[0, 0]))
        return torch.full_like(z, self.value)


def drive(keep: Keeper, given: Tensor, blank: Prompt, frames: int, seed: int = 0) -> list[Tensor]:
    generator, out = torch.Generator().manual_seed(seed), []
    for _ in range(frames):
        given = keep.after(given, STILL.expand(len(given), -1, -1), blank, generator)
        out.append(given)
    return out


def test_a_calm_walk_is_left_alone() -> None:
    keep, blank, given = keeper(), Prompt(), stack(0.9)
    assert all(torch.equal(x, given) for x in drive(keep, given, blank, 40))
    assert blank.levels == []
    assert (keep.verdict, keep.standing.count) == ("fine", 0)
    torch.testing.assert_close(keep.doubt(torch.tensor([0.04])), torch.tensor([0.04]))


def test_a_walk_that_strays_is_brought_back_without_a_cut() -> None:
    keep, blank, given = keeper(), Prompt(0.5), stack(1.2)
    frames = drive(keep, given, blank, 1)
    assert keep.verdict == "straying"
    frames += drive(keep, frames[-1], blank, DRAWING + DRIFT.fade)
    assert (keep.verdict, keep.standing.count) == ("fine", 1)
    assert blank.levels == pytest.approx([0.8, 0.4]), "one level a frame"
    steps = [float((b - a).abs().max()) for a, b in zip([given, *frames], frames, strict=False)]
    assert max(steps) <= MOST_SHARE * (1.2 - 0.5) + 1e-6
    assert steps[: 1 + DRAWING] == [0.0] * (1 + DRAWING), "nothing is seen while it is drawn"
    left = frames[-1][:, :, 1:] - 0.5
    assert left.abs().max() < 0.2 * (1.2 - 0.5)
    assert all(torch.equal(x[:, :, 0], given[:, :, 0]) for x in frames), "the anchor stays"


def test_it_rests_and_then_tries_again() -> None:
    keep, given = keeper(), stack(1.2)
    generator, begun = torch.Generator().manual_seed(0), []
    for i in range(60):
        before = keep.standing.count
        keep.after(given, STILL, Prompt(), generator)  # it never gets better
        if keep.standing.count > before:
            begun.append(i)
    assert len(begun) >= 2
    assert min(b - a for a, b in pairwise(begun)) >= DRAWING + DRIFT.fade + DRIFT.rest


def test_a_lost_walk_begins_at_a_level_of_its_own() -> None:
    keep, blank = keeper(), Prompt()
    drive(keep, stack(2.0), blank, 8)
    assert blank.levels == pytest.approx([1.0, 0.8, 0.4])
    assert keep.verdict == "lost"


def test_newest_frames_are_doubted_while_the_picture_is_taken_over() -> None:
    keep, given, generator = keeper(), stack(1.2), torch.Generator()
    found = []
    for _ in range(DRAWING + DRIFT.fade + 4):
        keep.after(given, STILL, Prompt(), generator)
        found.append(float(keep.doubt(torch.tensor([0.04]))))
    assert sum(level == pytest.approx(DRIFT.doubt) for level in found) == DRIFT.fade
    assert found[0] == found[-1] == pytest.approx(0.04)
    assert float(keep.doubt(torch.tensor([0.3]))) == pytest.approx(0.3)


def test_each_walk_of_a_batch_goes_its_own_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "draw_noise", lambda shape, g: torch.full(tuple(shape), 0.3))
    values = (0.1, 1.2, 2.0)
    together = drive(keeper(), stack(*values), Prompt(), 30)
    for i, value in enumerate(values):
        alone = drive(keeper(), stack(value), Prompt(), 30)
        for a, b in zip(together, alone, strict=True):
            torch.testing.assert_close(a[i : i + 1], b)


def test_from_the_prompt_alone_there_is_no_history() -> None:
    """However full the cache, the picture is that of a first frame."""
    model = network()
    asked, nothing = (model.text_embedding(torch.full((1, 5, 4), w, dtype=torch.long)) for w in (7, 0))
    full, empty = KVCache(model), KVCache(model)
    generator = torch.Generator().manual_seed(0)
    for _ in range(5):
        keys = torch.randn(NETWORK.blocks, 1, NETWORK.heads, NETWORK.tokens, NETWORK.head_width, generator=generator)
        full.commit(keys, keys)
    z, sigma = torch.randn(1, 1, *SHAPE, generator=generator), torch.full((1, 1), 0.6)
    step = lambda inputs: model.step(*inputs)  # noqa: E731
    with_history, without = (from_prompt(step, CONFIG, cache, asked, nothing)(z, sigma) for cache in (full, empty))
    torch.testing.assert_close(with_history, without)
    unguided = from_prompt(step, replace(CONFIG, first_guidance=1.0), full, asked, nothing)(z, sigma)
    assert not torch.allclose(unguided, without)
