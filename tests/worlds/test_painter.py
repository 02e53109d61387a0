"""The painter: what is asked for, from a seed, on every engine, and first frames alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.worlds.tiny_world import WORLD, autoencoder, awake, network, world
from worldstream.worlds import engines
from worldstream.worlds.conditioning import word_ids
from worldstream.worlds.config import PainterConfig, WorldConfig
from worldstream.worlds.core import Action, Frame
from worldstream.worlds.engines import EagerEngine, graph_engine
from worldstream.worlds.painter import FirstFrames, Paint, Painter, example_painting, legible, painted
from worldstream.worlds.rollout import Rollout
from worldstream.worlds.training.playing import Model, walk_batch
from worldstream.worlds.weights import LoadedWorld

SMALL = PainterConfig(width=32, blocks=2, heads=2, ffn=48, steps=(1.0, 0.7, 0.3), guidance=2.0, guided=(0.0, 1.0))
PAINTED = replace(WORLD, painter=SMALL)
SHAPE = (1, 3, 4, 6)


def painter(seed: int = 0, config: PainterConfig = SMALL) -> Painter:
    torch.manual_seed(seed)
    return awake(Painter(config.network(WORLD.network)), seed).requires_grad_(False)


def painted_world(config: WorldConfig = PAINTED, seed: int = 0) -> LoadedWorld:
    """A tiny world with a painter."""
    made, own = world(config), painter(seed)
    assert config.painter is not None
    return replace(made, painter=FirstFrames(config.painter, own, made.runner.painting(own)))


def begun(made: LoadedWorld, seed: int = 1, prompt: str = "forest") -> Rollout:
    walk = made.rollout()
    walk.reset(seed, prompt)
    return walk


def play(walk: Rollout, count: int = 3) -> list[Frame]:
    return [f for i in range(count) for f in walk.step(Action(forward_m=0.2, yaw_rad=0.02 * i))]


def same(a: list[Frame], b: list[Frame]) -> bool:
    return len(a) == len(b) and all(np.array_equal(x.rgb, y.rgb) for x, y in zip(a, b, strict=True))


def noise(seed: int = 0, rows: int = 1) -> Tensor:
    return torch.randn(rows, *SHAPE[1:], generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("steps", [(), (0.9, 0.5), (1.0, 0.5, 0.5), (1.0, 0.0)])
def test_steps_that_are_none_are_refused(steps: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match=r"must fall from 1\.0 and stay above 0, got"):
        PainterConfig(steps=steps)


def test_what_is_known_at_every_level_is_drawn_whole() -> None:
    target = noise(1)
    words = (torch.ones(1, 4), torch.ones(1, 2, 4))
    drawn = painted(lambda *_: target, SMALL, words, words, noise(2))
    torch.testing.assert_close(drawn, target)


@pytest.mark.parametrize(
    ("guidance", "guided", "expected"),
    [(1.0, (0.0, 1.0), 1.0), (3.0, (0.0, 1.0), 3.0), (3.0, (0.5, 1.0), 1.0), (3.0, (0.3, 0.9), 3.0)],
)
def test_guidance_leads_away_from_no_words(guidance: float, guided: tuple[float, float], expected: float) -> None:
    """With words it draws ones, without them zeros: guidance shows in what the last step leaves."""
    asked, nothing = ((torch.full((1, 4), x), torch.zeros(1, 2, 4)) for x in (1.0, 0.0))
    passes: list[float] = []

    def paint(z: Tensor, _: Tensor, pooled: Tensor, __: Tensor) -> Tensor:
        passes.append(float(pooled[0, 0]))
        return torch.full_like(z, float(pooled[0, 0]))

    config = replace(SMALL, guidance=guidance, guided=guided)
    drawn = painted(paint, config, asked, nothing, noise())
    torch.testing.assert_close(drawn, torch.full(SHAPE, expected))
    twice = 0 if guidance == 1.0 else sum(guided[0] <= level <= guided[1] for level in SMALL.steps)
    assert (passes.count(1.0), passes.count(0.0)) == (len(SMALL.steps), twice)


def test_it_attends_to_words_in_any_order() -> None:
    model = painter()
    ids = word_ids("a foggy forest at dawn", WORLD.network.text_buckets)[None]
    pooled, words = model.text_embedding(ids)
    level = torch.tensor([0.8])
    drawn = model(noise(), level, pooled, words)
    torch.testing.assert_close(model(noise(), level, pooled, words.flip(1)), drawn)
    other = model.text_embedding(word_ids("a foggy desert at dawn", WORLD.network.text_buckets)[None])[1]
    assert not torch.allclose(model(noise(), level, pooled, other), drawn, atol=1e-4), "the sum alone is not all"


def test_words_that_it_never_learnt_are_left_out() -> None:
    assert legible("a foggy forest at dawn, with few things") == "a foggy forest at dawn, with few things"
    assert legible("an unpretentious gizmo of a foggy forest, no clouds, brilliantly lit") == "foggy, forest, no cloud"
    assert legible("xyzzy") == legible("") == ""
    made = painted_world().painter
    assert made is not None
    assert torch.equal(made.drawn("xyzzy", noise()), made.drawn("", noise()))
    assert not torch.equal(made.drawn("foggy", noise()), made.drawn("", noise()))


def test_rows_do_not_see_each_other() -> None:
    model = painter()
    pooled, words = model.text_embedding(
        torch.stack([word_ids(t, WORLD.network.text_buckets) for t in ("forest", "desert at night")])
    )
    both = model(noise(rows=2), torch.tensor([0.9, 0.4]), pooled, words)
    for i, level in enumerate((0.9, 0.4)):
        alone = model(noise(rows=2)[i, None], torch.tensor([level]), pooled[i, None], words[i, None])
        torch.testing.assert_close(both[i, None], alone, rtol=1e-4, atol=1e-5)


def _openvino(model: Painter) -> Paint:
    library = engines.openvino_here(exact=True)
    return engines.openvino_painting(library, model, library.settings(1))


def _recorded(model: Painter) -> Paint:
    return graph_engine(network(WORLD.network), autoencoder().decoder, 1, "cpu").painting(model)


@pytest.mark.parametrize("made", [_openvino, _recorded])
def test_every_engine_paints_the_same(made: Callable[[Painter], Paint]) -> None:
    model = painter()
    paint = made(model)
    eager = EagerEngine(network(WORLD.network), autoencoder().decoder, 1).painting(model)
    for seed in range(3):
        generator = torch.Generator().manual_seed(seed)
        inputs = tuple(torch.rand(x.shape, generator=generator) for x in example_painting(model))
        torch.testing.assert_close(paint(*inputs), eager(*inputs), rtol=0, atol=2e-5)


def test_a_world_begins_as_painted_and_the_same_again() -> None:
    made = painted_world()
    walk = begun(made)
    frames = play(walk)
    assert made.painter is not None
    expected = made.painter.drawn("forest", noise(1)[None, 0])
    first = begun(made)
    play(first, 1)
    assert torch.equal(first.newest[:, 0], expected)
    assert same(play(begun(painted_world())), frames)
    for other in (begun(made, seed=2), begun(made, prompt="desert"), begun(world()), begun(painted_world(seed=5))):
        assert not np.array_equal(play(other, 1)[0].rgb, frames[0].rgb)
    walk.reset(1, "forest")
    assert same(play(walk), frames)


def test_the_words_of_the_first_action_are_painted() -> None:
    made = painted_world()
    asked = begun(made, prompt="forest")
    (frame,) = asked.step(Action(prompt="desert"))
    assert np.array_equal(frame.rgb, play(begun(made, prompt="desert"), 1)[0].rgb)


@pytest.mark.parametrize("at", [0, 1, 2])
def test_branches_equal_uninterrupted_play(at: int) -> None:
    made = painted_world()
    whole = play(begun(made), 4)
    walk = begun(made)
    first = play(walk, at)
    state = walk.snapshot()
    play(walk, 2)
    other = made.rollout()
    for branch in (walk, other):
        branch.restore(state)
        rest = [f for i in range(at, 4) for f in branch.step(Action(forward_m=0.2, yaw_rad=0.02 * i))]
        assert same([*first, *rest], whole)


def test_a_picture_and_a_redrawing_are_not_painted() -> None:
    made, plain = painted_world(), world()
    image = np.random.default_rng(0).integers(0, 256, (WORLD.height_px, WORLD.width_px, 3), dtype=np.uint8)
    walks = []
    for each in (made, plain):
        walk = each.rollout()
        walk.reset(0, "forest", image)
        shown = play(walk, 3)
        walk.reset(0, "forest")
        redrawn = walk.redraw(noise(3)[None], Action(), 0.7)
        walks.append((shown, redrawn))
    assert same(walks[0][0], walks[1][0])
    assert torch.equal(walks[0][1], walks[1][1])


def test_the_batched_walk_is_painted_likewise() -> None:
    made = painted_world()
    walk = begun(made, seed=7, prompt="a foggy forest")
    play(walk, 1)
    model = Model(PAINTED, network(), autoencoder(), PAINTED.step_lists[0], painter=painter())
    words = word_ids("a foggy forest", PAINTED.network.text_buckets)[None]
    actions = torch.zeros(1, 1, PAINTED.network.action_size)
    drawn = walk_batch(model, None, actions, words, torch.Generator().manual_seed(7))
    torch.testing.assert_close(drawn[:, :1], walk.newest, rtol=0, atol=1e-5)
