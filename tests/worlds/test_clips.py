"""Clips below the job: windows for every size of the contract, walks from both ends, frames that are known already."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests.worlds.tiny_world import WORLD, rollout, world
from worldstream.worlds.clip_extend import at_pace, going_on
from worldstream.worlds.clip_finish import FADE, Finish
from worldstream.worlds.clip_pictures import placed, window
from worldstream.worlds.clip_walks import Route, decoded, meeting, merged, undone, walked
from worldstream.worlds.clip_writer import Abandoned, Writer
from worldstream.worlds.clips import ClipRequest, planned, rig
from worldstream.worlds.core import Action
from worldstream.worlds.media.video_in import read_video
from worldstream.worlds.media.video_out import write_video

# the extremes of the sizes that the contract names, and some between
SIZES = (
    (1280, 720), (720, 1280), (1104, 832), (960, 960), (1584, 672), (1024, 4096), (704, 5856), (5856, 704),
    (8256, 2048), (176, 1408), (1408, 176), (352, 2928), (3840, 2160), (2206, 946), (848, 480), (6336, 2688),
    (512, 2064),
)  # fmt: skip


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_a_window_is_the_largest_middle_part_of_a_shape(width: int, height: int) -> None:
    part = window(256, 160, width, height)
    assert abs(part.width * height - part.height * width) <= max(width, height)  # within a pixel of the shape
    assert part.width == 256 or part.height == 160
    assert abs((256 - part.width) - 2 * part.left) <= 1
    assert abs((160 - part.height) - 2 * part.top) <= 1


def test_a_picture_lies_where_it_is_seen_and_its_mirror_image_around_it() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (160, 90, 3), dtype=np.uint8)
    part = window(256, 160, 720, 1280)
    frame = placed(picture, part, 256, 160)
    np.testing.assert_array_equal(part.of(frame), picture)
    np.testing.assert_array_equal(frame[:, part.left - 1], picture[:, 0])
    assert frame.shape == (160, 256, 3)


def route(count: int = 20, **more: object) -> Route:
    actions = tuple(Action(forward_m=0.2, yaw_rad=0.02) for _ in range(count))
    return replace(Route(3, actions, ("forest",) * count, ("desert",) * count), **more)  # type: ignore[arg-type]


def picture(seed: int) -> NDArray[np.uint8]:
    loaded = world()
    return np.random.default_rng(seed).integers(0, 256, (loaded.height_px, loaded.width_px, 3), dtype=np.uint8)


def kept(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    walk = rollout()
    return walk.decoded(walk.encoded(rgb))


def undone_all(count: int) -> tuple[Action, ...]:
    return (Action(), *(undone(action) for action in route(count).actions[1:]))


def latents(image: NDArray[np.uint8], actions: tuple[Action, ...], prompt: str) -> list[torch.Tensor]:
    """Of a walk, by the rollout alone."""
    walk = rollout()
    walk.reset(3, prompt, image)
    out = []
    for action in actions:
        for _ in walk.step(action, decode=False):
            pass
        out.append(walk.newest)
    return out


def test_two_walks_begin_in_their_pictures_and_meet_without_a_jump() -> None:
    first, last = picture(1), picture(2)
    steps = list(decoded(world(), walked(world(), route(40, first=first, last=last))))
    shown = [d.rgb.astype(np.float64) for d in steps if d.shown and d.rgb is not None]
    assert len(shown) == 40
    np.testing.assert_array_equal(shown[0], kept(first))
    np.testing.assert_array_equal(shown[-1], kept(last))
    begin, end = meeting(40)
    ahead, back = latents(first, route(40).actions, "forest"), latents(last, undone_all(40), "desert")[::-1]
    decoder = rollout()
    for i, share in ((9, 0.0), (10, 0.0089), (19, 0.472), (29, 0.9911), (30, 1.0)):
        truth = decoder.decoded(ahead[i] + share * (back[i] - ahead[i]))
        assert float(np.abs(shown[i] - truth).mean()) < 0.5, i
    done = [d.done for d in steps]
    assert done == sorted(done)
    assert done[-1] == steps[-1].of == 40 + end - begin
    assert steps[0].shown, "the first frame of the clip is the first that anybody sees"


def test_a_walk_back_from_the_last_picture_is_shown_in_order() -> None:
    last = picture(2)
    shown = [d.rgb for d in decoded(world(), walked(world(), route(last=last))) if d.shown]
    assert len(shown) == 20
    assert shown[-1] is not None
    np.testing.assert_array_equal(shown[-1], kept(last))
    walk = rollout()
    walk.reset(3, "desert", last)
    back = [frame.rgb for i in range(20) for frame in walk.step(Action() if not i else undone(route().actions[0]))]
    np.testing.assert_array_equal(np.stack([r for r in shown if r is not None]), np.stack(back[::-1]))


@torch.inference_mode()
def test_following_known_frames_remembers_them_as_if_drawn() -> None:
    lived, again = rollout(), rollout()
    actions = [Action(forward_m=0.2, yaw_rad=0.05 * (i % 3)) for i in range(12)]
    lived.reset(5, "forest")
    again.reset(5, "forest")
    for action in actions:
        for _ in lived.step(action, decode=False):
            pass
        again.follow(lived.newest, action)
    assert again.index == lived.index
    assert again.camera == lived.camera
    for a, b in ((again.snapshot(), lived.snapshot()),):
        assert a.stack is not None
        assert b.stack is not None
        torch.testing.assert_close(a.stack, b.stack)
        assert a.cache.written == b.cache.written
    torch.testing.assert_close(again.newest, lived.newest)


def test_prompts_change_where_they_should() -> None:
    words = route(6, prompts=("a",) * 3 + ("b",) * 3)
    assert [words.action(i, words.prompts[max(0, i - 1)]).prompt for i in range(6)] == [None] * 3 + ["b", None, None]


def test_a_step_of_several_frames_takes_their_motions_together() -> None:
    both = merged([Action(forward_m=0.1, yaw_rad=0.2), Action(forward_m=0.3, prompt="x")])
    assert both.forward_m == pytest.approx(0.4)
    assert (both.yaw_rad, both.prompt) == (0.2, "x")


def test_what_a_keyframe_loses_is_laid_over_the_frames_beside_it_and_fades() -> None:
    rng = np.random.default_rng(0)
    small = [rng.integers(60, 180, (8, 12, 3), dtype=np.uint8) for _ in range(40)]
    first, last = (rng.integers(0, 256, (16, 24, 3), dtype=np.uint8) for _ in range(2))
    plain = list(Finish(24, 16).frames(small))
    shown = list(Finish(24, 16, first, last).frames(small))
    np.testing.assert_array_equal(shown[0], first)
    np.testing.assert_array_equal(shown[-1], last)
    off = [float(np.abs(a.astype(float) - b).mean()) for a, b in zip(shown, plain, strict=True)]
    assert off[FADE : 40 - FADE] == [0.0] * (40 - 2 * FADE)
    assert off[:FADE] == sorted(off[:FADE], reverse=True)
    assert off[-FADE:] == sorted(off[-FADE:])


@pytest.mark.parametrize(("fps", "wanted"), [(25.0, 20), (50.0, 40), (10.0, 8), (24.0, 20)])
def test_a_video_at_another_pace_lasts_as_long(tmp_path: Path, fps: float, wanted: int) -> None:
    greys = [np.full((16, 16, 3), 12 * i, np.uint8) for i in range(20)]
    path, _ = write_video(tmp_path / "film", greys, 25)
    shown = list(at_pace(read_video(path), fps))
    assert len(shown) == wanted
    levels = [float(rgb.mean()) for rgb in shown]
    assert levels == sorted(levels)


def test_a_camera_goes_on_within_what_it_can_do() -> None:
    loaded = world()
    far = going_on(Action(forward_m=9.0, yaw_rad=-1.0, pitch_rad=0.01), rig(loaded), 30)
    assert far[0].forward_m == pytest.approx(loaded.max_step_m)
    assert far[0].yaw_rad == -loaded.max_turn_rad
    assert sum(a.pitch_rad for a in far) < 0.1


def test_a_plan_has_an_action_for_every_frame() -> None:
    plan = planned(world(replace(WORLD, fps=24.0)), ClipRequest("forest", 2.5, 96, 64))
    assert len(plan.route) == 60
    assert plan.frames == 60


@pytest.mark.parametrize("bad", [{"seconds": 0.0}, {"seconds": float("nan")}, {"width_px": 5000}, {"seed": -1}])
def test_numbers_that_make_no_clip_are_named(bad: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=str(next(iter(bad.values()))).removesuffix(".0")):
        ClipRequest(**{"prompt": "", "seconds": 2.0, "width_px": 96, "height_px": 64, **bad})  # type: ignore[arg-type]


GREY = np.zeros((4, 4, 3), np.uint8)


def test_a_writer_that_fails_says_so() -> None:
    def fails(frames: Iterator[NDArray[np.uint8]]) -> int:
        next(frames)
        raise OSError("the disk is full")

    def work() -> None:
        with Writer(fails) as writer:
            for _ in range(100):
                writer.put(GREY)

    with pytest.raises(OSError, match="disk is full"):
        work()


def test_a_writer_that_is_left_ends_and_one_that_is_finished_gives_what_it_made() -> None:
    ended: list[bool] = []

    def counts(frames: Iterator[NDArray[np.uint8]]) -> int:
        try:
            return len(list(frames))
        except Abandoned:
            ended.append(True)
            raise

    def leaves() -> None:
        with Writer(counts) as writer:
            writer.put(GREY)
            raise KeyError

    with pytest.raises(KeyError):
        leaves()
    assert ended == [True]
    with Writer(counts) as writer:
        writer.put(GREY)
        writer.put(GREY)
        assert writer.finish() == 2
