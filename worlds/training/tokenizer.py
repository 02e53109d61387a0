"""Stage 1: the tokenizer, on rendered stills.

Half-size pictures in, full-size pictures out. Loss: L1, plus L1 of the gradients at two scales (edges are what people
see). Noise on the latent makes the decoder forgive the dynamics; a quarter of the rows is shifted and zoomed in latent
and pixel space together (EQ-VAE, 2502.09509), which keeps the latent smooth enough to predict.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ..autoencoder import Autoencoder, AutoencoderConfig
from .loop import Loop, LoopConfig, Metrics
from .sheets import write_sheet


@dataclass(frozen=True, slots=True)
class TokenizerConfig:
    """Everything a process needs to train the tokenizer."""

    data: Path
    test: Path
    loop: LoopConfig
    model: AutoencoderConfig = AutoencoderConfig()
    batch: int = 3  # a process
    noise: float = 0.2  # largest standard deviation added to the latent
    moved_share: float = 0.25
    decoder_only_from: Path | None = None  # a finished tokenizer: keep its encoder, train its decoder on


def stills(folder: Path) -> list[NDArray[np.uint8]]:
    """The finished shards. Raises ValueError when there is none."""
    paths = sorted(p for p in (folder / "stills").glob("*.npy") if ".part" not in p.name)
    if not paths:
        raise ValueError(f"no stills in {folder}: run `worldstream train data` first")
    return [np.load(p, mmap_mode="r") for p in paths]


def gradients(x: Tensor) -> tuple[Tensor, Tensor]:
    """Differences to the right and to the lower neighbour."""
    return x[..., 1:] - x[..., :-1], x[..., 1:, :] - x[..., :-1, :]


def picture_loss(drawn: Tensor, truth: Tensor) -> Tensor:
    """L1 + gradient L1 at full and at half size."""
    loss = F.l1_loss(drawn, truth)
    for _ in range(2):
        for a, b in zip(gradients(drawn), gradients(truth), strict=True):
            loss = loss + F.l1_loss(a, b)
        drawn, truth = F.avg_pool2d(drawn, 2), F.avg_pool2d(truth, 2)
    return loss


def moved(latents: Tensor, pictures: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """The same random zoom (1 to 1.8) and shift of latents and pictures."""
    n = len(latents)
    if n == 0:  # a small batch's share; torch has no empty grids
        return latents, pictures
    scale = 1.0 / (1.0 + 0.8 * torch.rand(n, generator=generator))
    shift = (torch.rand(n, 2, generator=generator) * 2 - 1) * (1 - scale)[:, None]
    theta = torch.zeros(n, 2, 3)
    theta[:, 0, 0] = theta[:, 1, 1] = scale
    theta[:, :, 2] = shift
    out = []
    for x in (latents, pictures):
        grid = F.affine_grid(theta, list(x.shape), align_corners=False)
        out.append(F.grid_sample(x, grid, mode="bilinear", padding_mode="border", align_corners=False))
    return out[0], out[1]


def psnr(a: Tensor, b: Tensor) -> Tensor:
    """Mean PSNR in dB of pictures in [0, 1], `[N, 3, H, W]`; capped at 60 dB."""
    return (-10 * torch.log10((a - b).square().mean((1, 2, 3)).clamp(min=1e-6))).mean()


def edge_ratio(drawn: Tensor, truth: Tensor) -> float:
    """Gradient energy of the drawn pictures relative to the true ones; 1 is as sharp as the truth."""
    energy = [sum(float(g.abs().mean()) for g in gradients(x)) for x in (drawn, truth)]
    return energy[0] / energy[1]


def to_tensor(pictures: NDArray[np.uint8]) -> Tensor:
    """`uint8[N, H, W, 3]` to float `[N, 3, H, W]` in [0, 1]."""
    return torch.from_numpy(np.array(pictures)).permute(0, 3, 1, 2).float() / 255


def train_tokenizer(rank: int, world: int, config: TokenizerConfig) -> None:
    """One process of the tokenizer stage."""
    torch.manual_seed(1)
    model = Autoencoder(config.model).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    shards = stills(config.data)
    model.fit_linear(to_tensor(np.concatenate([s[:64] for s in shards[:8]])))
    fixed = config.decoder_only_from is not None
    if config.decoder_only_from is not None:
        model.load_state_dict(torch.load(config.decoder_only_from, weights_only=True)["ema"])
        model.encoder.requires_grad_(False)
        model.decoder.linear.requires_grad_(False)  # Adam's first steps would undo the fit
    loop = Loop(config.loop, model, rank, world)
    loop.resume()
    rng = np.random.default_rng(rank + 1000 * loop.step)
    generator = torch.Generator().manual_seed(rank + loop.step)

    def loss_of() -> tuple[Tensor, Metrics]:
        shard = shards[rng.integers(len(shards))]
        rows = shard[np.sort(rng.choice(len(shard), config.batch, replace=False))]
        if rng.random() < 0.5:
            rows = rows[:, :, ::-1]
        full = to_tensor(rows).contiguous(memory_format=torch.channels_last)
        half = F.avg_pool2d(full, 2)
        latents = model.encode(half) if fixed else model.encode_for_training(half)
        n = round(config.moved_share * config.batch)
        if n:
            shifted, target = moved(latents[:n], full[:n], generator)
            latents, full = torch.cat([shifted, latents[n:]]), torch.cat([target, full[n:]])
        level = torch.rand(len(latents), 1, 1, 1, generator=generator) * config.noise
        drawn = model.decoder(latents + level * torch.randn(latents.shape, generator=generator))
        loss = picture_loss(drawn, full) + 1e-3 * latents.square().mean()  # the scale must not run away
        return loss, {"psnr": float(psnr(drawn[n:].detach().clamp(0, 1), full[n:]))}

    def watch() -> Metrics:
        return evaluate(_shadow(model, loop), config.test, config.loop.folder / "tokenizer.png")

    loop.run(loss_of, watch, 240.0)
    if rank == 0:
        print("tokenizer, unseen worlds:", watch())


def _shadow(model: Autoencoder, loop: Loop) -> Autoencoder:
    copy = Autoencoder(model.config)
    copy.load_state_dict(loop.averaged())
    return copy.eval()


@torch.no_grad()
def evaluate(model: Autoencoder, test: Path, sheet: Path | None = None, count: int = 192) -> Metrics:
    """PSNR (dB) and edge ratio on unseen worlds; writes truth over reconstruction to `sheet`."""
    full = to_tensor(stills(test)[0][:count])
    drawn = torch.cat([model.decode(model.encode(F.avg_pool2d(x, 2))) for x in full.split(32)])
    if sheet is not None:
        write_sheet(sheet, [full[:48:4], drawn[:48:4]], columns=6)
    return {"test_psnr": float(psnr(drawn, full)), "test_edges": edge_ratio(drawn, full)}
