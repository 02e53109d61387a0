"""What one ray sees: terrain, water, ceiling, objects, sky, sun shadow, fog, mood. One scalar function, `pixel`."""

from __future__ import annotations

import numpy as np
from numba.extending import register_jitable

from . import scene
from .objects import BUILDING_KIND, FAR, MESA_KIND, WALL_KIND, nearest_object
from .terrain import hash2, height, noise2, wave

REACH_M = 170.0
SKY_ID, GROUND_ID, WATER_ID, CEILING_ID = 0, 1, 2, 3


@register_jitable
def ground_hit(p, ox, oy, oz, dx, dy, dz):  # type: ignore[no-untyped-def]
    """Distance to the terrain along a ray, FAR where it misses: Lipschitz-bounded march, then secant steps."""
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
    closing = p[scene.SLOPE] * np.sqrt(dx * dx + dz * dz) - dy
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
            lo, hi = previous, t
            for _ in range(4):
                mid = 0.5 * (lo + hi)
                if oy + mid * dy > height(ox + mid * dx, oz + mid * dz, amp, freq, shape, sharp, seed):
                    lo = mid
                else:
                    hi = mid
            return hi
        previous, gap_before = t, gap
        t += max(gap / closing, 0.05 + 0.012 * t)
        if t > REACH_M:
            return FAR
    return t


@register_jitable
def sky(p, dx, dy, dz):  # type: ignore[no-untyped-def]
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
    night = p[scene.NIGHT]
    if night > 0.3 and up > 0.08:
        across, rise = np.arctan2(dx, dz) * 12.0, dy * 22.0
        ci, cj = int(np.floor(across)), int(np.floor(rise))
        h = hash2(ci, cj, 4021)
        if (h & 0xFF) < 62:
            fx = across - ci - 0.25 - 0.5 * ((h >> 8) & 0xFF) / 256.0
            fy = rise - cj - 0.25 - 0.5 * ((h >> 16) & 0xFF) / 256.0
            spark = max(0.0, 1.0 - (fx * fx + fy * fy) * 160.0) * night * 0.9
            r += spark
            g += spark
            b += spark
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


@register_jitable
def ground_colour(p, x, z, t):  # type: ignore[no-untyped-def]
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
        ix, iz = int(np.floor(x / cell)), int(np.floor(z / cell))
        along_z, along_x = ix % grid == 0, iz % grid == 0
        if along_x or along_z:
            r, g, b = 0.17 + 0.03 * m, 0.17 + 0.03 * m, 0.19 + 0.03 * m
            u, v = x / cell - ix - 0.5, z / cell - iz - 0.5
            line = (along_z != along_x) and (abs(u) if along_z else abs(v)) < 0.045
            if line and wave((z if along_z else x) * 0.22) > 0.0:
                a = 0.85 * max(0.0, 1.0 - t / 40.0)
                r, g, b = r + a * (0.8 - r), g + a * (0.8 - g), b + a * (0.74 - b)
    elif pattern == 2.0 and fine > 0.0:
        u, v = x * 0.5 - np.floor(x * 0.5), z * 0.5 - np.floor(z * 0.5)
        if u < 0.07 or v < 0.07:
            a = 0.40 * fine
            r, g, b = r * (1 - a), g * (1 - a), b * (1 - a)
    return r, g, b


@register_jitable
def object_colour(p, slot, kind, part, y, x, z, nx, ny, nz, g, t):  # type: ignore[no-untyped-def]
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
        row = int(np.floor(y / 0.7))
        u = ((x if abs(nz) > 0.5 else z) + 0.6 * (row & 1)) / 1.25
        if y / 0.7 - row < 0.12 or u - np.floor(u) < 0.07:
            r, gr, b = r * (1 - 0.42 * fine), gr * (1 - 0.42 * fine), b * (1 - 0.42 * fine)
    elif kind == BUILDING_KIND and abs(ny) < 0.5:  # windows
        across = (x if abs(nz) > 0.5 else z) / 1.7
        row, column = int(np.floor(y / 1.9)), int(np.floor(across))
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
def pixel(p, kinds, ox, oy, oz, dx, dy, dz):  # type: ignore[no-untyped-def]
    """(r, g, b, depth in metres along the ray, id) of one ray; colours in [0, 1], id changes at silhouettes."""
    t, ident = ground_hit(p, ox, oy, oz, dx, dy, dz), GROUND_ID
    if dy < -1e-6:
        tw = (p[scene.WATER] - oy) / dy
        if 0.0 < tw < t:
            t, ident = tw, WATER_ID
    elif p[scene.CEILING] > 0.0 and dy > 1e-6:
        tc = (p[scene.CEILING] - oy) / dy
        if tc < t:
            t, ident = tc, CEILING_ID
    hit = nearest_object(p, kinds, ox, oy, oz, dx, dy, dz, min(t, 110.0), 22, ox, oz)
    to, nx, ny, nz, slot, kind, part, g, cx, cz = hit
    amp, freq, shape, sharp, seed = p[scene.AMP], p[scene.FREQ], p[scene.SHAPE], p[scene.SHARP], p[scene.SEED]
    sr, sg, sb = 0.0, 0.0, 0.0
    glow = 0.0
    if slot >= 0:
        t, ident = to, 16 + (g & 0xFFF) * 2 + part
        x, y, z = ox + t * dx, oy + t * dy, oz + t * dz
        foot = y - height(cx, cz, amp, freq, shape, sharp, seed)
        r, gr, b, glow = object_colour(p, slot, kind, part, foot, x, z, nx, ny, nz, g, t)
    elif t >= REACH_M:
        sr, sg, sb = sky(p, dx, dy, dz)
        return _finish(p, sr, sg, sb, REACH_M, SKY_ID)
    elif ident == WATER_ID:
        x, z = ox + t * dx, oz + t * dz
        ripple = 0.06 * wave(x * 0.21 + 0.4 * wave(z * 0.17)) * max(0.0, 1.0 - t / 60.0)
        sr, sg, sb = sky(p, dx, abs(dy) + ripple + 0.05, dz)
        k = 0.25 + 0.65 * (1.0 - min(1.0, abs(dy))) ** 4
        light = 0.55 * (p[scene.AMBIENT + 1] + 0.6 * p[scene.SUN_RGB + 1]) + 0.15
        sr = sr * k + p[scene.WATER_RGB] * light * (1 - k) * 1.6
        sg = sg * k + p[scene.WATER_RGB + 1] * light * (1 - k) * 1.6
        sb = sb * k + p[scene.WATER_RGB + 2] * light * (1 - k) * 1.6
        return _fogged(p, sr, sg, sb, t, ident)
    else:
        x, z = ox + t * dx, oz + t * dz
        y = oy + t * dy
        nx, ny, nz = 0.0, (1.0 if ident == GROUND_ID else -1.0), 0.0
        if amp > 0.0 and ident == GROUND_ID:
            e = 0.2 + 0.01 * t
            h = height(x, z, amp, freq, shape, sharp, seed)
            nx = (h - height(x + e, z, amp, freq, shape, sharp, seed)) / e
            nz = (h - height(x, z + e, amp, freq, shape, sharp, seed)) / e
            n = 1.0 / np.sqrt(nx * nx + nz * nz + 1.0)
            nx, ny, nz = nx * n, n, nz * n
        r, gr, b = ground_colour(p, x, z, t)
        if shape == 2.0 and ny < 0.85:  # steep walls show rock strata
            k = min(1.0, (0.85 - ny) * 4.0)
            band = 0.72 + 0.22 * wave(y * 0.38)
            r, gr, b = r + k * (0.62 * band * (r + 0.25) - r), gr + k * (0.62 * band * (gr + 0.2) - gr), b + k * (0.6 * band * (b + 0.18) - b)
    lit = nx * p[scene.SUN_DIR] + ny * p[scene.SUN_DIR + 1] + nz * p[scene.SUN_DIR + 2]
    if lit > 0.0 and p[scene.SUN_RGB] > 0.12 and t < 55.0:
        px, py, pz = x + nx * 0.03, y + ny * 0.03 + 0.02, z + nz * 0.03
        shadow = nearest_object(p, kinds, px, py, pz, p[scene.SUN_DIR], p[scene.SUN_DIR + 1], p[scene.SUN_DIR + 2], 40.0, 5, ox, oz)
        if shadow[4] >= 0:
            lit *= 0.12 + 0.88 * max(0.0, (t - 40.0) / 15.0)
    lit = max(lit, 0.0) + 0.08
    soft = 0.72 + 0.28 * ny
    lamp = p[scene.LAMP] * 0.85 / (1.0 + 0.055 * t * t) * (0.35 + 0.65 * abs(nx * dx + ny * dy + nz * dz))
    sr = r * (p[scene.AMBIENT] * soft + p[scene.SUN_RGB] * lit + lamp * 1.5) + r * glow
    sg = gr * (p[scene.AMBIENT + 1] * soft + p[scene.SUN_RGB + 1] * lit + lamp * 1.25) + gr * glow
    sb = b * (p[scene.AMBIENT + 2] * soft + p[scene.SUN_RGB + 2] * lit + lamp * 0.95) + b * glow
    return _fogged(p, sr, sg, sb, t, ident)


@register_jitable
def _fogged(p, r, g, b, t, ident):  # type: ignore[no-untyped-def]
    k = np.exp(-p[scene.FOG] * t)
    if t > 110.0:  # the far ground melts into the horizon
        k *= max(0.0, 1.0 - (t - 110.0) / (REACH_M - 110.0))
    if p[scene.CEILING] > 0.0:
        k *= np.exp(-0.035 * t)
    r = r * k + p[scene.FOG_RGB] * (1 - k)
    g = g * k + p[scene.FOG_RGB + 1] * (1 - k)
    b = b * k + p[scene.FOG_RGB + 2] * (1 - k)
    return _finish(p, r, g, b, t, ident)


@register_jitable
def _finish(p, r, g, b, t, ident):  # type: ignore[no-untyped-def]
    """Mood: saturation, tint, lift; then clip and gamma."""
    grey = 0.3 * r + 0.55 * g + 0.15 * b
    s, lift = p[scene.SATURATION], p[scene.LIFT]
    r = (grey + s * (r - grey)) * p[scene.TINT] * (1 - lift) + lift
    g = (grey + s * (g - grey)) * p[scene.TINT + 1] * (1 - lift) + lift
    b = (grey + s * (b - grey)) * p[scene.TINT + 2] * (1 - lift) + lift
    r, g, b = min(1.0, max(0.0, r)), min(1.0, max(0.0, g)), min(1.0, max(0.0, b))
    # a soft shoulder instead of a power: cheap, and lifts the shadows as a display gamma would
    return r * (1.45 - 0.45 * r), g * (1.45 - 0.45 * g), b * (1.45 - 0.45 * b), t, ident
