"""Tiny checkpoints of the families that draw whole clips, from the catalogue through the job to a file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.realtime.jobs.clip_orders import OneWorld, Told, frames_of, order
from worldstream.realtime.jobs.clips import clip
from worldstream.realtime.jobs.contract import Cancelled, JobError
from worldstream.worlds import catalogue
from worldstream.worlds.errors import WeightsError
from worldstream.worlds.library import load_any_world
from worldstream.worlds.options import OpenOptions
from worldstream.worlds.wan.clip_world import ClipWorld, load_clip_world
from worldstream.worlds.wan.families import FAMILIES
from worldstream.worlds.wan.synthesize import synthesize
from worldstream.worlds.wan.world import load_open_world

SMALL = OpenOptions(width_px=64, height_px=48, device="cpu")


def opened(tmp_path: Path, name: str) -> ClipWorld:
    """A tiny random checkpoint at two steps."""
    data = tmp_path / "data"
    data.mkdir()
    synthesize(FAMILIES[name], tmp_path / name)
    world = load_clip_world(catalogue.add([tmp_path / name], data, name=name), data, SMALL)
    return replace(world, steps=2)


def picture(path: Path, seed: int) -> Path:
    cells = np.random.default_rng(seed).integers(0, 256, (3, 4, 3), dtype=np.uint8)
    Image.fromarray(cells).resize((64, 48)).save(path)
    return path


@pytest.mark.parametrize("name", ["wan2.1-t2v-1.3b", "wan2.1-vace-1.3b", "wan2.1-i2v-14b-480p"])
def test_whole_clips_from_the_catalogue_to_a_file(tmp_path: Path, name: str) -> None:
    world = opened(tmp_path, name)
    given = {} if "t2v" in name else {"first": picture(tmp_path / "first.png", 1)}
    if world.guided_by_pictures:
        given |= {"last": picture(tmp_path / "last.png", 2), "ref0": picture(tmp_path / "ref.png", 3)}
    more = {"references": [{"input": "ref0", "tag": "hero"}]} if "ref0" in given else {}
    files = []
    for i, prompt in enumerate(("a red fox", "a blue whale") if given else ("a red fox", "a blue whale", "a red fox")):
        told = Told()
        asked = order("clip", tmp_path / str(i), given, width=96, height=64, seconds=0.5, prompt=prompt, **more)
        made = clip(asked, OneWorld(world), told)
        shown = frames_of(made.outputs[0].path)
        assert (len(shown), shown[0].shape) == (8, (64, 96, 3))
        assert told.fractions == sorted(told.fractions)
        assert told.fractions[0] <= 0.25, "the first of two steps is told"
        files.append(made.outputs[0].path.read_bytes())
        assert made.model == name
    assert files[0] != files[1]
    assert files[0] == files[-1] or given


def test_a_whole_clip_that_nobody_wants_ends_at_the_next_step(tmp_path: Path) -> None:
    world, told = opened(tmp_path, "wan2.1-t2v-1.3b"), Told(1, Cancelled())
    with pytest.raises(Cancelled):
        clip(order("clip", tmp_path / "o", width=64, height=48, seconds=0.5), OneWorld(world), told)
    assert told.fractions == [0.25]
    assert list((tmp_path / "o").iterdir()) == []


def test_what_such_a_checkpoint_cannot_do_is_said(tmp_path: Path) -> None:
    world = opened(tmp_path, "wan2.1-t2v-1.3b")
    given = {"first": picture(tmp_path / "p.png", 1), "last": picture(tmp_path / "p.png", 1)}
    for name, said in (("first", "cannot begin from a picture"), ("last", "cannot end in a picture")):
        with pytest.raises(JobError, match=said):
            clip(order("clip", tmp_path / "o", {name: given[name]}, seconds=0.5), OneWorld(world), Told())
    with pytest.raises(ValueError, match="not played live"):
        world.rollout()


def test_the_library_opens_them_for_clips_and_not_for_play(tmp_path: Path) -> None:
    world = opened(tmp_path, "wan2.1-t2v-1.3b")
    assert load_any_world(world.name, tmp_path / "data", clips=True).name == world.name
    with pytest.raises(WeightsError, match="not played live"):
        load_any_world(world.name, tmp_path / "data")


def test_a_causal_checkpoint_draws_clips_by_the_same_job(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    synthesize(FAMILIES["matrix-game-2-universal"], tmp_path / "m")
    world = load_open_world(catalogue.add([tmp_path / "m"], data, name="matrix-game-2-universal"), data, SMALL)
    asked = order("clip", tmp_path / "o", {"first": picture(tmp_path / "p.png", 1)}, width=64, height=48, seconds=1)
    made = clip(asked, OneWorld(world), Told())
    assert len(frames_of(made.outputs[0].path)) == made.facts["frames"] == 25
