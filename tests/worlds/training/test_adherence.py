"""Prompts: a world drawn as asked scores what true renders score, one drawn otherwise does not."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import torch
from torch import Tensor

from tests.worlds.training.true_walker import latents_of
from worldstream.worlds.judge import Judge
from worldstream.worlds.procedural.attributes import THEMES, TIMES, WEATHERS
from worldstream.worlds.procedural.captions import parse, unknown
from worldstream.worlds.training.adherence import (
    CONTACT,
    FIRST_WORLD,
    adherence,
    contact_path,
    contact_sheet,
    drawn_attributes,
    first_walk,
    prompt_of,
)
from worldstream.worlds.training.playing import Model
from worldstream.worlds.training.truth import World

CHOSEN, EACH, FRAMES = (0, 1, 4, 9), 2, 3


def walker(world: Model, mixed_up: bool) -> object:
    """Draws true renders of what is asked; or of what the next theme was asked for."""
    wanted = drawn_attributes(CHOSEN, EACH)
    worlds = [World(FIRST_WORLD + i, a.theme, a) for i, a in enumerate(wanted)]
    truth = latents_of(world, worlds, [first_walk(FRAMES)] * len(worlds), FRAMES)
    truth = truth.roll(EACH, 0) if mixed_up else truth

    def walk(m: Model, history: Tensor | None, actions: Tensor, words: Tensor, generator: torch.Generator) -> Tensor:
        assert history is None
        walked = actions.shape[1] > 1  # the first of each theme are walked, the others only begun
        return truth[0::EACH] if walked else truth[1::EACH, :1]

    return walk


def test_a_world_drawn_as_asked_scores_what_the_truth_scores(world: Model, judge: Judge) -> None:
    found = adherence(world, judge, CHOSEN, EACH, 1, FRAMES, walker(world, False))  # type: ignore[arg-type]
    assert len(found) == 6
    for name, r in found.items():
        assert r.value == r.ceiling, name
    assert found["prompt adherence, first frame: theme"].value >= 0.7


def test_a_world_drawn_otherwise_does_not(world: Model, judge: Judge) -> None:
    found = adherence(world, judge, CHOSEN, EACH, 1, FRAMES, walker(world, True))  # type: ignore[arg-type]
    for moment in ("first frame", f"frame {FRAMES}"):
        assert found[f"prompt adherence, {moment}: theme"].value <= 0.25


def test_every_time_and_weather_is_asked_equally_often() -> None:
    wanted = drawn_attributes(range(len(THEMES)), 6)
    for values, count in ((Counter(a.time for a in wanted), len(TIMES)), (Counter(a.weather for a in wanted), 6)):
        assert len(values) == count
        assert max(values.values()) == min(values.values())
    assert len({(a.time, a.weather) for a in wanted}) == len(TIMES) * len(WEATHERS)


def test_the_prompts_say_what_they_ask_for() -> None:
    for a in drawn_attributes(range(len(THEMES)), 6):
        hints = parse(prompt_of(a))
        assert (hints.theme, hints.time, hints.weather) == (a.theme, a.time, a.weather)
    assert [parse(text).theme for text in CONTACT] == list(range(len(THEMES)))
    assert not any(unknown(text) for text in CONTACT)


def test_a_contact_sheet_shows_prompts_by_moments(world: Model, tmp_path: Path) -> None:
    c = world.config.network

    def walk(m: Model, history: Tensor | None, actions: Tensor, words: Tensor, generator: torch.Generator) -> Tensor:
        return torch.zeros(*actions.shape[:2], c.channels, c.rows, c.columns)

    contact_sheet(world, tmp_path / "contact.png", walk=walk)
    path, moments = contact_path()
    assert len(moments) == 8
    assert moments[-1] == len(path) - 1
    assert (tmp_path / "contact.png").stat().st_size > 1000
