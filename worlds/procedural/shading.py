"""What one ray sees: terrain, water, ceiling, objects, sky, sun shadow, fog, mood. One scalar function, `pixel`.

The CPU kernel (renderer.py) and its CUDA twin (cuda.py) call the same functions; `p` is a prepared scene vector.
"""

from __future__ import annotations

import math

from numba.extending import register_jitable

from . import scene
from .objects import BUILDING_KIND, FOOT, HASH, KIND, MESA_KIND, SLOT, WALL_KIND, nearest_object
from .scene import Vector
from .shapes import FAR
from .sky import Colour, sky
from .terrain import floor, hash2, height, noise2, wave

REACH_M = 170.0
RELAXATION = 1.9  # times the march's safe step: few slopes are the steepest, and a step too far is seen and undone
OBJECTS_M, CELLS = 110.0, 22  # objects are drawn this far, and over this many cells
SHADOW_M, SHADOW_CELLS = 40.0, 5
SKY_ID, GROUND_ID, WATER_ID, CEILING_ID = 0, 1, 2, 3
Seen = tuple[float, float, float, float, int]  # r, g, b in [0, 1], metres along the ray, id


@register_jitable
def view_ray(u: float, v: float, sy: float, cy: float, sp: float, cp: float) -> tuple[float, float, float]:
    """Unit direction through (u right, v up) of the image plane one metre ahead; sines and cosines of yaw, pitch."""
    n = 1.0 / math.sqrt(u * u + v * v + 1.0)
    fz, fy = (cp - v * sp) * n, (sp + v * cp) * n
    return u * n * cy + fz * sy, fy, fz * cy - u * n * sy


@register_jitable
def ground_hit(p: Vector, ox: float, oy: float, oz: float, dx: float, dy: float, dz: float) -> float:
    """Distance to the terrain along a ray, FAR where it misses: Lipschitz march, over-relaxed, then false position."""
    amp = p[scene.AMP]
    if amp <= 0.0:
        return -oy / dy if dy < -1e-6 else FAR
    freq, shape, sharp, seed = p[scene.FREQ], p[scene.SHAPE], p[scene.SHARP], p[scene.SEED]
    top = 1.17 * amp
    t = 0.0
    if oy > top:
        if dy >= -1e-6:
            return FAR
        t = (top - oy) / dy
    closing = p[scene.SLOPE] * math.sqrt(dx * dx + dz * dz) - dy
    if closing <= 0.0:
        return FAR
    previous, gap_before = t, 0.0
    for _ in range(48):
        y = oy + t * dy
        if y > top and dy >= 0.0:
            return FAR
        gap = y - height(ox + t * dx, oz + t * dz, amp, freq, shape, sharp, seed)
        if gap < 0.012 * t:
            if gap >= 0.0 or gap_before <= 0.0:
                return t
            lo, above, hi, below = previous, gap_before, t, gap
            for _ in range(2):
                mid = lo + (hi - lo) * above / (above - below)
                gap = oy + mid * dy - height(ox + mid * dx, oz + mid * dz, amp, freq, shape, sharp, seed)
                if gap > 0.0:
                    lo, above = mid, gap
                else:
                    hi, below = mid, gap
            return hi
        previous, gap_before = t, gap
        t += max(RELAXATION * gap / closing, 0.05 + 0.012 * t)
        if t > REACH_M:
            return FAR
    return t


@register_jitable
def ground_colour(p: Vector, x: float, z: float, t: float) -> Colour:
    """Albedo of the ground at (x, z) seen from t metres: low-frequency blotches, streets or flagstones."""
    fine = max(0.0, 1.0 - t / 26.0)
    f = p[scene.PATTERN_FREQ]
    m = 0.5 + 0.5 * noise2(x * f, z * f, p[scene.SEED]) + 0.16 * fine * noise2(x * 0.6, z * 0.6, p[scene.SEED] + 5.0)
    m = max(0.0, min(1.0, m))
    r = p[scene.GROUND_A] * (1 - m) + p[scene.GROUND_B] * m
    g = p[scene.GROUND_A + 1] * (1 - m) + p[scene.GROUND_B + 1] * m
    b = p[scene.GROUND_A + 2] * (1 - m) + p[scene.GROUND_B + 2] * m
    pattern = p[scene.PATTERN]
    if pattern == 1.0:  # streets between blocks, with a dashed middle line
        cell, grid = p[scene.CELL], int(p[scene.GRID])
        ix, iz = int(floor(x / cell)), int(floor(z / cell))
        along_z, along_x = ix % grid == 0, iz % grid == 0
        if along_x or along_z:
            r, g, b = 0.17 + 0.03 * m, 0.17 + 0.03 * m, 0.19 + 0.03 * m
            u, v = x / cell - ix - 0.5, z / cell - iz - 0.5
            line = (along_z != along_x) and (abs(u) if along_z else abs(v)) < 0.045
            if line and wave((z if along_z else x) * 0.22) > 0.0:
                a = 0.85 * max(0.0, 1.0 - t / 40.0)
                r, g, b = r + a * (0.8 - r), g + a * (0.8 - g), b + a * (0.74 - b)
    elif pattern == 2.0 and fine > 0.0:
        u, v = x * 0.5 - floor(x * 0.5), z * 0.5 - floor(z * 0.5)
        if u < 0.07 or v < 0.07:
            a = 0.40 * fine
            r, g, b = r * (1 - a), g * (1 - a), b * (1 - a)
    return r, g, b


@register_jitable
def object_colour(
    p: Vector,
    slot: int,
    kind: int,
    part: int,
    y: float,
    x: float,
    z: float,
    nx: float,
    ny: float,
    nz: float,
    g: int,
    t: float,
) -> tuple[float, float, float, float]:
    """(albedo rgb, own light) of a point on an object, y metres above its foot."""
    at = scene.SLOTS + slot * scene.SLOT_SIZE
    c = at + 3 if part == 1 else at + 6
    tone = 0.84 + 0.32 * ((g >> 4) & 0xF) / 15.0
    r, gr, b, glow = p[c] * tone, p[c + 1] * tone, p[c + 2] * tone, 0.0
    if kind == MESA_KIND:  # strata
        band = 0.5 + 0.5 * wave(y * 0.45)
        r, gr, b = r * (0.80 + 0.28 * band), gr * (0.78 + 0.3 * band), b * (0.8 + 0.25 * band)
    elif kind == WALL_KIND:
        fine = max(0.0, 1.0 - t / 14.0)
        row = int(floor(y / 0.7))
        u = ((x if abs(nz) > 0.5 else z) + 0.6 * (row & 1)) / 1.25
        if y / 0.7 - row < 0.12 or u - floor(u) < 0.07:
            r, gr, b = r * (1 - 0.42 * fine), gr * (1 - 0.42 * fine), b * (1 - 0.42 * fine)
    elif kind == BUILDING_KIND and abs(ny) < 0.5:  # windows
        across = (x if abs(nz) > 0.5 else z) / 1.7
        row, column = int(floor(y / 1.9)), int(floor(across))
        u, v = across - column, y / 1.9 - row
        if 0.25 < u < 0.75 and 0.3 < v < 0.75:
            lit = ((hash2(row, column, g & 0xFFFF) & 0xFF) / 256.0) < 0.55
            strength = max(p[scene.NIGHT], 0.55 * p[at + 9])
            r, gr, b = p[at + 6] * 0.8, p[at + 7] * 0.8, p[at + 8] * 0.8
            if lit:
                glow = strength * 0.9
                if p[at + 9] < 0.5:
                    r, gr, b = 0.95, 0.82, 0.52
    elif part == 1 and p[at + 9] > 0.0 and kind != BUILDING_KIND:
        glow = p[at + 9] * (0.55 + 0.45 * p[scene.NIGHT])
    return r, gr, b, glow


@register_jitable
def finished(p: Vector, r: float, g: float, b: float, t: float, ident: int) -> Seen:
    """Mood: saturation, tint, lift; then clip and gamma."""
    grey = 0.3 * r + 0.55 * g + 0.15 * b
    s, lift = p[scene.SATURATION], p[scene.LIFT]
    r = (grey + s * (r - grey)) * p[scene.TINT] * (1 - lift) + lift
    g = (grey + s * (g - grey)) * p[scene.TINT + 1] * (1 - lift) + lift
    b = (grey + s * (b - grey)) * p[scene.TINT + 2] * (1 - lift) + lift
    r, g, b = min(1.0, max(0.0, r)), min(1.0, max(0.0, g)), min(1.0, max(0.0, b))
    # a soft shoulder instead of a power: cheap, and lifts the shadows as a display gamma would
    return r * (1.45 - 0.45 * r), g * (1.45 - 0.45 * g), b * (1.45 - 0.45 * b), t, ident


@register_jitable
def fogged(p: Vector, r: float, g: float, b: float, t: float, ident: int) -> Seen:
    """The colour through t metres of air."""
    k = math.exp(-p[scene.FOG] * t)
    if t > OBJECTS_M:  # the far ground melts into the horizon
        k *= max(0.0, 1.0 - (t - OBJECTS_M) / (REACH_M - OBJECTS_M))
    if p[scene.CEILING] > 0.0:
        k *= math.exp(-0.035 * t)
    r = r * k + p[scene.FOG_RGB] * (1 - k)
    g = g * k + p[scene.FOG_RGB + 1] * (1 - k)
    b = b * k + p[scene.FOG_RGB + 2] * (1 - k)
    return finished(p, r, g, b, t, ident)


@register_jitable
def surface(p: Vector, ox: float, oy: float, oz: float, dx: float, dy: float, dz: float) -> tuple[float, int]:
    """(distance, id) of the ground, the water or the ceiling along a ray."""
    t, ident = ground_hit(p, ox, oy, oz, dx, dy, dz), GROUND_ID
    if dy < -1e-6:
        tw = (p[scene.WATER] - oy) / dy
        if 0.0 < tw < t:
            t, ident = tw, WATER_ID
    elif p[scene.CEILING] > 0.0 and dy > 1e-6:
        tc = (p[scene.CEILING] - oy) / dy
        if tc < t:
            t, ident = tc, CEILING_ID
    return t, ident


@register_jitable
def water_colour(p: Vector, x: float, z: float, dx: float, dy: float, dz: float, t: float) -> Colour:
    """A mirrored sky with ripples, more of it the flatter one looks."""
    ripple = 0.06 * wave(x * 0.21 + 0.4 * wave(z * 0.17)) * max(0.0, 1.0 - t / 60.0)
    r, g, b = sky(p, dx, abs(dy) + ripple + 0.05, dz)
    k = 0.25 + 0.65 * (1.0 - min(1.0, abs(dy))) ** 4
    light = 0.55 * (p[scene.AMBIENT + 1] + 0.6 * p[scene.SUN_RGB + 1]) + 0.15
    r = r * k + p[scene.WATER_RGB] * light * (1 - k) * 1.6
    g = g * k + p[scene.WATER_RGB + 1] * light * (1 - k) * 1.6
    b = b * k + p[scene.WATER_RGB + 2] * light * (1 - k) * 1.6
    return r, g, b


@register_jitable
def ground_normal(p: Vector, x: float, z: float, t: float) -> tuple[float, float, float]:
    """The terrain's normal, smoothed over what a pixel covers at t metres."""
    amp, freq, shape, sharp, seed = p[scene.AMP], p[scene.FREQ], p[scene.SHAPE], p[scene.SHARP], p[scene.SEED]
    e = 0.2 + 0.01 * t
    h = height(x, z, amp, freq, shape, sharp, seed)
    nx = (h - height(x + e, z, amp, freq, shape, sharp, seed)) / e
    nz = (h - height(x, z + e, amp, freq, shape, sharp, seed)) / e
    n = 1.0 / math.sqrt(nx * nx + nz * nz + 1.0)
    return nx * n, n, nz * n


@register_jitable
def strata(r: float, g: float, b: float, y: float, ny: float) -> Colour:
    """Rock bands where a terraced wall is steep."""
    k = min(1.0, (0.85 - ny) * 4.0)
    band = 0.72 + 0.22 * wave(y * 0.38)
    r, g = r + k * (0.62 * band * (r + 0.25) - r), g + k * (0.62 * band * (g + 0.2) - g)
    return r, g, b + k * (0.6 * band * (b + 0.18) - b)


@register_jitable
def sunlight(
    p: Vector,
    kinds: Vector,
    near: Vector,
    x: float,
    y: float,
    z: float,
    nx: float,
    ny: float,
    nz: float,
    t: float,
    ex: float,
    ez: float,
) -> float:
    """How squarely the sun meets a surface, 0 to 1, less in a shadow; shadows fade out 40 to 55 m away."""
    sx, sy, sz = p[scene.SUN_DIR], p[scene.SUN_DIR + 1], p[scene.SUN_DIR + 2]
    lit = nx * sx + ny * sy + nz * sz
    if lit > 0.0 and p[scene.SUN_RGB] > 0.12 and t < 55.0:
        px, py, pz = x + nx * 0.03, y + ny * 0.03 + 0.02, z + nz * 0.03
        hit = nearest_object(p, kinds, near, px, py, pz, sx, sy, sz, SHADOW_M, SHADOW_CELLS, ex, ez, True)
        if hit[5] >= 0:
            lit *= 0.12 + 0.88 * max(0.0, (t - 40.0) / 15.0)
    return max(lit, 0.0)


@register_jitable
def pixel(
    p: Vector, kinds: Vector, near: Vector, ox: float, oy: float, oz: float, dx: float, dy: float, dz: float
) -> Seen:
    """(r, g, b, depth in metres along the ray, id) of one ray from the eye that the table `near` was made for.

    Colours in [0, 1]; the id changes at silhouettes.
    """
    t, ident = surface(p, ox, oy, oz, dx, dy, dz)
    to, nx, ny, nz, part, i, j = nearest_object(
        p, kinds, near, ox, oy, oz, dx, dy, dz, min(t, OBJECTS_M), CELLS, ox, oz, False
    )
    if i >= 0:
        t = to
    elif t >= REACH_M:
        r, gr, b = sky(p, dx, dy, dz)
        return finished(p, r, gr, b, REACH_M, SKY_ID)
    x, y, z = ox + t * dx, oy + t * dy, oz + t * dz
    glow = 0.0
    if i >= 0:
        slot, kind, g = int(near[i, j, SLOT]), int(near[i, j, KIND]), int(near[i, j, HASH])
        ident = 16 + (g & 0xFFF) * 2 + part
        r, gr, b, glow = object_colour(p, slot, kind, part, y - near[i, j, FOOT], x, z, nx, ny, nz, g, t)
    elif ident == WATER_ID:
        r, gr, b = water_colour(p, x, z, dx, dy, dz, t)
        return fogged(p, r, gr, b, t, ident)
    else:
        nx, ny, nz = 0.0, (1.0 if ident == GROUND_ID else -1.0), 0.0
        if p[scene.AMP] > 0.0 and ident == GROUND_ID:
            nx, ny, nz = ground_normal(p, x, z, t)
        r, gr, b = ground_colour(p, x, z, t)
        if p[scene.SHAPE] == 2.0 and ny < 0.85:
            r, gr, b = strata(r, gr, b, y, ny)
    lit = sunlight(p, kinds, near, x, y, z, nx, ny, nz, t, ox, oz) + 0.08
    soft = 0.72 + 0.28 * ny
    lamp = p[scene.LAMP] * 0.85 / (1.0 + 0.055 * t * t) * (0.35 + 0.65 * abs(nx * dx + ny * dy + nz * dz))
    sr = r * (p[scene.AMBIENT] * soft + p[scene.SUN_RGB] * lit + lamp * 1.5) + r * glow
    sg = gr * (p[scene.AMBIENT + 1] * soft + p[scene.SUN_RGB + 1] * lit + lamp * 1.25) + gr * glow
    sb = b * (p[scene.AMBIENT + 2] * soft + p[scene.SUN_RGB + 2] * lit + lamp * 0.95) + b * glow
    return fogged(p, sr, sg, sb, t, ident)
