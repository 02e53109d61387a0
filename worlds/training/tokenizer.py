"""Stage 1: the tokenizer, on rendered stills. First its linear maps are fitted, which takes seconds and fixes the
latents; then the decoder's correction is trained.

Half-size pictures in, full-size pictures out. Loss: L1, plus L1 of the gradients at two scales (edges are what people
see). Noise on the latent makes the decoder forgive the dynamics.
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
from ..sampler import draw_noise
from .loop import Loop, LoopConfig, Metrics
from .sheets import write_sheet


@dataclass(frozen=True, slots=True)
class DecoderConfig:
    """Everything a process needs to train the decoder of a fitted tokenizer."""

    data: Path
    test: Path
    loop: LoopConfig
    tokenizer: Path  # the fitted tokenizer's checkpoint
    model: AutoencoderConfig = AutoencoderConfig()
    batch: int = 6  # a process
    noise: float = 0.12  # largest standard deviation added to the latent


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


def fit_tokenizer(data: Path, out: Path, config: AutoencoderConfig) -> Autoencoder:
    """Fit the linear maps on a few hundred stills and write the checkpoint that every later stage reads."""
    model = Autoencoder(config)
    model.fit_linear(to_tensor(np.concatenate([s[:64] for s in stills(data)[:16]])))
    torch.save({"ema": model.state_dict()}, out)
    return model.eval()


def train_decoder(rank: int, world: int, config: DecoderConfig) -> None:
    """One process of the decoder's training: encoder and linear map stay as they were fitted."""
    torch.manual_seed(1)
    model = Autoencoder(config.model).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    model.to(config.loop.device)
    model.load_state_dict(torch.load(config.tokenizer, weights_only=True)["ema"])
    model.encoder.requires_grad_(False)
    model.decoder.linear.requires_grad_(False)  # Adam's first steps would undo the fit
    shards = stills(config.data)
    loop = Loop(config.loop, model, rank, world)
    loop.resume()
    rng = np.random.default_rng(rank + 1000 * loop.step)
    generator = torch.Generator(config.loop.device).manual_seed(rank + loop.step)

    def loss_of() -> tuple[Tensor, Metrics]:
        shard = shards[rng.integers(len(shards))]
        rows = shard[np.sort(rng.choice(len(shard), config.batch, replace=False))]
        if rng.random() < 0.5:
            rows = rows[:, :, ::-1]
        full = to_tensor(rows).to(config.loop.device).contiguous(memory_format=torch.channels_last)
        latents = model.encode(F.avg_pool2d(full, 2))
        level = torch.rand(len(latents), 1, 1, 1, generator=generator, device=generator.device) * config.noise
        drawn = model.decoder(latents + level * draw_noise(latents.shape, generator))
        return picture_loss(drawn, full), {"psnr": float(psnr(drawn.detach().clamp(0, 1), full))}

    def watch() -> Metrics:
        return evaluate(_shadow(model, loop), config.test, config.loop.folder / "decoder.png")

    loop.run(loss_of, watch, 240.0)
    if rank == 0:
        print("decoder, unseen worlds:", watch())


def _shadow(model: Autoencoder, loop: Loop) -> Autoencoder:
    copy = Autoencoder(model.config)
    copy.load_state_dict(loop.averaged())  # on the CPU, where pictures are measured
    return copy.eval()


@torch.no_grad()
def evaluate(model: Autoencoder, test: Path, sheet: Path | None = None, count: int = 192) -> Metrics:
    """PSNR (dB) and edge ratio on unseen worlds; writes truth over reconstruction to `sheet`."""
    full = to_tensor(stills(test)[0][:count])
    drawn = torch.cat([model.decode(model.encode(F.avg_pool2d(x, 2))) for x in full.split(32)])
    if sheet is not None:
        write_sheet(sheet, [full[:48:4], drawn[:48:4]], columns=6)
    return {"test_psnr": float(psnr(drawn, full)), "test_edges": edge_ratio(drawn, full)}
