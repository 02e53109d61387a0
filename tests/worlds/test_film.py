"""Films and replays: the same session again, bit for bit, and a plain word on whatever differs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.worlds.test_painter import painted_world
from tests.worlds.tiny_world import world
from worldstream.worlds import action_log, film
from worldstream.worlds.action_log import ActionLog, ActionLogError
from worldstream.worlds.core import Action
from worldstream.worlds.first_image import FirstImage, ImageError
from worldstream.worlds.weights import load_world

CAMERA = "[00:00] dolly in [00:00.2] pan left"


def log() -> ActionLog:
    return film.scripted(world(), "a forest", CAMERA, 0.5, seed=3)


def test_a_script_has_an_action_for_every_frame() -> None:
    made = log()
    assert len(made.actions) == round(0.5 * world().fps)
    assert made.actions[2].forward_m > 0
    assert made.actions[-3].yaw_rad < 0
    assert made.header.seed == 3
    assert film.scripted(world(), "a forest", "pedestal up", 0.5, 0).notes


def brightness(pictures: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Means of 8x8 blocks: the colour noise of an untrained world does not survive H.264, its light does."""
    t, h, w, _ = pictures.shape
    grey: NDArray[np.float64] = pictures.astype(np.float64) @ np.array([0.299, 0.587, 0.114])
    means: NDArray[np.float64] = grey.reshape(t, h // 8, 8, w // 8, 8).mean((2, 4))
    return means


@pytest.mark.parametrize("seconds", [0.0, -1.0, 1e9, float("nan")])
def test_a_length_that_makes_no_film_is_named(seconds: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 3600 s long"):
        film.scripted(world(), "", "", seconds, 0)


def test_a_replay_shows_the_same_frames(tmp_path: Path) -> None:
    """The session as it was lived, with a change of prompt, against its log played by another rollout."""
    lived = world()
    rollout = lived.rollout()
    rollout.reset(11, "desert")
    actions = [Action(forward_m=0.3, yaw_rad=0.01 * i, prompt="snow" if i == 4 else None) for i in range(9)]
    seen = [frame.rgb for action in actions for frame in rollout.step(action)]
    path = tmp_path / "walk.jsonl"
    action_log.write(path, film.header(lived, "desert", 11), actions)
    again = list(film.frames(world(), action_log.read(path)))
    np.testing.assert_array_equal(np.stack(again), np.stack(seen))


def test_a_replay_draws_each_frame_with_the_steps_it_was_lived_with(tmp_path: Path) -> None:
    """As the speed ladder leaves it: two steps, then one, then two again."""
    lived = world()
    rollout = lived.rollout()
    rollout.reset(4, "canyon")
    seen, actions, changes = [], [Action(forward_m=0.2, yaw_rad=0.02) for _ in range(12)], []
    for i, action in enumerate(actions):
        if i in (5, 9):
            lived = lived.with_steps(1 if i == 5 else 2)
            state, rollout = rollout.snapshot(), lived.rollout()
            rollout.restore(state)
            changes.append((i, lived.steps))
        seen += [frame.rgb for frame in rollout.step(action)]
    path = tmp_path / "walk.jsonl"
    action_log.write(path, film.header(world(), "canyon", 4), actions, changes)
    again = list(film.frames(world(), action_log.read(path)))
    np.testing.assert_array_equal(np.stack(again), np.stack(seen))
    unsaid = replace(action_log.read(path), changes=())
    assert not np.array_equal(np.stack(list(film.frames(world(), unsaid))), np.stack(seen)), "the steps matter"


def test_a_film_is_a_playable_file(tmp_path: Path) -> None:
    out, kept = tmp_path / "film.mp4", tmp_path / "film.jsonl"
    made = log()
    assert film.shoot(world(), made, out, kept) == len(made.actions)
    assert action_log.read(kept).actions == made.actions
    with av.open(str(out)) as container:
        pictures = [np.asarray(f.to_ndarray(format="rgb24"), np.uint8) for f in container.decode(video=0)]
        assert container.streams.video[0].average_rate == 25
    assert len(pictures) == len(made.actions)
    truth = np.stack(list(film.frames(world(), made)))
    assert np.abs(brightness(np.stack(pictures)) - brightness(truth)).max() < 4
    assert brightness(truth).std() > 4, "pictures without contrast prove nothing"
    count, notes = film.replay(world(), action_log.read(kept), tmp_path / "again.mp4")
    assert (count, notes) == (len(made.actions), ())
    assert (tmp_path / "again.mp4").read_bytes() == out.read_bytes()


def test_other_weights_are_refused_unless_asked_for(tmp_path: Path) -> None:
    other = replace(log(), header=replace(log().header, sha256="f" * 64))
    with pytest.raises(ActionLogError, match="restore those weights"):
        film.fitting(world(), other)
    _, notes = film.fitting(world(), other, anyway=True)
    assert len(notes) == 1
    assert "the pictures differ" in notes[0]


def test_a_log_from_before_the_painter_begins_as_it_did() -> None:
    """Its world is the same but for the painter, which draws first frames alone: it is played without one."""
    made, old = painted_world(), log()
    fitting, notes = film.fitting(made, old)
    assert notes == ()
    np.testing.assert_array_equal(np.stack(list(film.frames(fitting, old))), np.stack(list(film.frames(world(), old))))
    new = film.scripted(made, "a forest", CAMERA, 0.5, seed=3)
    assert new.header.sha256 == made.sha256 != old.header.sha256
    fitting, notes = film.fitting(made, new)
    assert (fitting.painter is made.painter, notes) == (True, ())
    assert not np.array_equal(next(film.frames(fitting, new)), next(film.frames(world(), old)))
    with pytest.raises(ActionLogError, match="this is test 000000000000"):
        film.fitting(world(), new)


def test_another_engine_or_number_of_steps_is_said() -> None:
    made = log()
    _, notes = film.fitting(world(), replace(made, header=replace(made.header, engine="abacus")))
    assert "abacus" in notes[0]
    fewer, notes = film.fitting(world(), replace(made, header=replace(made.header, steps=1)))
    assert (fewer.steps, notes) == (1, ())
    _, notes = film.fitting(world(), replace(made, header=replace(made.header, steps=9)))
    assert "9 steps" in notes[0]
    _, notes = film.fitting(world(), replace(made, changes=((1, 1), (2, 7))))
    assert "at [7] steps" in notes[0]


def test_a_log_without_frames_makes_no_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no frames"):
        film.write_mp4(tmp_path / "none.mp4", iter(()), 25.0)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"there is no folder .*nowhere; make it first"):
        film.write_mp4(tmp_path / "nowhere" / "film.mp4", iter(()), 25.0)


def picture(seed: int = 0) -> FirstImage:
    loaded = world()
    shape = (loaded.height_px, loaded.width_px, 3)
    return FirstImage(np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8), ("odd",))


def test_a_film_may_begin_from_a_picture_and_is_replayed_from_it(tmp_path: Path) -> None:
    kept, image = tmp_path / "film.jsonl", picture()
    made = film.scripted(world(), "a forest", CAMERA, 0.5, 3, image)
    assert made.header.image_sha256 == image.sha256
    assert made.notes[0] == "odd"
    film.shoot(world(), made, tmp_path / "film.mp4", kept, image)
    for given in (image, None):  # the log holds the picture: nobody need have its file
        film.replay(world(), action_log.read(kept), tmp_path / "again.mp4", image=given)
        assert (tmp_path / "again.mp4").read_bytes() == (tmp_path / "film.mp4").read_bytes()
    begun, plain = list(film.frames(world(), made, image)), list(film.frames(world(), log()))
    assert not any(np.array_equal(a, b) for a, b in zip(begun, plain, strict=True))


def test_a_picture_that_is_missing_wrong_or_not_wanted_is_named() -> None:
    made = film.scripted(world(), "a forest", CAMERA, 0.5, 3, picture())
    without = replace(made, header=replace(made.header, image_png=None))  # as an older program wrote it
    with pytest.raises(ActionLogError, match="give its file with --image"):
        next(film.frames(world(), without))
    with pytest.raises(ActionLogError, match=f"another picture.*{picture(1).sha256[:12]}"):
        next(film.frames(world(), made, picture(1)))
    with pytest.raises(ActionLogError, match="leave --image out"):
        next(film.frames(world(), log(), picture()))


def test_a_world_that_cannot_caption_needs_words() -> None:
    with pytest.raises(ValueError, match=r"no words.*worldstream train familiarity"):
        film.scripted(world(), " ", CAMERA, 0.5, 3, picture())


def test_without_words_the_caption_is_the_prompt_and_strange_pictures_are_said(tmp_path: Path) -> None:
    shipped = load_world(engine="eager", threads=1)
    noise = np.random.default_rng(0).integers(0, 256, (shipped.height_px, shipped.width_px, 3), dtype=np.uint8)
    made = film.scripted(shipped, "", "static", 0.1, 0, FirstImage(noise))
    assert shipped.understood(made.header.prompt)
    assert any("far from what nano knows" in note for note in made.notes)
    path = tmp_path / "holiday.png"
    path.write_bytes(b"no")
    with pytest.raises(ImageError, match=r"holiday\.png"):
        film.opened(shipped, path)


def test_the_same_frames_are_the_same_file(tmp_path: Path) -> None:
    """Whatever lay in the memory that the encoder is given: noise between the films, as a busy process leaves it."""
    rng, path = np.random.default_rng(0), tmp_path / "film.mp4"
    blocks = rng.integers(0, 256, (8, 12, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
    shown = [np.roll(blocks, 2 * i, 1) // 2 + rng.integers(0, 100, blocks.shape, dtype=np.uint8) for i in range(12)]
    written, noise = set(), []
    for _ in range(8):
        noise.append(rng.bytes(int(rng.integers(1_000, 400_000))))
        film.write_mp4(path, iter(shown), 25.0)
        written.add(path.read_bytes())
    assert len(written) == 1
