"""Clips: exact size and length, the same again for the same seed, true progress, an end at any moment."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from tests.realtime.jobs.clip_orders import OneWorld, Told, frames_of, order, psnr, small
from worldstream.realtime.jobs.clips import clip
from worldstream.realtime.jobs.contract import Cancelled, JobError
from worldstream.worlds.media.sound import Sound
from worldstream.worlds.media.video_out import write_video
from worldstream.worlds.weights import LoadedWorld, load_world

R6 = ((1280, 720), (720, 1280), (1104, 832), (832, 1104), (960, 960), (1584, 672))
FEW = 1.5  # frames a second


@cache
def shipped() -> LoadedWorld:
    return load_world(engine="eager", threads=1)


def probe(path: Path) -> tuple[int, int, int, float]:
    """(width, height, frames decoded, frames a second)."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        rate = stream.average_rate
        assert rate is not None
        return stream.width, stream.height, sum(1 for _ in container.decode(stream)), float(rate)


@pytest.mark.parametrize("seconds", [2, 10])
@pytest.mark.parametrize(("width", "height"), R6)
def test_every_ratio_and_length_is_exact(tmp_path: Path, width: int, height: int, seconds: int) -> None:
    made = clip(order("clip", tmp_path, width=width, height=height, seconds=seconds), small(FEW), Told())
    assert [o.media_type for o in made.outputs] == ["video/mp4"]
    assert probe(made.outputs[0].path) == (width, height, seconds * FEW, FEW)
    shown = made.facts["shown"]
    assert shown[0] / shown[1] == pytest.approx(width / height, rel=0.03)
    assert made.facts["frames"] == seconds * FEW


def test_the_same_order_is_the_same_file_and_another_seed_is_not(tmp_path: Path) -> None:
    digests = []
    for i, seed in enumerate((7, 7, 8)):
        made = clip(order("clip", tmp_path / str(i), seconds=1, seed=seed), small(), Told())
        digests.append(hashlib.sha256(made.outputs[0].path.read_bytes()).hexdigest())
    assert digests[0] == digests[1] != digests[2]


def test_progress_is_true_and_every_frame_is_seen_as_it_forms(tmp_path: Path) -> None:
    told = Told()
    clip(order("clip", tmp_path, seconds=1), small(), told)
    assert told.fractions == sorted(told.fractions)
    assert 0 < told.fractions[0] <= 0.05
    assert told.fractions[-1] == 1.0
    assert len(told.previews) == 25
    assert told.previews[0].shape == (64, 96, 3)


@pytest.mark.parametrize("after", [1, 9, 24])
def test_a_clip_that_nobody_wants_ends_at_once_and_leaves_nothing(tmp_path: Path, after: int) -> None:
    told = Told(after, Cancelled())
    with pytest.raises(Cancelled):
        clip(order("clip", tmp_path, seconds=1), small(), told)
    assert len(told.fractions) == after
    assert list(tmp_path.iterdir()) == []


def test_a_draft_takes_fewer_steps_of_the_same_seed(tmp_path: Path) -> None:
    made = clip(order("clip", tmp_path, seconds=1, draft=True), small(), Told())
    assert made.facts["steps"] == 1
    assert any("1 steps instead of 2" in note for note in made.facts["notes"])


def photo(path: Path, seed: int, size: tuple[int, int] = (320, 240)) -> Path:
    """A picture with something to see, larger than the world."""
    cells = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    Image.fromarray(cells).resize(size, Image.Resampling.BICUBIC).save(path)
    return path


def test_keyframes_are_the_first_and_the_last_frame(tmp_path: Path) -> None:
    first, last = photo(tmp_path / "first.png", 1), photo(tmp_path / "last.jpg", 2)
    given = {"first": first, "last": last}
    asked = order("clip", tmp_path / "out", given, seconds=2, width=320, height=240, camera="pan left")
    made = clip(asked, small(), Told())
    shown = frames_of(made.outputs[0].path)
    assert len(shown) == 50
    for frame, path in ((shown[0], first), (shown[-1], last)):
        assert psnr(frame, np.asarray(Image.open(path).convert("RGB"))) > 30
        assert psnr(shown[25], np.asarray(Image.open(path).convert("RGB"))) < 25, "and only they"


def test_a_clip_may_have_a_last_frame_alone(tmp_path: Path) -> None:
    last, told = photo(tmp_path / "last.png", 3), Told()
    made = clip(order("clip", tmp_path / "out", {"last": last}, seconds=1, width=320, height=240), small(), told)
    shown = frames_of(made.outputs[0].path)
    assert len(shown) == 25
    assert psnr(shown[-1], np.asarray(Image.open(last))) > 30
    assert told.fractions == sorted(told.fractions)


@pytest.mark.parametrize("joined", [True, False])
def test_a_video_goes_on(tmp_path: Path, joined: bool) -> None:
    """From a photograph that moves, which an untrained world would never draw by itself."""
    still = np.asarray(Image.open(photo(tmp_path / "p.png", 5, (360, 240))))
    film, _ = write_video(tmp_path / "film", [still[:, i : i + 320] for i in range(20)], 25)
    before = frames_of(film)
    asked = order("clip", tmp_path / "b", {"extend": film}, seconds=0.4, width=320, height=240, joined=joined)
    made = clip(asked, small(), Told())
    shown = frames_of(made.outputs[0].path)
    assert len(shown) == made.facts["frames"] == (30 if joined else 10)
    new = shown[20:] if joined else shown
    if joined:
        assert all(psnr(a, b) > 35 for a, b in zip(shown, before, strict=False))
    alone = frames_of(
        clip(order("clip", tmp_path / "c", seconds=0.2, width=320, height=240), small(), Told()).outputs[0].path
    )
    assert psnr(new[0], before[-1]) > psnr(alone[0], before[-1]) + 3, "it goes on from the newest frame"


def test_a_clip_may_be_heard(tmp_path: Path) -> None:
    """What is seen is for the viewer to say, and the tests' world has none: the shipped one speaks for it."""
    made = clip(order("clip", tmp_path, seconds=0.6, prompt="sea cliffs", audio=True), OneWorld(shipped()), Told())
    with av.open(str(made.outputs[0].path)) as container:
        assert container.streams.audio[0].codec_context.name == "aac"
        samples = np.concatenate([f.to_ndarray() for f in container.decode(audio=0)], 1)
    assert made.facts["effects"]
    assert samples.shape[1] / 48_000 == pytest.approx(0.6, abs=0.05)
    assert float(np.abs(samples).max()) > 0.01
    assert [p.name for p in tmp_path.iterdir()] == ["clip.mp4"]


def test_the_sound_of_a_video_stays_when_it_goes_on(tmp_path: Path) -> None:
    tone = np.sin(np.arange(24_000) * 0.06).astype(np.float32)[None] * 0.5
    still = np.asarray(Image.open(photo(tmp_path / "p.png", 5)))
    film, _ = write_video(tmp_path / "film", [still] * 13, 25, sound=Sound(tone, 48_000))
    made = clip(order("clip", tmp_path / "o", {"extend": film}, seconds=1), small(), Told())
    with av.open(str(made.outputs[0].path)) as container:
        samples = np.concatenate([f.to_ndarray() for f in container.decode(audio=0)], 1)
    assert float(np.abs(samples[:, 4_000:20_000]).max()) > 0.3
    assert float(np.abs(samples[:, 30_000:]).max()) < 0.01


def test_references_fill_the_prompt_and_are_named(tmp_path: Path) -> None:
    given = {"ref0": photo(tmp_path / "r.png", 4)}
    asked = [{"input": "ref0", "tag": "place"}]
    made = clip(order("clip", tmp_path / "o", given, seconds=1, prompt="@place", references=asked), small(), Told())
    assert any("@place" in note for note in made.facts["notes"])
    with pytest.raises(JobError, match="no input ref1"):
        clip(order("clip", tmp_path / "p", given, seconds=1, references=[{"input": "ref1"}]), small(), Told())


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"seconds": 999}, "0.2 to 180 s long, got 999"),
        ({"seconds": 2, "width": 4}, "4 x 64"),
        ({"seconds": 2, "camera": "[00:05] pan left"}, "not before the end"),
        ({"seconds": 2, "moments": [{"at_s": 3, "prompt": "snow"}]}, "not at 3 s"),
        ({"seconds": 2, "model": "other"}, "no world named 'other'"),
        ({"seconds": 2, "seed": -1}, "got -1"),
        ({"seconds": 2, "format": "gif"}, "gif"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(tmp_path: Path, params: dict[str, Any], said: str) -> None:
    with pytest.raises(JobError, match=said) as refused:
        clip(order("clip", tmp_path, **params), small(), Told())
    assert refused.value.code == "INPUT_PREPROCESSING.INVALID"
    assert "\n" not in refused.value.message
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_picture_or_video_is_named(tmp_path: Path) -> None:
    bad = tmp_path / "holiday.png"
    bad.write_bytes(b"no")
    for name in ("first", "last", "extend"):
        with pytest.raises(JobError, match=r"holiday\.png"):
            clip(order("clip", tmp_path / "out", {name: bad}, seconds=1), small(), Told())


def test_the_shipped_world_draws_what_a_live_walk_would(tmp_path: Path) -> None:
    """The same rollout: frame by frame what a session with these actions shows."""
    from worldstream.worlds.clips import ClipRequest, drawn, planned

    nano = shipped()
    made = clip(order("clip", tmp_path, width=256, height=160, seconds=0.4), OneWorld(nano), Told())
    assert made.model == "nano"
    assert probe(made.outputs[0].path) == (256, 160, 10, 25.0)
    plan = planned(nano, ClipRequest("a misty forest", 0.4, 256, 160, 7))
    rollout = nano.rollout()
    rollout.reset(7, plan.route.prompts[0])
    lived = [frame.rgb for action in plan.route.actions for frame in rollout.step(action)]
    np.testing.assert_array_equal(np.stack([d.rgb for d in drawn(nano, plan) if d.rgb is not None]), np.stack(lived))
    assert psnr(frames_of(made.outputs[0].path)[0], lived[0]) > 35
