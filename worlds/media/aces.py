"""ACEScg pictures of display light: which scene would the Academy's own rendering show as this picture?

ACEScg is the same space in ACES 1.3 and 2.0: linear light, AP1 primaries, the ACES white point (S-2014-004). What
changed from 1.3 to 2.0 is the rendering that turns such a scene into a picture. A sequence for 1.3 therefore passes
backwards through the tone curve of 1.3's 1000-nit output transform (`ACESlib.SSTS.ctl` of aces-dev 1.3, mid grey at 15
nits), one for 2.0 backwards through 2.0's (`Lib.Academy.Tonescale.ctl` of aces-core, peak 1000 nits). The tone curves
act on luminance and are inverted exactly; the colour parts of the renderings (1.3's glow, red modifier and
desaturation, 2.0's chroma and gamut compression) are not, so saturated colours come out somewhat tamer than here.
"""

from __future__ import annotations

import math
from functools import cache
from typing import cast

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
PEAK_NITS, BLACK_NITS, GREY_NITS = 1000.0, 0.0001, 15.0
# CIE x, y of red, green, blue, white
AP1 = ((0.713, 0.293), (0.165, 0.830), (0.128, 0.044), (0.32168, 0.33767))  # S-2014-004
BT2020 = ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046), (0.3127, 0.3290))  # BT.2020-2
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
LUMINANCE_AP1 = np.array([0.2722287168, 0.6740817658, 0.0536895174], np.float32)  # the Y row of AP1 to XYZ
_STOPS_DARK = ((-4.0, math.log10(0.02)), (-15.0, -6.5))  # log10 of nits, stops from mid grey
_STOPS_BRIGHT = ((math.log10(48.0), 4.0), (6.5, 18.0))


def _to_xyz(primaries: tuple[tuple[float, float], ...]) -> Doubles:
    """RGB to XYZ, from chromaticities (SMPTE RP 177)."""
    columns = np.array([[x / y, 1.0, (1 - x - y) / y] for x, y in primaries]).T
    return columns[:, :3] * np.linalg.solve(columns[:, :3], columns[:, 3])


@cache
def _ap1_of_bt2020() -> Floats:
    """Linear BT.2020 to AP1, white to white by Bradford's adaptation."""
    source, target = _to_xyz(BT2020), _to_xyz(AP1)
    there = _BRADFORD @ target.sum(axis=1)
    adapted = np.linalg.solve(_BRADFORD, np.diag(there / (_BRADFORD @ source.sum(axis=1))) @ _BRADFORD)
    return np.linalg.solve(target, adapted @ source).astype(np.float32)


def ap1(rgb: Floats) -> Floats:
    """Linear BT.2020 `[..., 3]` to linear AP1; white stays white."""
    return cast(Floats, rgb @ _ap1_of_bt2020().T)


def acescg(nits: Floats, version: str) -> Floats:
    """Scene-linear ACEScg `[..., 3]` of linear BT.2020 display light in nits; 0.18 is mid grey. `version`: 1.3 or 2.0.

    Raises ValueError on another version.
    """
    if version not in ("1.3", "2.0"):
        raise ValueError(f"ACES output is made for 1.3 or 2.0, not {version!r}")
    light = ap1(nits)
    luminance = np.maximum(light @ LUMINANCE_AP1, np.float32(1e-6))
    scene = scene_of_nits_13(luminance) if version == "1.3" else scene_of_nits_20(luminance)
    return cast(Floats, light * (scene / luminance)[..., None])


def nits_of_scene_13(scene: Doubles, peak_nits: float = PEAK_NITS) -> Doubles:
    """The forward tone curve of ACES 1.3 (single-stage tone scale): scene luminance to nits."""
    shift = _log_spline_inverse(np.log10(GREY_NITS), *_knots(BLACK_NITS, peak_nits)) - np.log10(0.18)
    log_x, log_y = _log_spline(*_knots(BLACK_NITS, peak_nits))
    return cast(Doubles, 10 ** np.interp(np.log10(np.maximum(scene, 2.0**-24)) + shift, log_x, log_y))


def scene_of_nits_13(nits: Floats) -> Floats:
    """Its inverse, for mid grey at 15 nits."""
    log_x, log_y, shift = _table_13()
    return (10 ** (np.interp(np.log10(np.maximum(nits, 1e-6)), log_y, log_x) - shift)).astype(np.float32)


@cache
def _table_13() -> tuple[Doubles, Doubles, float]:
    low, high = _knots(BLACK_NITS, PEAK_NITS)
    shift = _log_spline_inverse(np.log10(GREY_NITS), low, high) - np.log10(0.18)
    log_x, log_y = _log_spline(low, high)
    return log_x, log_y, float(shift)


Bends = tuple[tuple[float, float], tuple[float, float]]
Knots = tuple[float, float, tuple[float, ...]]  # log10 of the first and last x, and the five coefficients between


def _knots(black_nits: float, peak_nits: float) -> tuple[Knots, Knots]:
    """Below and above mid grey (0.18 to 4.8 nits at slope 1.55 before it is shifted)."""
    mid_x, mid_y, slope = float(np.log10(0.18)), float(np.log10(4.8)), 1.55

    def end(nits: float, table: Bends, bends: Bends) -> tuple[float, float, float]:
        stops = float(np.interp(np.log10(nits), *table))
        return float(np.log10(0.18 * 2.0**stops)), float(np.log10(nits)), float(np.interp(stops, *bends))

    def near_grey(end_x: float) -> tuple[float, float]:
        half = slope * abs(end_x - mid_x) / 6
        return mid_y - half, mid_y + half

    x, y, bend = end(black_nits, _STOPS_DARK, ((-15.0, -6.5), (0.18, 0.35)))
    low = (x, mid_x, (y, y, y + bend * (mid_y - y), *near_grey(x)))
    x, y, bend = end(peak_nits, _STOPS_BRIGHT, ((6.5, 18.0), (0.89, 0.90)))
    return low, (mid_x, x, (*near_grey(x), mid_y + bend * (y - mid_y), y, y))


def _log_spline(low: Knots, high: Knots) -> tuple[Doubles, Doubles]:
    """The curve in log10, finely: quadratic B-splines of three pieces on each side."""
    xs, ys = [], []
    for first, last, coefficients in (low, high):
        at = np.linspace(0, 3, 3001)
        piece = np.minimum(at.astype(int), 2)
        t = at - piece
        a, b, c = (np.array(coefficients)[piece + k] for k in range(3))
        ys.append(t * t * (0.5 * a - b + 0.5 * c) + t * (b - a) + 0.5 * (a + b))
        xs.append(first + (last - first) * at / 3)
    return np.concatenate(xs), np.maximum.accumulate(np.concatenate(ys))


def _log_spline_inverse(log_y: float, low: Knots, high: Knots) -> float:
    log_x, log_ys = _log_spline(low, high)
    return float(np.interp(log_y, log_ys, log_x))


@cache
def _curve_20(peak_nits: float) -> tuple[float, float, float]:
    """(s_2, m_2, the highest that can be inverted, over 100 nits) of ACES 2.0's tone scale."""
    n, g, toe = peak_nits / 100, 1.15, 0.04
    roof = 128 + (896 - 128) * np.log(n) / np.log(100)
    m_1 = 0.5 * (n + np.sqrt(n * (n + 4 * toe)))
    m = m_1 / (roof / m_1 / (roof / m_1 + 1)) ** g
    grey = 0.10013 * (1 + np.log2(n) * 0.14)
    before_toe = 0.5 * (grey + np.sqrt(grey * (grey + 4 * toe)))
    root = (before_toe / m) ** (1 / g)
    w_2 = 0.18 / (-m_1 * root / (root - 1))
    s_2 = w_2 * m_1
    u_2 = (roof / m_1 / (roof / m_1 + w_2)) ** g
    return float(s_2), float(m_1 / u_2), float(n / u_2)


def nits_of_scene_20(scene: Doubles, peak_nits: float = PEAK_NITS) -> Doubles:
    """The forward tone curve of ACES 2.0: scene luminance to nits."""
    s_2, m_2, _ = _curve_20(peak_nits)
    f = m_2 * (np.maximum(scene, 0) / (scene + s_2)) ** 1.15
    return 100 * f * f / (f + 0.04)


def scene_of_nits_20(nits: Floats) -> Floats:
    """Its inverse, for a peak of 1000 nits."""
    s_2, m_2, top = _curve_20(PEAK_NITS)
    z = np.clip(nits / np.float32(100), 1e-9, top)
    h = (z + np.sqrt(z * (4 * 0.04 + z))) / 2
    return (s_2 / ((m_2 / h) ** (1 / 1.15) - 1)).astype(np.float32)
