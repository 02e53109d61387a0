"""Objects on hashed cells: at most one a cell, each a trunk (cylinder) and a crown (cone, ellipsoid or box).

An object shrinks as the eye comes near its axis, so a walker never collides with one and never stands inside one:
commanded motion always equals real motion.
"""

from __future__ import annotations

import math

import numpy as np
from numba.extending import register_jitable

from . import scene
from .scene import Vector
from .shapes import FAR, Hit, hit_box, hit_cone, hit_cylinder, hit_ellipsoid
from .terrain import floor, hash2, height

NONE, CONE, ELLIPSOID, BOX = 0, 1, 2, 3
PartHit = tuple[float, float, float, float, int]  # a Hit and the part: 0 trunk, 1 crown
CellHit = tuple[float, float, float, float, int, int, int]  # a Hit, the part, and where in the table (-1: nothing)
# The table of the cells round the eye: an object is worked out once a frame and not once a ray.
HALF = 28  # cells on either side: a view ray walks 22, a shadow starts at most 55 m away and walks 5
SPAN = 2 * HALF + 1
SLOT, KIND, AXIS_X, AXIS_Z, SCALE, FOOT, WIDE, PEAK, HASH = range(9)
FIELDS = 9
BUILDING_KIND, WALL_KIND, MESA_KIND = 6, 7, 8
TALLEST_BUILDING = 1.55  # times its crown height: see hit_object
# trunk radius, trunk height, crown shape, crown base, crown radius, crown height; rows as in themes.py
_SHAPES = np.array(
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
_CORNER = np.where(_SHAPES[:, 2] == BOX, 1.42, 1.0)  # a box reaches further along its diagonal
_STOREYS = np.where(np.arange(len(_SHAPES)) == BUILDING_KIND, TALLEST_BUILDING, 1.0)
# ... and how far an object reaches from its axis, and how high above its foot, at scale 1
KINDS: Vector = np.column_stack(
    [
        _SHAPES,
        np.maximum(_SHAPES[:, 0], _SHAPES[:, 4] * _CORNER),
        np.maximum(_SHAPES[:, 1], _SHAPES[:, 3] + _SHAPES[:, 5] * _STOREYS),
    ]
)
TALLEST_M = 20.5  # of all themes: the neon city's towers


@register_jitable
def cell_object(p: Vector, ix: int, iz: int) -> tuple[int, int, float, float, float, int]:
    """(slot or -1, kind, x, z, scale, hash) of the cell's object."""
    h = hash2(ix, iz, int(p[scene.SEED]))
    cell = p[scene.CELL]
    if (h & 0xFFFF) / 65536.0 >= p[scene.DENSITY]:
        return -1, 0, 0.0, 0.0, 0.0, h
    grid = int(p[scene.GRID])
    jitter = 0.24
    if grid > 0:
        jitter = 0.06
        if ix % grid == 0 or iz % grid == 0:
            return -1, 0, 0.0, 0.0, 0.0, h
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
    return slot, kind, x, z, scale, g


@register_jitable
def hit_crown(
    kinds: Vector,
    kind: int,
    scale: float,
    g: int,
    ceiling: float,
    ox: float,
    oy: float,
    oz: float,
    dx: float,
    dy: float,
    dz: float,
) -> Hit:
    """(t, nx, ny, nz) of the crown of an object that stands at the origin; walls reach a ceiling, buildings vary."""
    shape = kinds[kind, 2]
    r, y0, h = kinds[kind, 4] * scale, kinds[kind, 3] * scale, kinds[kind, 5] * scale
    if shape == CONE:
        return hit_cone(ox, oy, oz, dx, dy, dz, r, y0, h)
    if shape == ELLIPSOID:
        return hit_ellipsoid(ox, oy, oz, dx, dy, dz, r, y0 + 0.5 * h, 0.5 * h)
    hx = hz = r
    if kind == WALL_KIND:
        h = max(h, ceiling)
        if g & 1:
            hx *= 0.28
        else:
            hz *= 0.28
    else:
        h *= 0.55 + ((g >> 24) & 0xFF) / 256.0
    return hit_box(ox, oy, oz, dx, dy, dz, hx, hz, h)


@register_jitable
def hit_object(
    p: Vector,
    kinds: Vector,
    kind: int,
    scale: float,
    g: int,
    rx: float,
    ry: float,
    rz: float,
    dx: float,
    dy: float,
    dz: float,
) -> PartHit:
    """(t, nx, ny, nz, part) with part 0 trunk, 1 crown; the ray starts (rx, ry, rz) metres from the object's foot."""
    widest = kinds[kind, 6] * scale
    along = -(rx * dx + rz * dz)
    flat = dx * dx + dz * dz
    off = rx * rx + rz * rz - along * along / max(flat, 1e-9)
    if off > widest * widest or (along < 0.0 and rx * rx + rz * rz > widest * widest):
        return FAR, 0.0, 0.0, 0.0, 0
    best, nx, ny, nz, part = FAR, 0.0, 0.0, 0.0, 0
    if kinds[kind, 0] > 0.0:
        best, nx, ny, nz = hit_cylinder(rx, ry, rz, dx, dy, dz, kinds[kind, 0] * scale, -1.0, kinds[kind, 1] * scale)
    if kinds[kind, 2] != NONE:
        t, a, b, c = hit_crown(kinds, kind, scale, g, p[scene.CEILING], rx, ry, rz, dx, dy, dz)
        if t < best:
            best, nx, ny, nz, part = t, a, b, c, 1
    return best, nx, ny, nz, part


@register_jitable
def may_meet(rx: float, rz: float, wide: float, peak: float, oy: float, dx: float, dy: float, dz: float) -> bool:
    """Whether a ray from height oy can meet what is (rx, rz) away, `wide` and lower than `peak`: never wrongly no."""
    flat = dx * dx + dz * dz
    off = rx * dz - rz * dx
    if off * off > wide * wide * flat * 1.0001:
        return False
    per_flat = 1.0 / max(flat, 1e-9)
    middle, reach = (rx * dx + rz * dz) * per_flat, wide * math.sqrt(per_flat)
    lowest = oy + dy * (max(0.0, middle - reach) if dy > 0.0 else middle + reach)
    return middle >= -reach and lowest <= peak


@register_jitable
def fade(radius: float, x: float, z: float) -> float:
    """The share of its scale that an object keeps, (x, z) metres from the eye: near it less, down to nothing."""
    share = max(0.0, min(1.0, (math.sqrt(x * x + z * z) - 0.7) / (radius + 1.5)))
    return share if share > 0.02 else 0.0


@register_jitable
def fill_cell(p: Vector, kinds: Vector, ex: float, ez: float, i: int, j: int, near: Vector) -> None:
    """Write the object of cell (i, j) of the table `near` `[SPAN, SPAN, FIELDS]`, as an eye at (ex, ez) sees it."""
    cell = p[scene.CELL]
    ix, iz = int(floor(ex / cell)) + i - HALF, int(floor(ez / cell)) + j - HALF
    slot, kind, x, z, scale, g = cell_object(p, ix, iz)
    left = 0.0
    if slot >= 0:
        left = fade(max(kinds[kind, 0], kinds[kind, 4]) * scale, x - ex, z - ez)
    if left <= 0.0:
        near[i, j, SLOT] = -1.0
        return
    near[i, j, SLOT], near[i, j, KIND], near[i, j, HASH] = slot, kind, g
    near[i, j, AXIS_X], near[i, j, AXIS_Z], near[i, j, SCALE] = x, z, scale * left
    near[i, j, FOOT] = height(x, z, p[scene.AMP], p[scene.FREQ], p[scene.SHAPE], p[scene.SHARP], p[scene.SEED])
    near[i, j, WIDE] = kinds[kind, 6] * scale * left
    tallest = max(kinds[kind, 7] * scale * left, p[scene.CEILING])
    near[i, j, PEAK] = near[i, j, FOOT] + tallest


@register_jitable
def nearest_object(
    p: Vector,
    kinds: Vector,
    near: Vector,
    ox: float,
    oy: float,
    oz: float,
    dx: float,
    dy: float,
    dz: float,
    limit: float,
    cells: int,
    ex: float,
    ez: float,
    any_will_do: bool,
) -> CellHit:
    """The first object along a ray within `limit` metres, by a 2-D walk over the cells round an eye at (ex, ez).

    `near` is the table that `fill_cell` made for that eye; past its rim there is nothing. `any_will_do` stops at
    whatever is met: all that a shadow needs to know.
    """
    cell = p[scene.CELL]
    ix, iz = int(floor(ox / cell)), int(floor(oz / cell))
    sx, sz = (1 if dx > 0 else -1), (1 if dz > 0 else -1)
    per_x, per_z = 1.0 / (abs(dx) + 1e-9), 1.0 / (abs(dz) + 1e-9)
    tx = ((ix + 1) * cell - ox if dx > 0 else ox - ix * cell) * per_x
    tz = ((iz + 1) * cell - oz if dz > 0 else oz - iz * cell) * per_z
    step_x, step_z = cell * per_x, cell * per_z
    i, j = ix - int(floor(ex / cell)) + HALF, iz - int(floor(ez / cell)) + HALF
    best, nx, ny, nz, part, at_i, at_j = limit, 0.0, 0.0, 0.0, 0, -1, 0
    entered = 0.0
    for _ in range(cells):
        if entered > best or (dy > 0.0 and oy + entered * dy > p[scene.TOP]):
            break
        if i < 0 or j < 0 or i >= SPAN or j >= SPAN:
            break
        if near[i, j, SLOT] >= 0.0:
            x, z = near[i, j, AXIS_X], near[i, j, AXIS_Z]
            if may_meet(x - ox, z - oz, near[i, j, WIDE], near[i, j, PEAK], oy, dx, dy, dz):
                kind, scale, g = int(near[i, j, KIND]), near[i, j, SCALE], int(near[i, j, HASH])
                ry = oy - near[i, j, FOOT]
                t, a, b, c, q = hit_object(p, kinds, kind, scale, g, ox - x, ry, oz - z, dx, dy, dz)
                if t < best:
                    best, nx, ny, nz, part, at_i, at_j = t, a, b, c, q, i, j
                    if any_will_do:
                        break
        if tx < tz:
            i += sx
            entered = tx
            tx += step_x
        else:
            j += sz
            entered = tz
            tz += step_z
    return best, nx, ny, nz, part, at_i, at_j
