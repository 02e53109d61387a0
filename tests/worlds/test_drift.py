"""The drift monitor: true walks leave it calm, worn ones do not; verdicts do not flicker."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from worldstream.worlds.autoencoder import Autoencoder
from worldstream.worlds.config import DriftConfig
from worldstream.worlds.drift import FINE, LOST, STRAYING, Gauge, judged, load_gauge, looked, whitening_of
from worldstream.worlds.judge import Judge, judged_size
from worldstream.worlds.procedural.episodes import TEST_SEED, episode
from worldstream.worlds.training.tokenizer import to_tensor
from worldstream.worlds.weights import SHIPPED, find, load_modules

CONFIG = DriftConfig()


@pytest.fixture(scope="module")
def tokenizer() -> Autoencoder:
    return load_modules(find(None))[1]


@pytest.fixture(scope="module")
def gauge(tokenizer: Autoencoder) -> Gauge:
    return load_gauge(SHIPPED, tokenizer)


@pytest.fixture(scope="module")
def walk(tokenizer: Autoencoder) -> Tensor:
    """Latents of a true walk of two seconds."""
    return tokenizer.encode(to_tensor(episode(TEST_SEED + 650_000, 48, 128, 80, theme=0, changes=False).rgb))


def distances(gauge: Gauge, frames: Tensor, config: DriftConfig = CONFIG) -> list[float]:
    sight, found = None, []
    for newest in frames:
        sight = looked(sight, gauge, frames[:1], newest[None], config)
        found.append(float(sight.distance))
    return found


def test_the_small_picture_is_the_picture(gauge: Gauge, tokenizer: Autoencoder, walk: Tensor) -> None:
    small, whole = gauge.picture(walk[:4]), judged_size(tokenizer.decode(walk[:4]))
    assert small.shape == whole.shape
    assert (small - whole).abs().mean() < 0.03


def test_a_true_walk_is_fine(gauge: Gauge, walk: Tensor) -> None:
    found = distances(gauge, walk[::4])
    assert found[0] == 0.0
    assert max(found) < CONFIG.straying


WEAR: dict[str, Callable[[Tensor], Tensor]] = {
    "melts into stripes": lambda z: z.mean(-1, keepdim=True).expand_as(z),
    "saturates": lambda z: 2.5 * z,
    "goes dark": lambda z: torch.cat([z[:, :1] * 0 - 3.0, z[:, 1:] * 0.1], 1),
}


@pytest.mark.parametrize("how", WEAR)
def test_a_walk_that_is_spoilt_strays(gauge: Gauge, walk: Tensor, how: str) -> None:
    spoilt = torch.cat([walk[:1], WEAR[how](walk[:1]).repeat(24, 1, 1, 1)])
    found = distances(gauge, spoilt)
    assert found[-1] > CONFIG.straying
    assert found[1] < found[6] < found[-1], "one look is not enough: it takes two seconds to believe it"


def test_each_walk_of_a_batch_is_judged_by_itself(gauge: Gauge, walk: Tensor) -> None:
    striped = WEAR["melts into stripes"](walk)
    both, alone = None, None
    for i in range(0, 48, 8):
        newest = torch.stack([walk[i], striped[i]])
        both = looked(both, gauge, walk[:1].expand(2, -1, -1, -1), newest, CONFIG)
        alone = looked(alone, gauge, walk[:1], walk[i : i + 1], CONFIG)
    assert both is not None
    assert alone is not None
    torch.testing.assert_close(both.distance[:1], alone.distance, rtol=1e-3, atol=1e-4)
    assert both.distance[1] > 2 * both.distance[0]


def test_whitening_gives_unit_spread() -> None:
    generator = torch.Generator().manual_seed(0)
    mixing = torch.randn(6, 6, generator=generator)
    differences = torch.randn(20_000, 6, generator=generator) @ mixing
    white = differences @ whitening_of(differences, shrink=0.0)
    torch.testing.assert_close(white.T @ white / len(white), torch.eye(6), atol=1e-3, rtol=0)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.floats(0.0, 3.0), min_size=1, max_size=40))
def test_verdicts_come_at_their_threshold_and_go_below_it(path: list[float]) -> None:
    verdict = torch.tensor([FINE])
    for distance in path:
        before, verdict = int(verdict), judged(verdict, torch.tensor([distance], dtype=torch.float64), CONFIG)
        now = int(verdict)
        if now > before:
            assert distance > (CONFIG.lost if now == LOST else CONFIG.straying)
        if now < before:
            assert distance <= CONFIG.calm * (CONFIG.lost if before == LOST else CONFIG.straying)
        if now < STRAYING:
            assert distance <= CONFIG.straying
        if now < LOST:
            assert distance <= CONFIG.lost


def test_a_missing_file_is_named(tmp_path, tokenizer: Autoencoder) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=r"drift\.safetensors is missing.*worldstream train drift"):
        load_gauge(tmp_path, tokenizer)


def test_reading_does_not_depend_on_the_neighbours(tokenizer: Autoencoder, walk: Tensor) -> None:
    torch.manual_seed(0)
    raw = Gauge(Judge().eval().requires_grad_(False), tokenizer)
    torch.testing.assert_close(raw.readings(walk[:3])[1:2], raw.readings(walk[1:2]), rtol=1e-4, atol=1e-5)
