"""The painter's training: it begins where the walking network stands, learns, and becomes part of a world."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.worlds.test_painter import SMALL, noise
from tests.worlds.tiny_world import NETWORK, WORLD, autoencoder, awake, network
from worldstream.worlds.conditioning import word_ids
from worldstream.worlds.kv_cache import KVCache
from worldstream.worlds.painter import Painter
from worldstream.worlds.reanchor import from_prompt
from worldstream.worlds.training import first_views, painter
from worldstream.worlds.training.painter import from_walker, make_painter, painting_levels
from worldstream.worlds.weights import load_world, save_world

SAME = replace(SMALL, width=NETWORK.width, blocks=NETWORK.blocks, heads=NETWORK.heads, ffn=NETWORK.ffn)


def test_it_begins_where_the_walking_network_stands() -> None:
    """What the other network draws from the prompt alone, where its gate is one number: the painter folds it in."""
    walker = network()
    torch.nn.init.zeros_(walker.gate.weight)
    made = Painter(SAME.network(NETWORK)).eval()
    made.load_state_dict(from_walker(walker, made))
    words = word_ids("a desert", NETWORK.text_buckets)[None]
    asked = walker.text_embedding(words)
    blank = from_prompt(
        lambda inputs: walker.step(*inputs), replace(WORLD, first_guidance=1.0), KVCache(walker), asked, asked
    )
    with torch.no_grad():
        expected = blank(noise()[None], torch.tensor([[0.8]]))[0]
        drawn = made(noise(), torch.tensor([0.8]), *made.text_embedding(words))
    torch.testing.assert_close(drawn, expected, rtol=1e-4, atol=1e-5)


def test_levels_are_high_and_a_share_is_noise_alone() -> None:
    levels = painting_levels(20_000, 0.1, torch.Generator().manual_seed(0))
    assert float((levels == 1.0).float().mean()) == pytest.approx(0.1, abs=0.01)
    assert bool(((levels > 0) & (levels <= 1)).all())
    assert float(levels.median()) > 0.55


def test_the_loss_is_the_error_over_the_level(monkeypatch: pytest.MonkeyPatch) -> None:
    model = awake(Painter(SMALL.network(NETWORK)))
    monkeypatch.setattr(model, "forward", lambda z, *_: torch.zeros_like(z))
    monkeypatch.setattr(painter, "painting_levels", lambda *_: torch.tensor([1.0, 0.5, 0.02]))
    clean = torch.full((3, 3, 4, 6), 2.0)
    words = torch.zeros(3, 24, 8, dtype=torch.long)
    loss = painter.painter_loss(model, clean, words, 0.0, torch.Generator())
    assert float(loss) == pytest.approx((4 / 1.0 + 4 / 0.5 + 4 / painter.LEAST_LEVEL) / 3)


def test_from_views_to_a_world_that_paints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole stage on a tiny world: views, some updates, a file and a card; again, and nothing is done twice."""
    monkeypatch.setattr(first_views, "VIEWS_PER_SHARD", 8)
    monkeypatch.setattr(painter, "VIEWS_PER_SHARD", 8)
    monkeypatch.setattr(painter, "PainterConfig", lambda: SAME)
    small = WORLD
    modules = {"network": network(small.network).state_dict(), "autoencoder": autoencoder().state_dict()}
    card = save_world(tmp_path / "worlds", small, modules, {"themes": ["forest"]})
    before = load_world("test", tmp_path, "eager", threads=1)
    made = make_painter(tmp_path / "runs", card, 0.01, 1, 16)
    assert made.config.painter == SAME
    facts = made.facts["painter"]
    assert facts["first_views"] == 16
    assert facts["updates"] > 0
    assert made.facts["themes"] == ["forest"]
    after = load_world("test", tmp_path, "eager", threads=1)
    assert after.painter is not None
    assert after.sha256 != before.sha256
    assert after.without_painter().sha256 == before.sha256
    assert float(after.painter.drawn("forest", noise()).std()) > 0.05
    stamp = (tmp_path / "runs/views/0001.npz").stat().st_mtime_ns
    again = make_painter(tmp_path / "runs", card, 0.01, 1, 16)
    assert (tmp_path / "runs/views/0001.npz").stat().st_mtime_ns == stamp
    assert again.painter_sha256 == made.painter_sha256, "its minutes are spent"


def test_it_learns() -> None:
    """One view a word: after some updates the pictures of the two words differ as the views do."""
    latents = torch.stack([torch.full((3, 4, 6), 1.5), torch.full((3, 4, 6), -1.5)])
    words = torch.stack([word_ids(text, NETWORK.text_buckets) for text in ("forest", "desert")])
    torch.manual_seed(0)
    model, generator = Painter(SMALL.network(NETWORK)), torch.Generator().manual_seed(0)
    optimiser = torch.optim.AdamW(model.parameters(), 0.01)
    for _ in range(40):
        optimiser.zero_grad()
        painter.painter_loss(model, latents, words, 0.2, generator).backward()
        optimiser.step()
    with torch.no_grad():
        drawn = model.eval()(noise(rows=2), torch.ones(2), *model.text_embedding(words))
    assert float(drawn[0].mean()) > float(drawn[1].mean()) + 1.0
