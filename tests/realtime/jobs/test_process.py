"""What a job hears and says inside its process."""

from __future__ import annotations

import base64
import io
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests.realtime.doubles import Clock
from worldstream.realtime.jobs.contract import Cancelled, JobError, JobOrder, JobResult, Output, Refused
from worldstream.realtime.jobs.process import (
    PREVIEW_GAP_S,
    PREVIEW_WIDTH_PX,
    PROGRESS_GAP_S,
    Calm,
    Reporter,
    outcome,
    small_jpeg,
)


class Said(list[Mapping[str, Any]]):
    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.tell = Reporter(self.append, clock)


@given(st.lists(st.floats(allow_nan=True), max_size=20))
def test_progress_never_falls_and_stays_between_0_and_1(fractions: list[float]) -> None:
    clock = Clock()
    said = Said(clock)
    for fraction in fractions:
        said.tell(fraction)
        clock.advance(PROGRESS_GAP_S)
    told = [message["progress"] for message in said]
    assert told == sorted(set(told))
    assert all(0.0 <= fraction <= 1.0 for fraction in told)


def test_reports_are_bounded_in_number(clock: Clock) -> None:
    said = Said(clock)
    rgb = np.zeros((8, 8, 3), np.uint8)
    for step in range(1000):
        said.tell(step / 1000, rgb)
        clock.advance(0.001)
    assert len(said) <= 1.0 / PROGRESS_GAP_S + 1.0 / PREVIEW_GAP_S + 2
    assert sum("preview" in message for message in said) == round(1.0 / PREVIEW_GAP_S)


def test_previews_are_small_and_in_the_right_colours() -> None:
    rgb = np.zeros((1080, 1920, 3), np.uint8)
    rgb[..., 0] = 200
    picture = Image.open(io.BytesIO(small_jpeg(rgb)))
    assert picture.size == (PREVIEW_WIDTH_PX, 216)
    red, green, blue = picture.getpixel((100, 100))  # type: ignore[misc]
    assert abs(red - 200) < 6
    assert green < 10
    assert blue < 10
    narrow = Image.open(io.BytesIO(small_jpeg(np.zeros((3000, 16, 3), np.uint8))))
    assert narrow.size == (16, 3000)


def test_a_preview_is_told_at_once(clock: Clock) -> None:
    said = Said(clock)
    said.tell(0.0, np.zeros((8, 8, 3), np.uint8))
    assert base64.b64decode(said[0]["preview"]).startswith(b"\xff\xd8")


def test_cancelling_ends_a_job_even_where_it_rests(clock: Clock) -> None:
    said = Said(clock)
    said.tell(0.5)
    said.tell.be(Calm(paused=True))
    ended: list[BaseException] = []

    def job() -> None:
        try:
            said.tell(0.6)
        except Cancelled as error:
            ended.append(error)

    thread = threading.Thread(target=job)
    thread.start()
    thread.join(0.1)
    assert thread.is_alive()  # it rests
    said.tell.cancel()
    thread.join(10.0)
    assert not thread.is_alive()
    assert len(ended) == 1


def test_few_threads_while_somebody_plays(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.get_num_threads()
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    said = Said(clock)
    try:
        said.tell.be(Calm(threads=1))
        said.tell(0.1)
        assert torch.get_num_threads() == 1
        said.tell.be(Calm())
        said.tell(0.2)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_whatever_a_job_does_becomes_a_report(tmp_path: Path, clock: Clock) -> None:
    order, nothing = JobOrder("id", "clip", {}, {}, tmp_path), Any

    def done_by(does: Any) -> dict[str, Any]:
        def job(order: JobOrder, workshop: Any, tell: Any) -> JobResult:
            if isinstance(does, BaseException):
                raise does
            return does

        return outcome(order, lambda: job, nothing, Said(clock).tell)  # type: ignore[arg-type]

    result = JobResult((Output(tmp_path / "a.mp4", "video/mp4"),), "nano", {"seed": 1})
    outputs = [{"path": str(tmp_path / "a.mp4"), "media_type": "video/mp4"}]
    assert done_by(result) == {"done": {"outputs": outputs, "model": "nano", "facts": {"seed": 1}}}
    assert done_by(Cancelled()) == {"cancelled": "id"}
    assert done_by(JobError("ASSET.INVALID", "no"))["failed"] == {"code": "ASSET.INVALID", "message": "no"}
    assert done_by(Refused("set X"))["failed"]["code"] == "INPUT_PREPROCESSING.UNSUPPORTED"
    for error in (RuntimeError("/secret/path"), MemoryError(), KeyError("x")):
        failed = done_by(error)["failed"]
        assert failed["code"] == "INTERNAL"
        assert "secret" not in failed["message"]
        assert "id" in failed["message"]
    for facts in ({"a": float("inf")}, {"a": object()}, {"a": np.float32(1.0)}):
        assert done_by(JobResult((), "nano", facts))["failed"]["code"] == "INTERNAL"


def test_a_kind_that_cannot_be_found_is_a_failure_too(tmp_path: Path, clock: Clock) -> None:
    def missing() -> Any:
        raise ValueError("there is no kind of job 'x'")

    report = outcome(JobOrder("id", "x", {}, {}, tmp_path), missing, Any, Said(clock).tell)  # type: ignore[arg-type]
    assert report["failed"]["code"] == "INTERNAL"
