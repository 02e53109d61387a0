"""The edit job from file to file: size, pace, length, sound and seed; masks, shapes, endings, angles; refusals."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.worlds.tiny_world import world
from worldstream.realtime.jobs.clips import clip
from worldstream.realtime.jobs.contract import Cancelled, JobError, JobOrder, JobResult, Refused
from worldstream.realtime.jobs.edits import bench_of
from worldstream.realtime.jobs.kinds import job_of
from worldstream.worlds.clip_pictures import Reference
from worldstream.worlds.core import Sight
from worldstream.worlds.edit_plan import edited, spoken
from worldstream.worlds.edits import EditRequest, survey
from worldstream.worlds.media.pictures import write_picture
from worldstream.worlds.media.sound import Sound, read_sound
from worldstream.worlds.media.video_in import read_video
from worldstream.worlds.media.video_out import write_video
from worldstream.worlds.procedural.episodes import TEST_SEED, episode
from worldstream.worlds.procedural.paths import YAW

Picture = NDArray[np.uint8]
FPS, WIDTH, HEIGHT, EACH = Fraction(24), 160, 90, 10


@dataclass
class OneWorld:
    """Satisfies `Workshop`."""

    loaded: Any
    data: Path = Path("nowhere")

    def setting(self, name: str) -> str:
        return ""

    def world(self, name: str = "") -> Any:
        return self.loaded


@dataclass
class Told:
    """Satisfies `Tell`. Raises Cancelled once `after` reports with a preview have come."""

    after: int = 10**9
    fractions: list[float] = field(default_factory=list)
    previews: list[Picture] = field(default_factory=list)

    def __call__(self, fraction: float, preview: Picture | None = None) -> None:
        self.fractions.append(fraction)
        if preview is not None:
            self.previews.append(preview)
            if len(self.previews) >= self.after:
                raise Cancelled


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two shots of ten frames, with sound."""
    path = np.zeros((EACH, 4), np.float32)
    path[:, YAW] = 0.02
    shots = [
        episode(TEST_SEED + seed, EACH, WIDTH, HEIGHT, theme=theme, path=path, changes=False).rgb
        for seed, theme in ((51, 0), (52, 1))
    ]
    tone = np.sin(np.arange(48000 * 2 * EACH // 24) / 20).astype(np.float32)[None] * 0.3
    place = tmp_path_factory.mktemp("edits") / "source"
    return write_video(place, iter(np.concatenate(shots)), FPS, sound=Sound(tone, 48000))[0]


@pytest.fixture(scope="module")
def workshop() -> OneWorld:
    return OneWorld(world())


@pytest.fixture
def mask(tmp_path: Path) -> Path:
    """White in the middle."""
    picture = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    picture[30:60, 60:100] = 255
    return write_picture(tmp_path / "mask", picture)[0]


def run(
    folder: Path, workshop: OneWorld, source: Path, told: Told | None = None, files: dict[str, Path] | None = None,
    **params: Any,
) -> JobResult:  # fmt: skip
    folder.mkdir(parents=True)
    order = JobOrder("task", "edit", {"seed": 7, **params}, {"video": source, **(files or {})}, folder)
    return job_of("edit")(order, workshop, told or Told())


def frames(path: Path) -> list[Picture]:
    return list(read_video(path).frames())


def test_size_pace_length_and_sound_are_the_sources_and_progress_is_true(
    tmp_path: Path, workshop: OneWorld, source: Path
) -> None:
    told = Told()
    result = run(tmp_path / "a", workshop, source, told, prompt="at night")
    made = read_video(result.outputs[0].path)
    assert (made.width, made.height, made.fps) == (WIDTH, HEIGHT, FPS)
    pictures = frames(result.outputs[0].path)
    assert len(pictures) == 2 * EACH == len(told.previews)
    assert told.fractions == sorted(told.fractions)
    assert told.fractions[-1] == 1.0
    sound = read_sound(result.outputs[0].path)
    assert sound is not None
    assert sound.seconds == pytest.approx(2 * EACH / 24, abs=0.06)
    assert result.facts["cuts_at_frames"] == [EACH]
    assert result.facts["drawn_by"] == "the network of looks"
    before = frames(source)
    assert np.mean(pictures[5]) < 0.7 * np.mean(before[5])  # it is dark
    assert result.outputs[0].media_type == "video/mp4"


def test_a_seed_gives_the_same_film_and_strength_0_none(tmp_path: Path, workshop: OneWorld, source: Path) -> None:
    cases: dict[str, dict[str, Any]] = {"a": {}, "b": {}, "c": {"seed": 8}, "d": {"strength": 0.0}}
    once, again, other, nothing = (
        run(tmp_path / name, workshop, source, prompt="desert", operation="restyle", **more).outputs[0].path
        for name, more in cases.items()
    )
    assert once.read_bytes() == again.read_bytes()
    assert once.read_bytes() != other.read_bytes()
    apart = [np.abs(a.astype(int) - b).mean() for a, b in zip(frames(nothing), frames(source), strict=True)]
    assert max(apart) < 4  # what encoding twice does


def test_only_what_is_inside_a_mask_changes(tmp_path: Path, workshop: OneWorld, source: Path, mask: Path) -> None:
    cases: dict[str, dict[str, Any]] = {
        "prompt": {"prompt": "night"}, "replace": {"prompt": "desert", "operation": "replace"},
        "remove": {"operation": "remove"},
    }  # fmt: skip
    for name, params in cases.items():
        result = run(tmp_path / name, workshop, source, files={"mask": mask}, **params)
        for before, after in zip(frames(source), frames(result.outputs[0].path), strict=True):
            apart = np.abs(before.astype(int) - after).mean(-1)
            assert apart[:20].mean() < 4, name
            assert apart[70:].mean() < 4, name
    green = run(tmp_path / "green", workshop, source, files={"mask": mask}, operation="green")
    keyed = frames(green.outputs[0].path)[3].astype(int)
    assert np.abs(keyed[:20] - (0, 177, 64)).max() <= 4
    behind = run(
        tmp_path / "behind", workshop, source, files={"mask": mask}, operation="background", prompt="canyon at dusk"
    )
    kept = frames(behind.outputs[0].path)[3].astype(int)
    assert np.abs(kept[35:55, 66:94] - frames(source)[3][35:55, 66:94]).mean() < 8


def test_keyframes_are_met(tmp_path: Path, workshop: OneWorld, source: Path) -> None:
    wanted = np.asarray(frames(source)[4] * 0.4, np.uint8)
    key = write_picture(tmp_path / "key", wanted)[0]
    result = run(
        tmp_path / "a",
        workshop,
        source,
        files={"key0": key},
        keyframes=[{"input": "key0", "at_s": 4 / 24, "end_s": 0.4}],
    )
    out = frames(result.outputs[0].path)
    assert np.abs(out[4].astype(int) - wanted).mean() < 5
    assert np.abs(out[18].astype(int) - frames(source)[18]).mean() < 5  # after its range
    assert result.facts["keyframes_at"] == [4]


@pytest.mark.parametrize(
    ("params", "size"),
    [({"aspect": "1:1"}, (90, 90)), ({"aspect": "21:9", "outpaint": True}, (210, 90)), ({"aspect": "16:9"}, (160, 90))],
)
def test_another_shape(
    tmp_path: Path, workshop: OneWorld, source: Path, params: dict[str, Any], size: tuple[int, int]
) -> None:
    result = run(tmp_path / "a", workshop, source, **params)
    out = read_video(result.outputs[0].path)
    assert (out.width, out.height) == size
    assert len(frames(result.outputs[0].path)) == 2 * EACH
    left = (size[0] - WIDTH) // 2
    middle = frames(result.outputs[0].path)[2][:, max(0, left) + 10 : max(0, left) + 60]
    begun = frames(source)[2][:, max(0, -left) + 10 : max(0, -left) + 60]
    assert np.abs(middle.astype(int) - begun).mean() < 5
    assert ("aspect" in result.facts) == (size != (WIDTH, HEIGHT))


def test_a_video_goes_on_after_its_end(tmp_path: Path, workshop: OneWorld, source: Path) -> None:
    result = run(tmp_path / "a", workshop, source, operation="extend", seconds=0.5, camera="pan left")
    out = frames(result.outputs[0].path)
    assert len(out) == 2 * EACH + 12
    assert np.abs(out[7].astype(int) - frames(source)[7]).mean() < 4
    assert result.facts["extended_frames"] == 12
    (tmp_path / "b").mkdir()
    params = {"prompt": "", "seed": 7, "camera": "pan left", "seconds": 0.5, "joined": False, "width": WIDTH}
    order = JobOrder("task", "clip", {**params, "height": HEIGHT}, {"extend": source}, tmp_path / "b")
    alone = frames(clip(order, workshop, Told()).outputs[0].path)
    assert np.abs(out[2 * EACH].astype(int) - alone[0]).mean() < 4  # one method: the first new frame is the clip's


def test_what_is_seen_in_references_fills_their_tags(
    tmp_path: Path, workshop: OneWorld, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Viewer:
        def look(self, rgb: Picture) -> Sight:
            return Sight("desert, night", 0.0, 0.0)

    monkeypatch.setattr(type(workshop.loaded), "viewer", lambda self: Viewer())
    shown = write_picture(tmp_path / "shown", frames(source)[15])[0]
    video = read_video(source)
    request = EditRequest("it becomes @hero, foggy", references=(Reference(shown, "hero"),))
    filled, notes = spoken(workshop.loaded, request)
    assert filled.prompt.split() == ["it", "becomes", "desert,", "night", ",", "foggy"]
    assert notes == ("@hero is read as 'desert, night'",)
    made = edited(bench_of(workshop.loaded), video, survey(video), request)
    next(made.frames)
    prompts = made.facts()["prompts"]
    assert isinstance(prompts, list)
    assert {"desert", "night", "foggy"} <= set(prompts[0].split(", "))
    assert notes[0] in made.notes
    _, notes = spoken(workshop.loaded, EditRequest("night, as @nobody"))
    assert notes == ("there is no reference @nobody: it is left out",)


def test_a_new_angle_comes_from_what_was_shown(tmp_path: Path, workshop: OneWorld, source: Path) -> None:
    result = run(tmp_path / "a", workshop, source, operation="angle", camera="pan right slowly")
    assert len(frames(result.outputs[0].path)) == EACH  # the first shot
    assert result.facts["shown_before"] > 0.5
    with pytest.raises(Refused, match="camera moves"):
        run(tmp_path / "b", workshop, source, operation="angle")


def test_what_moves_is_not_told_from_a_wall_that_shows_nothing(tmp_path: Path, workshop: OneWorld) -> None:
    flat = write_video(tmp_path / "flat", iter(np.full((8, 64, 96, 3), 90, np.uint8)), FPS)[0]
    with pytest.raises(Refused, match="give a mask"):
        run(tmp_path / "a", workshop, flat, operation="clean_plate")


@pytest.mark.parametrize(
    ("params", "says"),
    [
        ({"prompt": "remove the tree"}, "give a mask"), ({"operation": "green"}, "needs a mask"),
        ({"operation": "melt"}, "there is no edit 'melt'"), ({}, "say in the prompt"),
        ({"prompt": "night", "strength": 9}, "strength must be"), ({"prompt": "night", "seed": -1}, "seed must be"),
        ({"prompt": "night", "aspect": "round"}, "an aspect is width:height"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_in_one_line(
    tmp_path: Path, workshop: OneWorld, source: Path, params: dict[str, Any], says: str
) -> None:
    with pytest.raises(JobError, match=says) as caught:
        run(tmp_path / "a", workshop, source, **params)
    assert caught.value.code.startswith("INPUT_PREPROCESSING")
    assert "\n" not in caught.value.message
    assert not list((tmp_path / "a").iterdir())


def test_a_file_that_is_no_film_is_an_invalid_asset(tmp_path: Path, workshop: OneWorld) -> None:
    (tmp_path / "not.mp4").write_bytes(b"no film at all")
    with pytest.raises(JobError) as caught:
        run(tmp_path / "a", workshop, tmp_path / "not.mp4", prompt="night")
    assert caught.value.code == "ASSET.INVALID"


def test_a_cancelled_edit_ends_at_once_and_leaves_no_file(tmp_path: Path, workshop: OneWorld, source: Path) -> None:
    told = Told(after=3)
    with pytest.raises(Cancelled):
        run(tmp_path / "a", workshop, source, told, prompt="desert")
    assert len(told.previews) == 3
    assert not list((tmp_path / "a").iterdir())


def test_no_film_is_held_whole_in_memory(workshop: OneWorld) -> None:
    """Frames are taken one by one: never more than a few ahead of what is written."""
    taken = 0

    class Endless:
        path, fps, width, height = Path("nowhere"), FPS, WIDTH, HEIGHT

        def frames(self) -> Iterator[Picture]:
            nonlocal taken
            for i in range(40):
                taken += 1
                yield np.full((HEIGHT, WIDTH, 3), 60 + i, np.uint8)

    film = Endless()
    seen = survey(film)
    assert (seen.count, seen.shots) == (40, (0,))
    taken = 0
    made = edited(bench_of(workshop.loaded), film, seen, EditRequest("night"))
    for i, _ in enumerate(made.frames, 1):
        assert taken <= i + 1
