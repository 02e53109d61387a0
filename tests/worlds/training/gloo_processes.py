"""Run by test_loop.py as a program of its own: processes train on a share of each batch and write what they got."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import Tensor, nn

from worldstream.worlds.training.loop import Loop, LoopConfig, Metrics, launch

STEPS = 4


class Model(nn.Module):
    """Three matrices for Muon, which the processes share out between them, and a head for AdamW."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.blocks = nn.Sequential(*(nn.Linear(5, 5) for _ in range(3)))
        self.head = nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(self.blocks(x)))


def joint_batch(step: int) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(100 + step)
    return torch.randn(8, 5, generator=g), torch.randn(8, 2, generator=g)


def train(rank: int, world: int, folder: Path) -> None:
    """STEPS steps of the shared loop; rank r sees the r-th share of each joint batch."""
    config = LoopConfig(folder, f"of{world}", 60.0, learning_rate=0.01, matrix_rate=0.02, warmup_steps=1)
    loop = Loop(config, Model(), rank, world)

    def loss_of() -> tuple[Tensor, Metrics]:
        x, y = (t.chunk(world)[rank] for t in joint_batch(loop.step))
        if loop.step + 1 == STEPS:
            loop.elapsed_s += 3600.0  # the minutes are spent
        return (loop.model(x) - y).square().mean(), {}

    loop.run(loss_of)
    kept = {"weights": loop.model.state_dict(), "step": loop.step, "elapsed_s": loop.elapsed_s}
    torch.save(kept, folder / f"{world}-{rank}.pt")


if __name__ == "__main__":
    launch(train, int(sys.argv[2]), (Path(sys.argv[1]),))
