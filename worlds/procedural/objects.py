"""Objects on hashed cells: at most one a cell, each a trunk (cylinder) and a crown (cone, ellipsoid or box).

An object shrinks as the eye comes near its axis, so a walker never collides with one and never stands inside one: commanded
motion always equals real motion.
"""

from __future__ import annotations

import numpy as np
from numba.extending import register_jitable

from . import scene
from .terrain import hash2, height

NONE, CONE, ELLIPSOID, BOX = 0, 1, 2, 3
FAR = 1e9
# trunk radius, trunk height, crown shape, crown base, crown radius, crown height; rows as in themes.py
KINDS = np.array(
    [
        (0.18, 1.3, CONE, 0.8, 1.55, 5.2),  # conifer
        (0.22, 2.4, ELLIPSOID, 1.5, 1.7, 3.2),  # broadleaf
        (0.0, 0.0, ELLIPSOID, -0.45, 1.0, 1.5),  # rock
        (0.0, 0.0, ELLIPSOID, -0.3, 0.42, 3.2),  # cactus
        (0.16, 4.2, ELLIPSOID, 3.7, 1.9, 1.1),  # palm
        (0.48, 4.4, NONE, 0.0, 0.0, 0.0),  # pillar
        (0.0, 0.0, BOX, 0.0, 2.6, 8.0),  # building
        (0.0, 0.0, BOX, 0.0, 2.0, 3.7),  # wall
        (2.4, 7.0, NONE, 0.0, 0.0, 0.0),  # mesa
        (0.0, 0.0, CONE, -0.1, 0.8, 3.8),  # crystal
        (0.08, 3.2, ELLIPSOID, 2.9, 0.36, 0.72),  # lamp post
    ]
)
TALLEST_M = 17.0
BUILDING_KIND, WALL_KIND, MESA_KIND = 6, 7, 8


@register_jitable
def cell_object(p, kinds, ix, iz, ex, ez):  # type: ignore[no-untyped-def]  # numba infers these
    """(slot or -1, kind, x, z, scale, thickness, hash) of the cell's object as seen by an eye at (ex, ez)."""
    h = hash2(ix, iz, int(p[scene.SEED]))
    cell = p[scene.CELL]
    if (h & 0xFFFF) / 65536.0 >= p[scene.DENSITY]:
        return -1, 0, 0.0, 0.0, 0.0, 1.0, h
    grid = int(p[scene.GRID])
    jitter = 0.24
    if grid > 0:
        jitter = 0.06
        if ix % grid == 0 or iz % grid == 0:
            return -1, 0, 0.0, 0.0, 0.0, 1.0, h
    u = ((h >> 16) & 0xFF) / 256.0
    slot = 0
    edge = p[scene.SLOTS + 1]
    while slot < 2 and u >= edge:
        slot += 1
        edge += p[scene.SLOTS + slot * scene.SLOT_SIZE + 1]
    at = scene.SLOTS + slot * scene.SLOT_SIZE
    kind = int(p[at])
    g = hash2(iz, ix, int(p[scene.SEED]) + 77)
    x = (ix + 0.5 + jitter * (((g & 0xFF) / 127.5) - 1.0)) * cell
    z = (iz + 0.5 + jitter * ((((g >> 8) & 0xFF) / 127.5) - 1.0)) * cell
    scale = p[at + 2] * (0.72 + 0.6 * ((g >> 16) & 0xFF) / 256.0)
    radius = max(kinds[kind, 0], kinds[kind, 4]) * scale
    distance = np.sqrt((x - ex) * (x - ex) + (z - ez) * (z - ez))
    fade = max(0.0, min(1.0, (distance - 0.7) / (radius + 1.5)))
    return slot, kind, x, z, scale * fade, fade, g


@register_jitable
def hit_cylinder(ox, oy, oz, dx, dy, dz, r, y0, y1):  # type: ignore[no-untyped-def]
    """(t, nx, ny, nz) of a capped vertical cylinder round the y axis; t = FAR where the ray misses."""
    a = dx * dx + dz * dz
    b = ox * dx + oz * dz
    d = b * b - a * (ox * ox + oz * oz - r * r)
    if d <= 0.0 or a < 1e-12:
        return FAR, 0.0, 0.0, 0.0
    t = (-b - np.sqrt(d)) / a
    if t > 0.0:
        y = oy + t * dy
        if y0 <= y <= y1:
            return t, (ox + t * dx) / r, 0.0, (oz + t * dz) / r
        if y > y1 and dy < 0.0:
            t = (y1 - oy) / dy
            x, z = ox + t * dx, oz + t * dz
            if x * x + z * z <= r * r:
                return t, 0.0, 1.0, 0.0
    return FAR, 0.0, 0.0, 0.0


@register_jitable
def hit_ellipsoid(ox, oy, oz, dx, dy, dz, r, yc, half):  # type: ignore[no-untyped-def]
    """(t, nx, ny, nz) of an ellipsoid of radius r and half height `half` round (0, yc, 0)."""
    k = r / half
    ey, ky = (oy - yc) * k, dy * k
    a = dx * dx + ky * ky + dz * dz
    b = ox * dx + ey * ky + oz * dz
    d = b * b - a * (ox * ox + ey * ey + oz * oz - r * r)
    if d <= 0.0:
        return FAR, 0.0, 0.0, 0.0
    t = (-b - np.sqrt(d)) / a
    if t <= 0.0:
        return FAR, 0.0, 0.0, 0.0
    nx, ny, nz = ox + t * dx, (ey + t * ky) * k, oz + t * dz
    n = 1.0 / np.sqrt(nx * nx + ny * ny + nz * nz)
    return t, nx * n, ny * n, nz * n


@register_jitable
def hit_cone(ox, oy, oz, dx, dy, dz, r, y0, h):  # type: ignore[no-untyped-def]
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
        root = np.sqrt(d)
        for sign in (-1.0, 1.0):
            t = (-b + sign * root) / a
            if t > 0.0:
                y = oy + t * dy
                if y0 <= y <= y0 + h:
                    x, z = ox + t * dx, oz + t * dz
                    n = 1.0 / np.sqrt((x * x + z * z) * (1.0 + k * k) + 1e-12)
                    return t, x * n, k * np.sqrt(x * x + z * z) * n, z * n
    if dy > 0.0 and oy < y0:
        t = (y0 - oy) / dy
        x, z = ox + t * dx, oz + t * dz
        if x * x + z * z <= r * r:
            return t, 0.0, -1.0, 0.0
    return FAR, 0.0, 0.0, 0.0


@register_jitable
def hit_box(ox, oy, oz, dx, dy, dz, hx, hz, y1):  # type: ignore[no-untyped-def]
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


@register_jitable
def hit_object(p, kinds, kind, x, z, scale, g, ox, oy, oz, dx, dy, dz):  # type: ignore[no-untyped-def]
    """(t, nx, ny, nz, part) with part 0 trunk, 1 crown; the ray starts at (ox, oy, oz) in world metres."""
    rx, rz = ox - x, oz - z
    widest = max(kinds[kind, 0], kinds[kind, 4] * (1.42 if kinds[kind, 2] == BOX else 1.0)) * scale
    along = -(rx * dx + rz * dz)
    flat = dx * dx + dz * dz
    off = rx * rx + rz * rz - along * along / max(flat, 1e-9)
    if off > widest * widest or (along < 0.0 and rx * rx + rz * rz > widest * widest):
        return FAR, 0.0, 0.0, 0.0, 0
    base = height(x, z, p[scene.AMP], p[scene.FREQ], p[scene.SHAPE], p[scene.SHARP], p[scene.SEED])
    ry = oy - base
    best, nx, ny, nz, part = FAR, 0.0, 0.0, 0.0, 0
    if kinds[kind, 0] > 0.0:
        best, nx, ny, nz = hit_cylinder(rx, ry, rz, dx, dy, dz, kinds[kind, 0] * scale, -1.0, kinds[kind, 1] * scale)
    shape = kinds[kind, 2]
    if shape != NONE:
        r, y0, h = kinds[kind, 4] * scale, kinds[kind, 3] * scale, kinds[kind, 5] * scale
        if shape == CONE:
            t, a, b, c = hit_cone(rx, ry, rz, dx, dy, dz, r, y0, h)
        elif shape == ELLIPSOID:
            t, a, b, c = hit_ellipsoid(rx, ry, rz, dx, dy, dz, r, y0 + 0.5 * h, 0.5 * h)
        else:
            hx = hz = r
            if kind == WALL_KIND:
                h = max(h, p[scene.CEILING])
                if g & 1:
                    hx *= 0.28
                else:
                    hz *= 0.28
            else:
                h *= 0.55 + ((g >> 24) & 0xFF) / 256.0
            t, a, b, c = hit_box(rx, ry, rz, dx, dy, dz, hx, hz, h)
        if t < best:
            best, nx, ny, nz, part = t, a, b, c, 1
    return best, nx, ny, nz, part


@register_jitable
def nearest_object(p, kinds, ox, oy, oz, dx, dy, dz, limit, cells, ex, ez):  # type: ignore[no-untyped-def]
    """The first object along a ray by a 2-D walk over the cells: (t, nx, ny, nz, slot, kind, part, hash, x, z)."""
    cell = p[scene.CELL]
    ix, iz = int(np.floor(ox / cell)), int(np.floor(oz / cell))
    sx, sz = (1 if dx > 0 else -1), (1 if dz > 0 else -1)
    ax, az = abs(dx) + 1e-9, abs(dz) + 1e-9
    tx = ((ix + 1) * cell - ox if dx > 0 else ox - ix * cell) / ax
    tz = ((iz + 1) * cell - oz if dz > 0 else oz - iz * cell) / az
    best, nx, ny, nz, slot, kind, part, seen, bx, bz = limit, 0.0, 0.0, 0.0, -1, 0, 0, 0, 0.0, 0.0
    entered = 0.0
    for _ in range(cells):
        if entered > best or (dy > 0.0 and oy + entered * dy > p[scene.TOP]):
            break
        s, k, x, z, scale, fade, g = cell_object(p, kinds, ix, iz, ex, ez)
        if s >= 0 and fade > 0.02:
            t, a, b, c, q = hit_object(p, kinds, k, x, z, scale, g, ox, oy, oz, dx, dy, dz)
            if t < best:
                best, nx, ny, nz, slot, kind, part, seen, bx, bz = t, a, b, c, s, k, q, g, x, z
        if tx < tz:
            ix += sx
            entered = tx
            tx += cell / ax
        else:
            iz += sz
            entered = tz
            tz += cell / az
    return best, nx, ny, nz, slot, kind, part, seen, bx, bz
