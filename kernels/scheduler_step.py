"""One step of the sampler: the clean estimate from a velocity, and that made noisy again for the next step."""

from __future__ import annotations

from ctypes import c_longlong

import torch
from torch import Tensor

from . import build, reference
from .launch import Kernel, Launch, expect, pointer


def scheduler_step(
    noisy: Tensor, velocity: Tensor, levels: Tensor, noise: Tensor | None = None
) -> tuple[Tensor, Tensor | None]:
    """(clean, next) of latents, velocity and noise of one shape and type, float32 or bf16.

    clean = noisy - levels[0] * velocity; next = (1 - levels[1]) * clean + levels[1] * noise, None without noise.
    `levels` float32 on the device, `[2]` or, for the last step, at least `[1]`: a slice of the block's levels.
    """
    clean = torch.empty_like(noisy)
    following = None if noise is None else torch.empty_like(noisy)
    if noisy.is_cuda and build.launched(lambda: plan(noisy, velocity, levels, noise, clean, following), noisy.device):
        return clean, following
    return reference.scheduler_step(noisy, velocity, levels, noise)


def plan(
    noisy: Tensor, velocity: Tensor, levels: Tensor, noise: Tensor | None, clean: Tensor, following: Tensor | None
) -> Launch:
    """The launch. Raises ValueError on tensors that the kernel is not made for."""
    if noisy.dtype not in (torch.float32, torch.bfloat16) or noisy.numel() % 8:
        raise ValueError(f"latents must be float32 or bfloat16, a multiple of 8 of them; got {noisy.dtype}")
    if levels.dtype != torch.float32 or levels.dim() != 1 or levels.shape[0] < (1 if noise is None else 2):
        raise ValueError(f"levels must be float32 [2], or [1] without noise, got {levels.dtype} {tuple(levels.shape)}")
    named = {"noisy": noisy, "velocity": velocity, "noise": noise, "clean": clean, "following": following}
    for name, tensor in named.items():
        if tensor is not None:
            expect(name, tensor, noisy.dtype, tuple(noisy.shape))
    if (noise is None) != (following is None) or not levels.is_contiguous():
        raise ValueError("noise and a place for the next latents go together, and levels lie side by side")
    flags = (("LATENT_BF16", int(noisy.dtype == torch.bfloat16)), ("RENOISE", int(noise is not None)))
    return Launch(
        Kernel("scheduler_step", "scheduler_step", flags),
        (-(-noisy.numel() // (8 * 256)), 1),
        256,
        (
            *(pointer(t) for t in (noisy, velocity, noise, levels)),
            c_longlong(noisy.numel()),
            pointer(clean),
            pointer(following),
        ),
    )
