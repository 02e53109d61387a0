"""Decoding beside drawing, on a device that is invented: what is put in which line, what waits for what, and when the
host waits. And the pictures, through rings, are those of the plain way."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from tests.worlds.wan.test_rollout import model
from worldstream.worlds.core import Action
from worldstream.worlds.wan.chunk_step import Block, EagerStep
from worldstream.worlds.wan.lanes import HostLanes
from worldstream.worlds.wan.picture_stream import PictureStream
from worldstream.worlds.wan.rollout import WanRollout
from worldstream.worlds.wan.streaming import CodecStream


class InventedLanes:
    """Two lines that never run: only the order of what is put into them, and what the host waits for."""

    beside = True

    def __init__(self) -> None:
        self.log: list[str] = []
        self._lane, self._marks = "draw", 0

    def mark(self) -> str:
        self._marks += 1
        name = f"{self._lane} {self._marks}"
        self.log.append(f"mark {name}")
        return name

    @contextmanager
    def decoding(self, after: str, latents: Tensor) -> Iterator[None]:
        self._lane = "decode"
        self.log.append(f"decode after {after}")
        yield
        self._lane = "draw"

    def wait(self, mark: str) -> None:
        self.log.append(f"host waits for {mark}")

    def join(self) -> None:
        self.log.append("join")

    def elapsed_ms(self, begin: str, end: str) -> float:
        return 1.0


def walk(lanes: InventedLanes) -> WanRollout:
    class Logged(EagerStep):
        def block(self, block: Block) -> Tensor:
            lanes.log.append("draw")
            return super().block(block)

    rollout = WanRollout(replace(model("self-forcing"), step=Logged), lanes)
    rollout.reset(3, "a red forest")
    lanes.log.clear()
    return rollout


def test_the_next_block_is_in_line_before_the_host_waits_for_pictures() -> None:
    lanes = InventedLanes()
    frames = walk(lanes).ahead(Action() for _ in range(3))
    next(frames)
    begun = ["draw", "mark draw 1", "draw", "mark draw 2"]
    log = [line for line in lanes.log if line == "draw" or not line.startswith("mark draw") or line in begun]
    assert lanes.log.count("draw") == 2, "one block ahead, not more"
    first = lanes.log.index("host waits for decode 5")
    assert lanes.log[first - 1].startswith("mark decode")
    assert lanes.log.index("draw", lanes.log.index("draw") + 1) < first
    assert "decode after draw 2" in log, "the pictures wait, on the device, for their own block"
    assert all(w.startswith("host waits for decode") for w in lanes.log if "waits" in w), "never for a drawing"
    list(frames)
    assert lanes.log.count("draw") == 3


def test_all_latents_of_a_block_are_in_line_before_the_first_picture() -> None:
    lanes = InventedLanes()
    rollout = walk(lanes)
    for _ in range(2):
        lanes.log.clear()
        frames = rollout.step(Action())
        next(frames)
        assert [line.split()[0] for line in lanes.log] == [
            "mark", "draw", "mark", *["decode", "mark"] * 3, "host",
        ]  # fmt: skip
        assert len({line for line in lanes.log if line.startswith("decode")}) == 1, "all after the same mark"
        list(frames)
    rollout.snapshot()
    assert lanes.log[-1] == "join", "what is copied comes after the decoding"


def test_the_same_frames_as_without_lanes() -> None:
    plain = WanRollout(model("self-forcing"))
    plain.reset(3, "a red forest")
    wanted = [f for _ in range(3) for f in plain.step(Action(input_id=4))]
    for pipelined in (False, True):
        rollout = walk(InventedLanes())
        got = list(rollout.ahead(Action(input_id=4) for _ in range(3)) if pipelined else
                   (f for _ in range(3) for f in rollout.step(Action(input_id=4))))  # fmt: skip
        assert [f.index for f in got] == [f.index for f in wanted]
        assert all(np.array_equal(a.rgb, b.rgb) for a, b in zip(got, wanted, strict=True))
        assert all(set(f.stages_ms) == {"condition", "denoise", "decode"} for f in got)


@pytest.mark.parametrize("lanes", [HostLanes(), InventedLanes()], ids=["host", "beside"])
def test_planes_are_what_the_encoder_would_make(lanes: Any) -> None:
    m, g = model("self-forcing"), torch.Generator().manual_seed(1)
    latents = torch.randn(1, 16, 3, 2, 4, generator=g)
    with torch.inference_mode():
        plain = list(PictureStream(CodecStream(m.decoder), HostLanes(), on_device=False).of(latents, 0.0))
        ours = list(PictureStream(CodecStream(m.decoder), lanes, on_device=True, pinned=False).of(latents, 0.0))
    assert len(plain) == len(ours) == 9
    for a, b in zip(plain, ours, strict=True):
        assert np.array_equal(a.rgb, b.rgb)
        assert a.planes is None
        assert b.planes is not None
        assert np.array_equal(b.planes, cv2.cvtColor(a.rgb, cv2.COLOR_RGB2YUV_I420))


def test_pictures_that_are_kept_stay_what_they_were() -> None:
    """Longer than the rings are: what is held is not written."""
    m, g = model("self-forcing"), torch.Generator().manual_seed(2)
    stream = PictureStream(CodecStream(m.decoder), InventedLanes(), on_device=True, pinned=False)
    kept = []
    with torch.inference_mode():
        for _ in range(20):
            for shown in stream.of(torch.randn(1, 16, 3, 2, 4, generator=g), 0.0):
                assert shown.planes is not None
                kept.append((shown, shown.rgb.copy(), shown.planes.copy()))
    for shown, rgb, planes in kept:
        assert np.array_equal(shown.rgb, rgb)
        assert shown.planes is not None
        assert np.array_equal(shown.planes, planes)
