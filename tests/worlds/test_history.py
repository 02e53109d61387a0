"""What a new frame is given: an anchor that stays, the newest frames in order, noise on those alone."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from tests.worlds.tiny_world import NETWORK, WORLD
from worldstream.worlds.history import (
    COARSE,
    begun,
    detailed,
    doubt,
    from_frames,
    held_to,
    noised,
    pushed,
    strayed,
)

PLAIN = replace(NETWORK, anchor=False)


def frame(number: float) -> Tensor:
    return torch.full((2, 1, NETWORK.channels, NETWORK.rows, NETWORK.columns), number)


def numbers(given: Tensor) -> list[float]:
    assert (given.amax((-1, -2, -3)) == given.amin((-1, -2, -3))).all(), "whole frames"
    row: list[float] = given[0, 0, :, 0, 0, 0].tolist()
    return row


def test_an_anchor_stays_and_the_newest_come() -> None:
    given = begun(frame(1), NETWORK)
    assert numbers(given) == [1] * NETWORK.given
    for number in (2, 3, 4):
        given = pushed(given, frame(number), NETWORK)
    assert numbers(given) == [1, 3, 4]
    assert numbers(held_to(given, frame(9), NETWORK)) == [9, 3, 4]


def test_without_an_anchor_there_are_only_the_newest() -> None:
    given = begun(frame(1), PLAIN)
    for number in (2, 3, 4):
        given = pushed(given, frame(number), PLAIN)
    assert numbers(given) == [3, 4]
    assert numbers(held_to(given, frame(9), PLAIN)) == [3, 4]


def test_the_oldest_of_true_frames_is_the_anchor() -> None:
    frames = torch.cat([frame(n) for n in (1, 2, 3, 4)], 1)
    assert numbers(from_frames(frames, NETWORK)) == [1, 3, 4]
    assert numbers(from_frames(frames, PLAIN)) == [3, 4]


@pytest.mark.parametrize("config", [NETWORK, PLAIN], ids=["anchor", "plain"])
def test_noise_is_on_the_newest_alone(config: object) -> None:
    shapes = NETWORK if config is NETWORK else PLAIN
    given = begun(frame(0), shapes)
    out = noised(given, 0.5, torch.Generator().manual_seed(0), shapes)
    first = int(shapes.anchor)
    assert not out[:, :, :first].any()
    assert float(out[:, :, first:].std()) == pytest.approx(0.5, rel=0.15)
    assert not given.any(), "the history itself is not touched"


def test_a_frame_of_other_colours_is_doubted() -> None:
    """Each row by itself; the fine channels do not count, nor does where in its row something is."""
    given = begun(torch.randn(3, 1, NETWORK.channels, NETWORK.rows, NETWORK.columns), NETWORK)
    assert doubt(given, WORLD).tolist() == pytest.approx([WORLD.context_noise] * 3)
    assert not strayed(given, NETWORK).any()
    far = given.clone()
    far[1, 0, -1, 0, NETWORK.rows // 2 :] += 8.0  # the lower half of one row's newest picture
    assert strayed(far, NETWORK)[1] > WORLD.doubt_from
    expected = [WORLD.context_noise, WORLD.doubt_noise, WORLD.context_noise]
    assert doubt(far, WORLD).tolist() == pytest.approx(expected)
    moved = given.clone()
    moved[:, 0, -1] = moved[:, 0, -1].roll(2, -1)
    assert float(strayed(moved, NETWORK).max()) < 1e-5


def test_without_an_anchor_nothing_is_doubted() -> None:
    given = begun(frame(1), PLAIN)
    given[:, 0, -1] += 5
    assert not strayed(given, PLAIN).any()


def test_a_level_a_row() -> None:
    out = noised(begun(frame(0), NETWORK), torch.tensor([0.0, 0.5]), torch.Generator().manual_seed(0), NETWORK)
    assert not out[0].any()
    assert out[1].any()


def test_a_fading_walk_is_given_its_detail_back_within_limits() -> None:
    """Row 0 has the anchor's detail, row 1 has lost some, row 2 nearly all, row 3 has far too much."""
    shapes = replace(NETWORK, channels=6)
    world = replace(WORLD, network=shapes, detail_kept=1.0, detail_gain=(0.9, 1.2))
    anchor = torch.randn(4, 1, 6, shapes.rows, shapes.columns, generator=torch.Generator().manual_seed(0))
    given = begun(anchor, shapes)
    left = torch.tensor([1.0, 0.9, 0.1, 3.0]).view(4, 1, 1, 1, 1, 1)
    given[:, :, 1:, COARSE:] *= left
    out = detailed(given, world)
    gains = (out[:, 0, -1, COARSE:] / given[:, 0, -1, COARSE:]).mean((1, 2, 3))
    assert gains.tolist() == pytest.approx([1.0, 1 / 0.9, 1.2, 0.9], rel=1e-4)
    assert torch.equal(out[:, :, :, :COARSE], given[:, :, :, :COARSE]), "colour and brightness stay"
    assert torch.equal(out[:, :, 0], given[:, :, 0]), "the anchor stays"


def test_without_an_anchor_or_fine_channels_no_detail_is_asked_for() -> None:
    plain = begun(frame(1), PLAIN)
    assert torch.equal(detailed(plain, replace(WORLD, network=PLAIN)), plain)
    few = begun(frame(1), NETWORK)
    assert NETWORK.channels == COARSE
    assert torch.equal(detailed(few, WORLD), few)
