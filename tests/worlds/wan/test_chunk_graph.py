"""A recorded block equals the block drawn pass by pass, over windows that roll; and nothing in it waits for the device.

On a CPU the recording is a trace, which freezes Python's values and addresses as a CUDA graph does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.worlds.wan.test_rollout import model, picture
from worldstream.worlds.core import Action, Frame
from worldstream.worlds.recording import record
from worldstream.worlds.wan import chunk_graph
from worldstream.worlds.wan.chunk_graph import GraphStep
from worldstream.worlds.wan.chunk_step import EagerStep
from worldstream.worlds.wan.rollout import WanRollout

NAMES = ("longlive", "causal-forcing-framewise-2step", "matrix-game-2-universal")
Script = Callable[[int], Action]


def walks(name: str, kind: type[EagerStep], blocks: int, script: Script) -> tuple[list[Frame], WanRollout]:
    m = model(name)
    rollout = WanRollout(replace(m, step=kind))
    rollout.reset(7, "a red forest", picture(2) if "walk" in m.preset.controls else None)
    return [frame for i in range(blocks) for frame in rollout.step(script(i))], rollout


def busy(block: int) -> Action:
    """Another action in every block, new words in the sixth."""
    prompt = "night" if block == 6 else None
    return Action(forward_m=3.6 * (block % 2), yaw_rad=0.3 * (block % 3 - 1), prompt=prompt)


def differ(a: list[Frame], b: list[Frame]) -> int:
    """The largest difference of any pixel."""
    return max(int(np.abs(x.rgb.astype(int) - y.rgb.astype(int)).max()) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("name", NAMES)
def test_recorded_blocks_equal_plain_ones(name: str) -> None:
    """The window fills within four blocks, then the ring goes round more than once; one recording serves them all."""
    plain, _ = walks(name, EagerStep, 9, busy)
    recorded, rollout = walks(name, GraphStep, 9, busy)
    assert len(plain) == len(recorded)
    assert differ(plain, recorded) <= 1
    period = model(name).preset.frames
    assert differ(plain[-period:], plain[-2 * period : -period]) > 10, (
        "the picture must change for this to mean anything"
    )
    step = rollout._step
    assert isinstance(step, GraphStep)
    assert step.recordings == 1
    assert step._recorded is not None
    assert len(step._recorded.recording.operations) > 100
    assert step._recorded.recording.syncs == ()


def test_a_wait_would_be_found() -> None:
    x = torch.zeros(3)

    def work() -> None:
        x.add_(torch.arange(3).nonzero().sum())

    assert "nonzero.default" in record(work, torch.device("cpu"), lambda: None).syncs


def test_a_recording_freezes_what_python_held() -> None:
    """As a CUDA graph does: this is what makes the tests above mean something."""
    x, held = torch.zeros(3), [1.0]

    def work() -> None:
        x.add_(held[0])

    def undo() -> None:
        x.zero_()

    recording = record(work, torch.device("cpu"), undo)
    held[0] = 100.0
    recording.replay()
    recording.replay()
    assert x.tolist() == [2.0] * 3


@pytest.mark.parametrize("name", ["longlive", "matrix-game-2-universal"])
def test_a_snapshot_goes_between_both_kinds(name: str) -> None:
    """A branch from a recorded walk goes on in a plain one, and back."""
    _, recorded = walks(name, GraphStep, 7, busy)
    state = recorded.snapshot()
    once = [f for i in range(3) for f in recorded.step(busy(i))]
    plain = WanRollout(replace(model(name), step=EagerStep))
    plain.restore(state)
    assert differ(once, [f for i in range(3) for f in plain.step(busy(i))]) <= 1
    recorded.restore(state)
    assert differ(once, [f for i in range(3) for f in recorded.step(busy(i))]) <= 1


def test_where_recording_fails_blocks_are_drawn_all_the_same(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    plain, _ = walks("causal-forcing-framewise-2step", EagerStep, 6, busy)

    def failing(*_: object) -> None:
        raise RuntimeError("operation not permitted when stream is capturing\nand a trace")

    monkeypatch.setattr(chunk_graph, "record", failing)
    drawn, _ = walks("causal-forcing-framewise-2step", GraphStep, 6, busy)
    assert differ(plain, drawn) == 0
    assert [r.message.count("\n") for r in caplog.records if "recording failed" in r.message] == [0]


def test_a_new_walk_after_a_recorded_one() -> None:
    once, rollout = walks("self-forcing", GraphStep, 6, busy)
    rollout.reset(7, "a red forest")
    assert differ(once, [f for i in range(6) for f in rollout.step(busy(i))]) <= 1
