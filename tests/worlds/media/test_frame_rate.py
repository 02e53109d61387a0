"""Other frame rates: exact lengths, motion instead of blending, cuts that stay cuts."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.worlds.media.films import gradient
from worldstream.worlds.media.frame_rate import RATES, between, frames_at, measured, rate_of, retimed
from worldstream.worlds.media.limits import DeliveryError
from worldstream.worlds.procedural.episodes import episode

Rgb = NDArray[np.uint8]


def psnr_db(made: Rgb, truth: Rgb) -> float:
    error = np.mean(np.square(made.astype(float) - truth))
    return float(10 * np.log10(255**2 / max(float(error), 1e-9)))


def test_every_rate_of_the_contract() -> None:
    assert list(RATES) == ["23_98", "24", "25", "29_97", "30", "48", "50", "59_94", "60", "120"]
    assert (rate_of("23_98"), rate_of("59_94")) == (Fraction(24000, 1001), Fraction(60000, 1001))
    with pytest.raises(DeliveryError, match="no frame rate '29'; there are 23_98"):
        rate_of("29")


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 40), st.sampled_from(list(RATES.values())), st.sampled_from(list(RATES.values())))
def test_the_duration_is_kept_to_a_frame(count: int, fps: Fraction, target: Fraction) -> None:
    tiny = (np.full((4, 4, 3), index, np.uint8) for index in range(count))
    made = sum(1 for _ in retimed(tiny, fps, target))
    assert made == frames_at(count, fps, target)
    assert made == 1 or abs(made / target - count / fps) <= 1 / target / 2


def test_own_frames_stay_as_they_are() -> None:
    frames = list(gradient(5))
    made = list(retimed(frames, Fraction(24), Fraction(48)))
    assert len(made) == 10
    for index, frame in enumerate(frames):
        assert np.array_equal(made[2 * index], frame)
    assert np.array_equal(made[9], frames[4])  # after the last frame nothing moves
    assert [id(frame) for frame in retimed(frames, Fraction(24), Fraction(24))] == [id(frame) for frame in frames]
    assert len(list(retimed(frames[:4], Fraction(48), Fraction(24)))) == 2


def test_frames_are_taken_one_by_one() -> None:
    taken: list[int] = []

    def source() -> Iterator[Rgb]:
        for index, frame in enumerate(gradient(50)):
            taken.append(index)
            yield frame

    made = retimed(source(), Fraction(24), Fraction(48))
    next(made)
    assert len(taken) == 2


def moving(shift_px: float) -> Rgb:
    """A textured square on a textured ground, the square moved to the right."""
    y, x = np.mgrid[:96, :128].astype(np.float64)
    ground = 110 + 40 * np.sin(x / 5) * np.cos(y / 6)
    inside = (np.abs(x - 45 - shift_px) < 18) & (np.abs(y - 48) < 18)
    square = 150 + 70 * np.sin((x - shift_px) / 3) * np.sin(y / 4)
    return np.repeat(np.where(inside, square, ground)[..., None], 3, -1).astype(np.uint8)


@pytest.mark.parametrize("part", [0.25, 0.5, 0.8])
def test_things_move_and_what_they_cover_does_not_shine_through(part: float) -> None:
    before, after, truth = moving(0), moving(10), moving(10 * part)
    made = between(measured(before, after), part)
    blended = np.rint((1 - part) * before.astype(float) + part * after).astype(np.uint8)
    assert psnr_db(made, truth) > psnr_db(blended, truth) + 4
    edge = np.s_[35:62, 60:78]  # where the square's right edge passes
    assert psnr_db(made[edge], truth[edge]) > psnr_db(blended[edge], truth[edge]) + 2


def test_a_cut_is_not_blended() -> None:
    before, after = moving(0), 255 - np.ascontiguousarray(moving(0)[::-1, ::-1]) // 2
    pair = measured(before, after)
    assert pair.cut
    assert np.array_equal(between(pair, 0.4), before)
    assert np.array_equal(between(pair, 0.6), after)
    assert not measured(before, moving(12)).cut
    dark, other = (episode(seed, 2, 192, 112, changes=False).rgb[0] // 6 for seed in (9_000_300, 9_000_301))
    assert measured(dark, other).cut


def test_it_is_nearer_to_true_renders_than_blending() -> None:
    gains = []
    for seed in (9_000_001, 9_000_003, 9_000_008, 9_000_010):
        truth = episode(seed, 5, 192, 112, changes=False).rgb
        made = list(retimed(truth[::2], Fraction(12), Fraction(24)))
        for index in (1, 3):
            blended = np.rint((truth[index - 1].astype(float) + truth[index + 1]) / 2).astype(np.uint8)
            gains.append(psnr_db(made[index], truth[index]) - psnr_db(blended, truth[index]))
    assert np.mean(gains) > 1.5  # decibels
    assert min(gains) > -1.0  # in fine grass the motion is sometimes lost, and with it a little
