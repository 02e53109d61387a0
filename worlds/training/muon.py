"""Muon (Jordan et al., 2024): momentum whose matrix updates are orthogonalised by Newton-Schulz steps.

torch ships one that works in bfloat16, which a CPU without it emulates: on such machines the update cost twice the
gradient. Here it runs in float32 on a CPU, and the processes of a run share the matrices out between them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of the quintic iteration, from the reference implementation's write-up


def orthogonalised(matrix: Tensor, iterations: int = 5) -> Tensor:
    """A matrix with the same singular vectors and singular values near 1, `[rows, columns]`."""
    a, b, c = COEFFICIENTS
    x = matrix.bfloat16() if matrix.is_cuda else matrix
    x = x / (x.norm() + 1e-7)
    flipped = x.shape[0] > x.shape[1]
    x = x.T if flipped else x
    for _ in range(iterations):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return (x.T if flipped else x).to(matrix.dtype)


class Muon(torch.optim.Optimizer):
    """For two-dimensional weights inside the blocks. The step is scaled by sqrt(max(1, rows / columns))."""

    def __init__(
        self, parameters: Iterable[nn.Parameter], lr: float, momentum: float = 0.95, weight_decay: float = 0.0
    ) -> None:
        super().__init__(list(parameters), {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One update from the gradients, which are the same in every process."""
        assert closure is None
        for group in self.param_groups:
            matrices = [p for p in group["params"] if p.grad is not None]
            for p, update in zip(matrices, self._updates(matrices, group["momentum"]), strict=True):
                p.mul_(1 - group["lr"] * group["weight_decay"])
                p.add_(update, alpha=-group["lr"] * max(1.0, p.shape[0] / p.shape[1]) ** 0.5)

    def _updates(self, matrices: list[nn.Parameter], momentum: float) -> list[Tensor]:
        rank, world = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
        updates = []
        for i, p in enumerate(matrices):
            state: dict[str, Any] = self.state[p]
            velocity = state.setdefault("velocity", torch.zeros_like(p))
            assert p.grad is not None
            velocity.lerp_(p.grad, 1 - momentum)
            ahead = p.grad.lerp(velocity, momentum)
            updates.append(orthogonalised(ahead) if i % world == rank else torch.zeros_like(p))
        if world > 1:
            flat = torch.cat([u.flatten() for u in updates])
            dist.all_reduce(flat)
            updates = [u.view_as(p) for u, p in zip(flat.split([p.numel() for p in matrices]), matrices, strict=True)]
        return updates
