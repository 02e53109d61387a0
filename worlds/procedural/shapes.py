"""Where a ray meets a cylinder, an ellipsoid, a cone or a box that stands upright at the origin.

A ray that starts inside a shape does not see it, except for the cone: what the eye enters has shrunk away (objects.py).
"""

from __future__ import annotations

import math

from numba.extending import register_jitable

FAR = 1e9  # metres: no hit
Hit = tuple[float, float, float, float]  # distance and normal


@register_jitable
def hit_cylinder(
    ox: float, oy: float, oz: float, dx: float, dy: float, dz: float, r: float, y0: float, y1: float
) -> Hit:
    """(t, nx, ny, nz) of a capped vertical cylinder round the y axis; t = FAR where the ray misses."""
    a = dx * dx + dz * dz
    b = ox * dx + oz * dz
    d = b * b - a * (ox * ox + oz * oz - r * r)
    if d <= 0.0 or a < 1e-12:
        return FAR, 0.0, 0.0, 0.0
    root = math.sqrt(d)
    t = (-b - root) / a
    if t > 0.0:
        y = oy + t * dy
        if y0 <= y <= y1:
            return t, (ox + t * dx) / r, 0.0, (oz + t * dz) / r
        if y > y1 and dy < 0.0:
            t = (y1 - oy) / dy
            if t * a <= root - b:  # the lid lies before the far wall; measured by t, since at the rim x and z round off
                return t, 0.0, 1.0, 0.0
    return FAR, 0.0, 0.0, 0.0


@register_jitable
def hit_ellipsoid(
    ox: float, oy: float, oz: float, dx: float, dy: float, dz: float, r: float, yc: float, half: float
) -> Hit:
    """(t, nx, ny, nz) of an ellipsoid of radius r and half height `half` round (0, yc, 0)."""
    k = r / half
    ey, ky = (oy - yc) * k, dy * k
    a = dx * dx + ky * ky + dz * dz
    b = ox * dx + ey * ky + oz * dz
    d = b * b - a * (ox * ox + ey * ey + oz * oz - r * r)
    if d <= 0.0:
        return FAR, 0.0, 0.0, 0.0
    t = (-b - math.sqrt(d)) / a
    if t <= 0.0:
        return FAR, 0.0, 0.0, 0.0
    nx, ny, nz = ox + t * dx, (ey + t * ky) * k, oz + t * dz
    n = 1.0 / math.sqrt(nx * nx + ny * ny + nz * nz)
    return t, nx * n, ny * n, nz * n


@register_jitable
def hit_cone(ox: float, oy: float, oz: float, dx: float, dy: float, dz: float, r: float, y0: float, h: float) -> Hit:
    """(t, nx, ny, nz) of an upright cone with its base (radius r) at y0 and its tip at y0 + h."""
    k = r / h
    ey, ky = (y0 + h - oy) * k, -dy * k
    a = dx * dx + dz * dz - ky * ky
    b = ox * dx + oz * dz - ey * ky
    c = ox * ox + oz * oz - ey * ey
    if abs(a) < 1e-9:
        return FAR, 0.0, 0.0, 0.0
    d = b * b - a * c
    if d > 0.0:
        root = math.sqrt(d)
        for sign in (-1.0, 1.0):
            t = (-b + sign * root) / a
            if t > 0.0:
                y = oy + t * dy
                if y0 <= y <= y0 + h:
                    x, z = ox + t * dx, oz + t * dz
                    n = 1.0 / math.sqrt((x * x + z * z) * (1.0 + k * k) + 1e-12)
                    return t, x * n, k * math.sqrt(x * x + z * z) * n, z * n
    if dy > 0.0 and oy < y0:
        t = (y0 - oy) / dy
        x, z = ox + t * dx, oz + t * dz
        if x * x + z * z <= r * r:
            return t, 0.0, -1.0, 0.0
    return FAR, 0.0, 0.0, 0.0


@register_jitable
def hit_box(ox: float, oy: float, oz: float, dx: float, dy: float, dz: float, hx: float, hz: float, y1: float) -> Hit:
    """(t, nx, ny, nz) of a box |x| <= hx, |z| <= hz, y <= y1."""
    inv = 1.0 / dx if abs(dx) > 1e-9 else 1e9
    t0, t1 = (-hx - ox) * inv, (hx - ox) * inv
    tx0, tx1 = min(t0, t1), max(t0, t1)
    inv = 1.0 / dz if abs(dz) > 1e-9 else 1e9
    t0, t1 = (-hz - oz) * inv, (hz - oz) * inv
    tz0, tz1 = min(t0, t1), max(t0, t1)
    near, far = max(tx0, tz0), min(tx1, tz1)
    if near > far or far <= 0.0:
        return FAR, 0.0, 0.0, 0.0
    if near > 0.0:
        if oy + near * dy <= y1:
            if tx0 > tz0:
                return near, (-1.0 if dx > 0 else 1.0), 0.0, 0.0
            return near, 0.0, 0.0, (-1.0 if dz > 0 else 1.0)
        if dy < 0.0:
            t = (y1 - oy) / dy
            if near < t < far:
                return t, 0.0, 1.0, 0.0
    return FAR, 0.0, 0.0, 0.0
