"""The finishing jobs, run as the pool runs them: files in, files out, progress that is true, cancel, and words."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.worlds.media.films import HEIGHT, WIDTH, difference, gradient, tone
from worldstream.realtime.jobs.contract import Cancelled, JobError, JobOrder, JobResult
from worldstream.realtime.jobs.kinds import KINDS, job_of
from worldstream.realtime.jobs.workshop import OneWorkshop
from worldstream.worlds.media.pictures import read_picture, write_picture
from worldstream.worlds.media.video_in import read_video
from worldstream.worlds.media.video_out import write_video


class Heard:
    """Keeps what a job tells, and ends it where it is told to."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.fractions: list[float] = []
        self.previews: list[NDArray[np.uint8]] = []
        self._stop_after = stop_after

    def __call__(self, fraction: float, preview: NDArray[np.uint8] | None = None) -> None:
        self.fractions.append(fraction)
        if preview is not None:
            self.previews.append(preview)
        if self._stop_after is not None and len(self.fractions) > self._stop_after:
            raise Cancelled

    def check(self) -> None:
        assert self.fractions == sorted(self.fractions)
        assert self.fractions[-1] == 1.0
        assert min(self.fractions) >= 0
        assert self.previews
        assert all(p.dtype == np.uint8 and p.ndim == 3 and max(p.shape) <= 480 for p in self.previews)


@pytest.fixture
def film(tmp_path: Path) -> Path:
    return write_video(tmp_path / "source", gradient(8), Fraction(25), sound=tone(1.0))[0]


def run(kind: str, tmp_path: Path, params: Mapping[str, Any], heard: Heard | None = None, **inputs: Path) -> JobResult:
    folder = tmp_path / "out"
    folder.mkdir(exist_ok=True)
    order = JobOrder("task", kind, params, inputs, folder)
    result = job_of(kind)(order, OneWorkshop(tmp_path), heard or Heard())
    assert sorted(folder.iterdir()) == sorted(output.path for output in result.outputs)
    return result


def test_every_finishing_kind_has_its_job() -> None:
    kinds = [name for name, kind in KINDS.items() if kind.place.startswith("finishing:")]
    assert kinds == ["upscale_image", "upscale_video", "frame_rate", "hdr"]
    assert all(callable(job_of(name)) for name in kinds)


@pytest.mark.parametrize(
    ("params", "size"),
    [({}, (128, 72)), ({"factor": 4}, (256, 144)), ({"width": 100, "height": 50}, (100, 50)),
     ({"factor": 2, "sharpen": 0.5, "detail": 0.3, "grain": 0.2}, (128, 72))],
)  # fmt: skip
def test_upscale_image(tmp_path: Path, params: dict[str, Any], size: tuple[int, int]) -> None:
    source, _ = write_picture(tmp_path / "small", next(gradient(1)))
    params = {"format": "jpeg", **params} if params else params
    heard = Heard()
    result = run("upscale_image", tmp_path, params, heard, image=source)
    heard.check()
    (output,) = result.outputs
    assert output.media_type == ("image/jpeg" if params else "image/png")
    assert read_picture(output.path).shape == (size[1], size[0], 3)
    assert (result.facts["width"], result.facts["height"]) == size
    assert result.model == "upscaler"


def test_a_resolution_is_that_of_the_shorter_side(tmp_path: Path) -> None:
    source, _ = write_picture(tmp_path / "small", next(gradient(1, 96, 160)))
    result = run("upscale_image", tmp_path, {"resolution": "720p"}, image=source)
    assert (result.facts["width"], result.facts["height"]) == (720, 1200)


def test_upscale_video_with_more_frames_and_its_sound(tmp_path: Path, film: Path) -> None:
    heard = Heard()
    result = run("upscale_video", tmp_path, {"factor": 2, "boost_fps": True}, heard, video=film)
    heard.check()
    video = read_video(result.outputs[0].path)
    assert (video.width, video.height, video.fps) == (2 * WIDTH, 2 * HEIGHT, Fraction(50))
    assert len(list(video.frames())) == 16 == result.facts["frames"]
    assert video.sound is not None
    assert video.sound.seconds == pytest.approx(0.32, abs=0.03)


@pytest.mark.parametrize(
    ("rate", "fps"), [("23_98", Fraction(24000, 1001)), ("60", Fraction(60)), ("120", Fraction(120))]
)
def test_frame_rate(tmp_path: Path, film: Path, rate: str, fps: Fraction) -> None:
    heard = Heard()
    result = run("frame_rate", tmp_path, {"rate": rate}, heard, video=film)
    heard.check()
    video = read_video(result.outputs[0].path)
    assert video.fps == fps
    assert len(list(video.frames())) / fps == pytest.approx(8 / 25, abs=0.5 / float(fps) + 1e-9)
    assert video.sound is not None
    assert result.facts["fps"] == str(fps)


@pytest.mark.parametrize(
    ("params", "media_type", "transfer"),
    [({}, "video/mp4", 16), ({"format": "hlg"}, "video/mp4", 18),
     ({"format": "hdr_prores", "prores_profile": "4444"}, "video/quicktime", 16),
     ({"format": "png_sequence"}, "application/zip", None)],
)  # fmt: skip
def test_hdr(tmp_path: Path, film: Path, params: dict[str, str], media_type: str, transfer: int | None) -> None:
    heard = Heard()
    result = run("hdr", tmp_path, params, heard, video=film)
    heard.check()
    (output,) = result.outputs
    assert output.media_type == media_type
    assert result.model == ("highlight-expansion" if transfer else "delivery")
    if transfer:
        with av.open(str(output.path)) as container:
            assert next(container.decode(video=0)).color_trc == transfer
        back, truth = read_video(output.path), gradient(8)
        assert max(difference(a, b) for a, b in zip(back.frames(), truth, strict=True)) < 4
        assert back.sound is not None


def test_hdr_of_ten_bits_keeps_them(tmp_path: Path) -> None:
    ramp = np.linspace(20_000, 24_000, 256).astype(np.uint16)
    deep = np.broadcast_to(ramp[None, :, None], (32, 256, 3)).copy()
    source, _ = write_video(tmp_path / "ten", [deep] * 2, 25, "prores", "4444")
    result = run("hdr", tmp_path, {"format": "hdr_prores", "prores_profile": "4444"}, video=source)
    shades = next(read_video(result.outputs[0].path).deep_frames())[16, :, 1]
    assert len(np.unique(shades)) > 40  # in eight bits there are 16


def test_a_cancelled_job_ends_within_a_frame_and_leaves_nothing(tmp_path: Path, film: Path) -> None:
    heard = Heard(stop_after=3)
    with pytest.raises(Cancelled):
        run("frame_rate", tmp_path, {"rate": "60"}, heard, video=film)
    assert len(heard.fractions) == 4
    assert not list((tmp_path / "out").iterdir())


def test_what_cannot_be_done_has_a_code_and_one_line(tmp_path: Path, film: Path) -> None:
    (tmp_path / "junk.mp4").write_bytes(b"not a film at all" * 50)
    for kind, params, source, code, said in (
        ("frame_rate", {"rate": "31"}, film, "INPUT_PREPROCESSING.INVALID", "no frame rate '31'"),
        ("hdr", {"format": "dcp"}, film, "INPUT_PREPROCESSING.INVALID", "no film format 'dcp'"),
        ("hdr", {"prores_profile": "423"}, film, "INPUT_PREPROCESSING.INVALID", "no ProRes profile '423'"),
        ("upscale_video", {"factor": 40}, film, "INPUT_PREPROCESSING.INVALID", "more than 16 times"),
        ("upscale_video", {"sharpen": 3}, film, "INPUT_PREPROCESSING.INVALID", r"sharpen must be in \[0, 1\]"),
        ("upscale_video", {"resolution": "9k"}, film, "INPUT_PREPROCESSING.INVALID", "no resolution '9k'"),
        ("hdr", {}, tmp_path / "junk.mp4", "ASSET.INVALID", "cannot be decoded"),
    ):
        with pytest.raises(JobError, match=said) as caught:
            run(kind, tmp_path, params, video=source)
        assert caught.value.code == code
        assert "\n" not in caught.value.message
    with pytest.raises(JobError, match="holds no video"):
        run("hdr", tmp_path, {})
    assert not list((tmp_path / "out").iterdir())
