"""The sky: gradient, sun and glow, soft clouds, a few large stars at night."""

from __future__ import annotations

import math

from numba.extending import register_jitable

from . import scene
from .scene import Vector
from .terrain import floor, hash2, noise2

Colour = tuple[float, float, float]  # linear-ish RGB, about [0, 1]


@register_jitable
def star(night: float, dx: float, dy: float, dz: float) -> float:
    """Light of the star in a direction, if there is one."""
    across, rise = math.atan2(dx, dz) * 12.0, dy * 22.0
    ci, cj = int(floor(across)), int(floor(rise))
    h = hash2(ci, cj, 4021)
    if (h & 0xFF) >= 62:
        return 0.0
    fx = across - ci - 0.25 - 0.5 * ((h >> 8) & 0xFF) / 256.0
    fy = rise - cj - 0.25 - 0.5 * ((h >> 16) & 0xFF) / 256.0
    return max(0.0, 1.0 - (fx * fx + fy * fy) * 160.0) * night * 0.9


@register_jitable
def sky(p: Vector, dx: float, dy: float, dz: float) -> Colour:
    """Sky colour in a direction: gradient, sun and glow, soft clouds, a few large stars at night."""
    up = max(dy, 0.0)
    k = (1.0 - up) ** 5
    r = p[scene.ZENITH] * (1 - k) + p[scene.HORIZON] * k
    g = p[scene.ZENITH + 1] * (1 - k) + p[scene.HORIZON + 1] * k
    b = p[scene.ZENITH + 2] * (1 - k) + p[scene.HORIZON + 2] * k
    towards = dx * p[scene.SUN_DIR] + dy * p[scene.SUN_DIR + 1] + dz * p[scene.SUN_DIR + 2]
    if towards > 0.0:
        glow = 0.30 * towards**24
        if towards > 0.9962:
            glow += 1.2 * min(1.0, (towards - 0.9962) * 900.0)
        r += glow * p[scene.SUN_RGB]
        g += glow * p[scene.SUN_RGB + 1]
        b += glow * p[scene.SUN_RGB + 2]
    spark = star(p[scene.NIGHT], dx, dy, dz) if p[scene.NIGHT] > 0.3 and up > 0.08 else 0.0
    r, g, b = r + spark, g + spark, b + spark
    if up > 0.02:
        cover = p[scene.CLOUD]
        q = 1.0 / (dy + 0.12)
        n = 0.5 + 0.5 * noise2(dx * q * 0.9, dz * q * 0.9, p[scene.SEED] + 0.37)
        n += 0.22 * noise2(dx * q * 2.1 + 3.0, dz * q * 2.1, p[scene.SEED] + 0.71)
        a = max(0.0, min(1.0, (n - (1.0 - cover)) * 2.2)) * min(1.0, up * 7.0) * 0.85
        r += (p[scene.CLOUD_RGB] - r) * a
        g += (p[scene.CLOUD_RGB + 1] - g) * a
        b += (p[scene.CLOUD_RGB + 2] - b) * a
    return r, g, b
