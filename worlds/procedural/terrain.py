"""Hashes, waves and the height field: scalar functions that the CPU and the CUDA kernels share.

`register_jitable` functions are plain Python until a kernel compiles them, so one source serves numba on the CPU,
numba-cuda on a GPU, and the interpreter (slowly) in tests.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, prange
from numba.extending import overload, register_jitable


def floor(t: float) -> float:
    """The whole number below, still a float."""
    return float(np.floor(t))


@overload(floor, target="cpu")  # cuda.py has the other one: CUDA knows no np.floor
def _floor(t: Any) -> Any:
    def floored(t: Any) -> Any:  # numba compares this line with the one above
        return np.floor(t)

    return floored


@register_jitable
def hash2(ix: int, iz: int, seed: int) -> int:
    """32 well-mixed bits of a cell; integer arithmetic only, so every machine agrees."""
    h = (ix * 374761393 + iz * 668265263 + seed * 362437 + 974711) & 0xFFFFFFFF
    h ^= h >> 15
    h = (h * 0x5BCA6B35) & 0xFFFFFFFF
    h ^= h >> 13
    h = (h * 0x42B2AE35) & 0xFFFFFFFF
    return h ^ (h >> 16)


@register_jitable
def wave(t: float) -> float:
    """A sine-like wave of period 1 and range [-1, 1] from two parabolas: smooth, no branch, far cheaper than sin."""
    u = t - floor(t + 0.5)
    return 16.0 * u * (0.5 - abs(u))


@register_jitable
def noise2(x: float, z: float, seed: float) -> float:
    """Smooth low-frequency pattern, about [-1, 1]: two warped products of waves."""
    s = seed * 0.6180339887
    s -= floor(s)
    a = wave(x * 0.81 + 0.43 * wave(z * 0.61 + s) + s)
    b = wave(z * 0.93 + 0.37 * wave(x * 0.53 + 0.31 - s) + 0.7 * s)
    return 0.62 * a * b + 0.38 * wave(0.47 * (x + z) + 1.7 * s + 0.2 * a)


@register_jitable
def height(x: float, z: float, amp: float, freq: float, shape: float, sharp: float, seed: float) -> float:
    """Terrain height in metres at (x, z)."""
    if amp <= 0.0:
        return 0.0
    s = seed * 0.7548776662
    s -= floor(s)
    u, v = x * freq, z * freq
    u2 = u + 0.22 * wave(v * 0.83 + s)
    v2 = v + 0.22 * wave(u * 0.71 + 0.37 + s)
    n = 0.55 * wave(u2 + 0.3 * v2 + s) + 0.45 * wave(v2 - 0.35 * u2 + 2.3 * s)
    if shape == 1.0:  # ridges
        n = 1.0 - 2.0 * abs(n)
    elif shape == 2.0:  # terraces: flat floors and tops with steep walls between
        n *= sharp
        n = max(-1.0, min(1.0, n))
        n = n * (1.5 - 0.5 * n * n)
    return amp * (n + 0.16 * wave(2.7 * u2 - 1.3 * v2 + s) * wave(2.9 * v2 + 0.5 * s))


@njit(parallel=True, cache=True)
def _steepest(amp: float, freq: float, shape: float, sharp: float, seed: float) -> float:
    worst = np.zeros(64)
    for i in prange(64):
        for j in range(64):
            x, z = i * 1.37 / freq / 8.0, j * 1.37 / freq / 8.0
            e = 0.05 / freq
            h = height(x, z, amp, freq, shape, sharp, seed)
            dx = height(x + e, z, amp, freq, shape, sharp, seed) - h
            dz = height(x, z + e, amp, freq, shape, sharp, seed) - h
            worst[i] = max(worst[i], np.sqrt(dx * dx + dz * dz) / e)
    return worst.max()


def steepest(amp: float, freq: float, shape: float, sharp: float, seed: float) -> float:
    """Upper bound of the slope for Lipschitz stepping: sampled, with a margin of 15 %; spots 0.5 % beyond it exist."""
    return 0.0 if amp <= 0.0 else 1.15 * float(_steepest(amp, freq, shape, sharp, seed)) + 0.02
