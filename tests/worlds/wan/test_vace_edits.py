"""Edits by a tiny VACE of the catalogue, through the job from file to file."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.realtime.jobs.clip_orders import Told, frames_of
from worldstream.realtime.jobs.contract import Cancelled, JobError, JobOrder, JobResult, Refused
from worldstream.realtime.jobs.edits import edit
from worldstream.worlds import catalogue
from worldstream.worlds.library import load_any_world
from worldstream.worlds.media.pictures import write_picture
from worldstream.worlds.media.sound import Sound, read_sound
from worldstream.worlds.media.video_out import write_video
from worldstream.worlds.wan.clip_world import ClipWorld
from worldstream.worlds.wan.families import FAMILIES
from worldstream.worlds.wan.synthesize import synthesize
from worldstream.worlds.wan.vace_edits import drawn_size

Picture = NDArray[np.uint8]
NAME, WIDTH, HEIGHT, EACH = "wan2.1-vace-1.3b", 96, 64, 5


class Shelf:
    """Satisfies `Workshop`: opens checkpoints of a catalogue by name, small and at two steps."""

    def __init__(self, data: Path) -> None:
        self.data, self._opened = data, dict[str, Any]()

    def setting(self, name: str) -> str:
        return ""

    def world(self, name: str = "") -> Any:
        if name not in self._opened:
            world = load_any_world(name, self.data, clips=True)
            assert isinstance(world, ClipWorld)
            self._opened[name] = replace(world, width_px=48, height_px=32, steps=2)
        return self._opened[name]


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Shelf:
    data = tmp_path_factory.mktemp("data")
    for name in (NAME, "wan2.1-t2v-1.3b"):
        synthesize(FAMILIES[name], data.parent / f"{data.name}-{name}")
        catalogue.add([data.parent / f"{data.name}-{name}"], data, name=name)
    return Shelf(data)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two shots, one dark and one light, with sound."""
    cells = np.random.default_rng(5).integers(0, 90, (2, 4, 6, 3), dtype=np.uint8)
    still = cells.repeat(16, 1).repeat(16, 2)
    still[1] += 150
    tone = np.sin(np.arange(24_000) / 20).astype(np.float32)[None] * 0.3
    place = tmp_path_factory.mktemp("vace") / "source"
    return write_video(place, iter(still.repeat(EACH, 0)), Fraction(24), sound=Sound(tone, 48_000))[0]


@pytest.fixture
def half(tmp_path: Path) -> Path:
    """White on the left."""
    picture = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    picture[:, : WIDTH // 2] = 255
    return write_picture(tmp_path / "half", picture)[0]


def run(folder: Path, shelf: Shelf, params: dict[str, Any], told: Told | None = None, /, **inputs: Path) -> JobResult:
    folder.mkdir()
    return edit(JobOrder("task", "edit", {"seed": 7, "model": NAME, **params}, inputs, folder), shelf, told or Told())


def apart(a: Picture, b: Picture) -> float:
    return float(np.abs(a.astype(int) - b).mean())


def test_an_edit_keeps_size_pace_length_and_sound_and_tells_true_progress(
    tmp_path: Path, shelf: Shelf, source: Path
) -> None:
    told = Told()
    made = run(tmp_path / "a", shelf, {"prompt": "at night"}, told, video=source)
    out = frames_of(made.outputs[0].path)
    assert made.model == NAME
    assert (len(out), out[0].shape) == (2 * EACH, (HEIGHT, WIDTH, 3))
    assert apart(out[3], frames_of(source)[3]) > 10
    assert told.fractions == sorted(told.fractions)
    assert told.fractions[-1] == 1.0
    steps = [f for f in told.fractions if 0.1 < f < 0.95]
    assert len(set(steps)) >= 3, "two windows of two steps are told one by one"
    sound = read_sound(made.outputs[0].path)
    assert sound is not None
    assert made.facts["drawn_px"] == list(drawn_size(WIDTH, HEIGHT, 48 * 32))
    assert made.facts["cuts_at_frames"] == [EACH]
    assert made.facts["seed"] == 7


def test_the_seed_decides_and_references_are_looked_at(tmp_path: Path, shelf: Shelf, source: Path) -> None:
    red = write_picture(tmp_path / "red", np.full((40, 40, 3), (250, 0, 0), np.uint8))[0]
    shown = {"references": [{"input": "ref0", "tag": "hero"}], "prompt": "a fox"}
    cases: dict[str, tuple[dict[str, Any], dict[str, Path]]] = {
        "once": ({"prompt": "a fox"}, {}), "again": ({"prompt": "a fox"}, {}),
        "other": ({"prompt": "a fox", "seed": 8}, {}), "shown": (shown, {"ref0": red}),
    }  # fmt: skip
    made = {n: run(tmp_path / n, shelf, p, video=source, **files) for n, (p, files) in cases.items()}
    once, again, other, with_red = (made[name].outputs[0].path.read_bytes() for name in cases)
    assert once == again
    assert len({once, other, with_red}) == 3
    assert any("1 references are shown" in note for note in made["shown"].facts["notes"])


@pytest.mark.parametrize("operation", ["", "replace", "remove", "background"])
def test_a_mask_says_what_is_drawn_and_all_else_stays(
    tmp_path: Path, shelf: Shelf, source: Path, half: Path, operation: str
) -> None:
    made = run(tmp_path / "a", shelf, {"prompt": "a fox", "operation": operation}, video=source, mask=half)
    drawn, kept = (slice(0, 40), slice(56, 96)) if operation != "background" else (slice(56, 96), slice(0, 40))
    for before, after in zip(frames_of(source), frames_of(made.outputs[0].path), strict=True):
        assert apart(before[:, kept], after[:, kept]) < 5
        assert apart(before[:, drawn], after[:, drawn]) > 8


def test_a_mask_may_be_a_video(tmp_path: Path, shelf: Shelf, source: Path) -> None:
    masks = np.zeros((2 * EACH, HEIGHT, WIDTH, 3), np.uint8)
    masks[EACH:, :, : WIDTH // 2] = 255
    film = write_video(tmp_path / "masks", iter(masks), Fraction(24))[0]
    made = run(tmp_path / "a", shelf, {"prompt": "a fox"}, video=source, mask=film)
    before, after = frames_of(source), frames_of(made.outputs[0].path)
    assert apart(before[2], after[2]) < 5
    assert apart(before[8][:, :40], after[8][:, :40]) > 8
    assert apart(before[8][:, 56:], after[8][:, 56:]) < 5


def test_keyframes_stay_and_only_their_range_is_led(tmp_path: Path, shelf: Shelf, source: Path) -> None:
    wanted = np.full((HEIGHT, WIDTH, 3), (10, 200, 90), np.uint8)
    key = write_picture(tmp_path / "key", wanted)[0]
    params = {"keyframes": [{"input": "key0", "at_s": 2 / 24, "end_s": 4.4 / 24}]}
    made = run(tmp_path / "a", shelf, params, video=source, key0=key)
    before, after = frames_of(source), frames_of(made.outputs[0].path)
    assert apart(after[2], wanted) < 5
    assert apart(after[4], before[4]) > 8
    assert max(apart(after[i], before[i]) for i in range(EACH, 2 * EACH)) < 5
    assert made.facts["keyframes_at"] == [2]


def test_it_goes_on_after_its_end_and_grows_at_the_sides(tmp_path: Path, shelf: Shelf, source: Path) -> None:
    before = frames_of(source)
    longer = run(tmp_path / "a", shelf, {"operation": "extend", "seconds": 0.25}, video=source)
    out = frames_of(longer.outputs[0].path)
    assert len(out) == 2 * EACH + 6
    assert max(apart(a, b) for a, b in zip(before, out, strict=False)) < 5
    assert longer.facts["extended_frames"] == 6
    wider = run(tmp_path / "b", shelf, {"aspect": "21:9", "outpaint": True}, video=source)
    out = frames_of(wider.outputs[0].path)
    assert out[0].shape == (HEIGHT, 148, 3)
    assert apart(out[3][:, 28:120], before[3][:, 2:94]) < 6
    assert float(out[3][:, :20].std()) > 0
    square = run(tmp_path / "c", shelf, {"aspect": "1:1"}, video=source)
    assert apart(frames_of(square.outputs[0].path)[3], before[3][:, 16:80]) < 5


def test_a_cancelled_edit_ends_at_the_next_step_and_leaves_no_file(tmp_path: Path, shelf: Shelf, source: Path) -> None:
    class Stopped(Told):
        def __call__(self, fraction: float, preview: Picture | None = None) -> None:
            super().__call__(fraction, preview)
            if fraction > 0.1:
                raise Cancelled

    told = Stopped()
    with pytest.raises(Cancelled):
        run(tmp_path / "a", shelf, {"prompt": "night"}, told, video=source)
    assert told.previews == []
    assert list((tmp_path / "a").iterdir()) == []


def test_what_it_cannot_do_is_said(tmp_path: Path, shelf: Shelf, source: Path, half: Path) -> None:
    with pytest.raises(Refused, match="VACE makes no edit 'green'"):
        run(tmp_path / "a", shelf, {"operation": "green"}, video=source, mask=half)
    with pytest.raises(Refused, match="give a mask"):
        run(tmp_path / "b", shelf, {"prompt": "remove the tree"}, video=source)
    with pytest.raises(Refused, match="makes no edits"):
        run(tmp_path / "c", shelf, {"prompt": "night", "model": "wan2.1-t2v-1.3b"}, video=source)
    with pytest.raises(JobError, match="there is no input ref0"):
        run(tmp_path / "d", shelf, {"prompt": "night", "references": [{"input": "ref0"}]}, video=source)


@pytest.mark.parametrize(("width", "height"), [(1920, 1080), (1080, 1920), (640, 640), (96, 64), (4000, 40)])
def test_the_size_that_is_drawn_is_near_the_source_in_shape_and_the_world_in_pixels(width: int, height: int) -> None:
    across, down = drawn_size(width, height, 832 * 480)
    assert across % 16 == down % 16 == 0
    assert across * down == pytest.approx(832 * 480, rel=0.1)
    assert across / down == pytest.approx(width / height, rel=0.1)
