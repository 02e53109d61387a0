"""Histories that a long walk has worn: poorer, but in their place."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from worldstream.worlds.history import COARSE
from worldstream.worlds.training.wear import faded, worn


def test_wear_takes_detail_but_not_places() -> None:
    """A worn row still lines up with its truth: no shift, one change for all frames of a clip."""
    generator = torch.Generator().manual_seed(1)
    history = torch.randn(256, 1, 3, 4, 6, generator=generator).repeat(1, 3, 1, 1, 1)
    out = worn(history, generator)
    assert torch.equal(out[:, 0], out[:, 2])
    alike = F.cosine_similarity(out.flatten(1), history.flatten(1), dim=-1)
    assert 0.6 < float(alike.mean()) < 0.99


def test_fading_takes_the_finest_channels_most() -> None:
    history = torch.ones(512, 2, 6, 3, 3)
    out = faded(history, 0.5, torch.Generator().manual_seed(0))
    assert torch.equal(out[:, :, :COARSE], history[:, :, :COARSE]), "brightness and colour stay"
    assert torch.equal(out[:, 0], out[:, 1]), "one change for all frames of a clip"
    finest = out[:, 0, 5, 0, 0]
    assert 0.4 < float((finest == 1).float().mean()) < 0.6, "about half of the rows"
    assert 0.49 < float(finest.min()) < 0.55
    assert (out[:, 0, 3, 0, 0] >= finest).all()
