"""Blocks whose commit is fused with the next block's first pass equal those that are committed by themselves."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from tests.worlds.wan.test_chunk_graph import busy, differ, walks
from tests.worlds.wan.test_fused_transformer import fused as fused_model
from tests.worlds.wan.test_fused_transformer import walk
from tests.worlds.wan.test_rollout import model
from worldstream.worlds.wan.chunk_fused import FusedStep
from worldstream.worlds.wan.chunk_fused_graph import FusedGraphStep
from worldstream.worlds.wan.chunk_step import EagerStep
from worldstream.worlds.wan.rollout import WanRollout
from worldstream.worlds.wan.transformer import WanTransformer


@pytest.mark.parametrize("name", ["self-forcing", "longlive", "matrix-game-2-universal"])
def test_fused_blocks_equal_plain_ones(name: str) -> None:
    plain, _ = walks(name, EagerStep, 8, busy)
    fused, _ = walks(name, FusedStep, 8, busy)
    assert differ(plain, fused) <= 1
    period = model(name).preset.frames
    assert differ(plain[-period:], plain[-2 * period : -period]) > 10


def test_it_is_one_pass_fewer(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = {"chunk": 0, "chunk_pair": 0}

    def counted(name: str) -> None:
        real = getattr(WanTransformer, name)

        def call(self: WanTransformer, *given: object, **named: object) -> Tensor:
            counts[name] += 1
            out: Tensor = real(self, *given, **named)
            return out

        monkeypatch.setattr(WanTransformer, name, call)

    counted("chunk")
    counted("chunk_pair")
    walks("self-forcing", FusedStep, 5, lambda _: busy(0))
    assert counts == {"chunk": 4 + 4 * 3, "chunk_pair": 4}


def test_velocity_of_a_pair_equals_two_passes() -> None:
    m, g = model("longlive"), torch.Generator().manual_seed(1)
    context = m.transformer.context(torch.randn(1, 5, m.transformer.config.text_dim, generator=g))
    steps = [FusedStep(m.transformer, m.preset, 2, 4, m.window) for _ in range(2)]
    chunks = [torch.randn(1, 16, 3, 2, 4, generator=g) for _ in range(7)]
    zero = torch.zeros(1)
    for clean, noisy in pairwise(chunks):
        pair = m.transformer.chunk_pair(clean, noisy, (0.0, 700.0), context, steps[0].cache)
        m.transformer.chunk(clean, zero, context, steps[1].cache, commit=True)
        alone = m.transformer.chunk(noisy, zero + 700.0, context, steps[1].cache)
        assert (pair - alone).abs().max() <= 1e-4 * alone.abs().max()


def test_snapshots_go_between_both_kinds() -> None:
    _, fused = walks("longlive", FusedStep, 5, busy)
    state = fused.snapshot()
    once = [f for i in range(2) for f in fused.step(busy(i))]
    plain = WanRollout(replace(model("longlive"), step=EagerStep))
    plain.restore(state)
    assert differ(once, [f for i in range(2) for f in plain.step(busy(i))]) <= 1


@pytest.mark.parametrize("name", ["longlive", "matrix-game-2-gta-drive"])
def test_recorded_pairs_equal_plain_blocks(name: str) -> None:
    """One recording for all blocks, new words in the sixth included, whose clean block is committed by itself."""
    plain, _ = walks(name, EagerStep, 8, busy)
    recorded, rollout = walks(name, FusedGraphStep, 8, busy)
    assert differ(plain, recorded) <= 1
    step = rollout._step
    assert isinstance(step, FusedGraphStep)
    assert step.recordings == 1
    assert step._recorded is not None
    assert step._recorded.recording.syncs == ()


@pytest.mark.parametrize("name", ["causal-forcing-framewise-2step", "matrix-game-2-gta-drive"])
def test_recorded_pairs_of_kernels(name: str) -> None:
    """With the fused operators, and rings of actions that are written at other slots in every block."""
    m = fused_model(name)
    assert differ(walk(m, 8), walk(m, 8, FusedGraphStep)) <= 1


def test_snapshots_of_recorded_pairs() -> None:
    """A jump back leaves the recording where it was; what follows is the same."""
    m = fused_model("matrix-game-2-gta-drive")
    rollout = WanRollout(replace(m, step=FusedGraphStep))
    rollout.reset(7)
    for i in range(7):
        list(rollout.step(busy(i)))
    state = rollout.snapshot()
    once = [f for i in range(4) for f in rollout.step(busy(i))]
    rollout.restore(state)
    assert differ(once, [f for i in range(4) for f in rollout.step(busy(i))]) <= 1
    assert rollout._step.recordings == 1  # type: ignore[attr-defined]
    plain = WanRollout(replace(m, step=EagerStep))
    plain.restore(state)
    assert differ(once, [f for i in range(4) for f in plain.step(busy(i))]) <= 1
