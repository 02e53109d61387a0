"""A world that begins from a picture: its first frame is what the tokenizer keeps of it, and the walk goes on."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests.worlds.tiny_world import WORLD, autoencoder, network, rollout
from worldstream.worlds.core import Action, Frame
from worldstream.worlds.engines import EagerEngine
from worldstream.worlds.judge import judged_size
from worldstream.worlds.rollout import Rollout
from worldstream.worlds.weights import load_world


def picture(seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (WORLD.height_px, WORLD.width_px, 3), dtype=np.uint8)


def walk(moves: int, seed: int = 0, image: NDArray[np.uint8] | None = None, prompt: str = "forest") -> list[Frame]:
    played = rollout()
    played.reset(seed, prompt, image)
    return play(played, moves)


def play(played: Rollout, moves: int) -> list[Frame]:
    return [f for i in range(moves) for f in played.step(Action(forward_m=0.2, yaw_rad=0.03 * (i % 3)))]


def same(a: list[Frame], b: list[Frame]) -> bool:
    return len(a) == len(b) and all(np.array_equal(x.rgb, y.rgb) for x, y in zip(a, b, strict=True))


def test_the_first_frame_is_what_the_tokenizer_keeps_of_the_picture() -> None:
    frames = walk(1, image=picture())
    model = autoencoder()
    half = torch.nn.functional.avg_pool2d(torch.from_numpy(picture()).permute(2, 0, 1)[None].float() / 255, 2)
    expected = (model.decode(model.encode(half))[0].permute(1, 2, 0) * 255).numpy()
    assert frames[0].index == 0
    assert np.abs(frames[0].rgb - expected).max() <= 1.0
    assert expected.std() > 5


def test_it_is_history_and_anchor() -> None:
    played = rollout()
    played.reset(0, "forest", picture())
    play(played, 1)
    stack = played.snapshot().stack
    assert stack is not None
    assert all(torch.equal(stack[:, :, 0], stack[:, :, i]) for i in range(stack.shape[2]))
    play(played, 4)
    later = played.snapshot().stack
    assert later is not None
    assert torch.equal(later[:, :, 0], stack[:, :, 0])


def test_the_walk_goes_on_from_it_the_same_way_every_time() -> None:
    frames = walk(8, image=picture())
    assert same(walk(8, image=picture()), frames)
    for other in (walk(8), walk(8, image=picture(1)), walk(8, image=picture(), prompt="desert")):
        assert not np.array_equal(other[-1].rgb, frames[-1].rgb)
    assert same(walk(1, seed=5, image=picture()), frames[:1]), "the picture, not the seed, is the first frame"
    assert not same(walk(8, seed=5, image=picture()), frames)


@pytest.mark.parametrize("at", [0, 1, 4])
def test_branches_equal_uninterrupted_play(at: int) -> None:
    whole = walk(8, image=picture())
    played = rollout()
    played.reset(0, "forest", picture())
    first = [f for i in range(at) for f in played.step(Action(forward_m=0.2, yaw_rad=0.03 * (i % 3)))]
    state = played.snapshot()
    play(played, 5)
    other = rollout()  # never reset
    for branch in (played, other):
        branch.restore(state)
        rest = [f for i in range(at, 8) for f in branch.step(Action(forward_m=0.2, yaw_rad=0.03 * (i % 3)))]
        assert same(first + rest, whole)


def test_a_reset_forgets_the_picture() -> None:
    played = rollout()
    played.reset(0, "forest", picture())
    played.reset(0, "forest")
    assert same(play(played, 3), walk(3))


def test_another_size_is_refused_with_both_sizes() -> None:
    with pytest.raises(ValueError, match=f"{WORLD.width_px} x {WORLD.height_px} pixels, got 8 x 9"):
        rollout().reset(0, "", np.zeros((9, 8, 3), np.uint8))
    bare = Rollout(WORLD, network(), EagerEngine(network(), autoencoder().decoder, 1), WORLD.step_lists[0])
    with pytest.raises(ValueError, match="without an encoder"):
        bare.reset(0, "", picture())


def test_the_shipped_world_continues_its_own_picture() -> None:
    """Standing still, the next frames stay close to a picture that the world drew itself; a walk moves away from it."""
    world = load_world(engine="eager", threads=1)
    source = world.rollout()
    source.reset(3, "desert, noon, clear")
    image = next(iter(source.step(Action()))).rgb
    still, moving = [world.rollout() for _ in range(2)]
    still.reset(4, "desert, noon, clear", image)
    moving.reset(4, "desert, noon, clear", image)
    stood = [f.rgb for _ in range(6) for f in still.step(Action())][-1]
    turned = [f.rgb for _ in range(6) for f in moving.step(Action(yaw_rad=0.06))][-1]

    def away(rgb: NDArray[np.uint8]) -> float:
        pair = torch.from_numpy(np.stack([rgb, image])).permute(0, 3, 1, 2).float() / 255
        small = judged_size(pair)
        return float((small[0] - small[1]).square().mean().sqrt())

    assert away(stood) < 0.06
    assert away(turned) > 1.2 * away(stood)
