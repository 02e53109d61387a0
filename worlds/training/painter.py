"""The painter's stage: single frames from prompts, on the first views of many different worlds.

It goes on from the walking network, which has drawn first frames before: the blocks are the same, and what the painter
lacks (history, motion) is a constant there.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..conditioning import MISSING
from ..config import PainterConfig, WorldConfig
from ..network import WorldNetwork, fourier
from ..painter import Painter
from ..sampler import draw_noise, noisy
from ..weights import WorldCard, load_modules, save_painter
from .data import timed
from .export import training_facts
from .first_views import FIRST_SEED, VIEWS_PER_SHARD, Views, render_views
from .loop import Loop, LoopConfig, Metrics, launch

LEAST_LEVEL = 0.1  # below which an error weighs no more


@dataclass(frozen=True, slots=True)
class PainterTraining:
    """Everything a process needs to train the painter."""

    views: Path
    loop: LoopConfig
    world: WorldConfig
    start_from: dict[str, Tensor] | None = None  # of the walking network
    painter: PainterConfig = PainterConfig()
    batch: int = 32  # a process
    drop_text: float = 0.1
    pure: float = 0.1  # share of targets that begin as noise alone


def painting_levels(rows: int, pure: float, generator: torch.Generator) -> Tensor:
    """Noise levels `[rows]`: logit-normal shifted high, a share exactly 1, where painting starts."""
    sigma = torch.sigmoid(0.5 + 1.3 * draw_noise((rows,), generator))
    return torch.where(torch.rand(rows, generator=generator) < pure, 1.0, sigma)


def painter_loss(painter: Painter, clean: Tensor, words: Tensor, pure: float, generator: torch.Generator) -> Tensor:
    """Squared error of the clean latents `[B, C, h, w]`, over the noise level: structure is decided at high levels, and
    an error at a low one, which is small, is what people see as blur."""
    sigma = painting_levels(len(clean), pure, generator)
    z = noisy(clean, draw_noise(clean.shape, generator), sigma)
    error = (painter(z, sigma, *painter.text_embedding(words)) - clean).square().mean((1, 2, 3))
    return (error / sigma.clamp(min=LEAST_LEVEL)).mean()


@torch.no_grad()
def from_walker(network: WorldNetwork, painter: Painter) -> dict[str, Tensor]:
    """The painter's weights as the walking network has them: what it sees and is told without history is nothing, so
    that columns for it go, and what nothing embeds to joins the noise level's bias."""
    kept, own = network.state_dict(), painter.state_dict()
    token = own["patch_embedding.weight"].shape[1]
    weights = {k: kept.get(k, v) for k, v in own.items()}
    weights["patch_embedding.weight"] = kept["patch_embedding.weight"][:, :token]
    missing = network.context_embedding(fourier(torch.tensor(MISSING), 64))
    still = network.action_embedding(torch.zeros(network.config.action_size))
    weights["time_embedding.2.bias"] = kept["time_embedding.2.bias"] + missing + still
    for name in own:
        if name.endswith("cross_attn.o.bias") and name not in kept:  # its weight is zero: what is new has no effect yet
            weights[name] = torch.zeros_like(own[name])
    if network.config.reproject:  # the gate lets nothing through, in its share
        through = 1 - kept["gate.bias"].sigmoid()
        weights["head.weight"] = kept["head.weight"] * through[:, None]
        weights["head.bias"] = kept["head.bias"] * through
    return weights


def train_painter(rank: int, world: int, config: PainterTraining) -> None:
    """One process of the painter's stage."""
    torch.manual_seed(3)
    painter = Painter(config.painter.network(config.world.network))
    loop = Loop(config.loop, painter, rank, world)
    if not loop.resume() and config.start_from is not None:
        walker = WorldNetwork(config.world.network)
        walker.load_state_dict(config.start_from)
        painter.load_state_dict(from_walker(walker, painter))
        loop = Loop(config.loop, painter, rank, world)
    views = Views.open(config.views, config.world.network.text_buckets)
    rng = np.random.default_rng(rank + 1000 * loop.step)
    generator = torch.Generator().manual_seed(rank + loop.step)

    def loss_of() -> tuple[Tensor, Metrics]:
        latents, words = views.draw(rng, config.batch, config.drop_text)
        return painter_loss(painter, latents, words, config.pure, generator), {}

    loop.run(loss_of)


def make_painter(runs: Path, card: WorldCard, minutes: float, processes: int, views: int) -> WorldCard:
    """`worldstream train painter`: render what is missing, train, and give the world its painter."""
    config, start = card.config, load_modules(card)
    folder = runs / "views"
    timed("first views", render_views(folder, range(-(-views // VIEWS_PER_SHARD)), config, start[1]), views)
    loop = LoopConfig(runs, "painter", minutes, learning_rate=1e-3, matrix_rate=0.01, decay_from=0.5, warmup_steps=50)
    shapes = config.painter or PainterConfig()
    training = PainterTraining(folder, loop, config, start[0].state_dict(), shapes)
    launch(train_painter, processes, (training,))
    trained = torch.load(runs / "painter.pt", map_location="cpu", weights_only=True)
    facts = {
        "first_views": views, "seeds_from": FIRST_SEED, "updates": trained["step"],
        "minutes": round(trained["elapsed_s"] / 60, 1), "views_an_update": processes * training.batch,
        "machine": training_facts(runs)["machine"],
    }  # fmt: skip
    return save_painter(card, shapes, trained["ema"], facts)
