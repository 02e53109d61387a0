"""The CPU renderer: every ray of every frame, in parallel over rows, with extra samples where silhouettes are.

Cameras are `float64[N, 5]`: x, y, z in metres, yaw and pitch in radians, as `worlds.core.Camera`.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit, prange
from numba.extending import register_jitable
from numpy.typing import NDArray

from . import scene
from .objects import FIELDS, KINDS, SPAN, TALLEST_M, fill_cell
from .scene import Vector
from .shading import pixel, view_ray
from .terrain import height

EYE_M = 1.6
FOV_X_RAD = math.radians(78.0)
EDGE = 0.10  # a colour step to the neighbour above which a pixel gets three more samples
BANDS = 8  # jobs a frame: a good balance for one frame and for many; a band's first row counts as edge
STRIDE = 37  # a prime, for scattering jobs

Images = NDArray[np.uint8]
Depths = NDArray[np.float32]
Draw = Callable[[Vector, NDArray[np.float64], int, int], tuple[Images, Depths]]  # `render`, or its CUDA twin


@register_jitable
def offset(smooth: bool, sample: int) -> tuple[float, float]:
    """Where in its pixel a sample lies, right and down: the middle, or one of four."""
    if not smooth:
        return 0.5, 0.5
    return 0.25 + 0.5 * (sample & 1), 0.25 + 0.5 * (sample >> 1)


@register_jitable
def is_edge(here: float, ident: int, left: float, left_id: int, above: float, above_id: int) -> bool:
    """Whether a pixel differs from its left or upper neighbour in what it shows or in brightness (r + g + b)."""
    if ident != left_id or ident != above_id:
        return True
    return abs(here - left) > 3 * EDGE or abs(here - above) > 3 * EDGE


def _fingerprint() -> int:
    """Changes with any source that the kernel is compiled from: numba's own cache looks at this file only."""
    names = ("objects.py", "renderer.py", "scene.py", "shading.py", "shapes.py", "sky.py", "terrain.py")
    return zlib.crc32(b"".join(Path(__file__).with_name(name).read_bytes() for name in names))


def _kernel(fingerprint: int) -> Any:
    @njit(parallel=True, cache=True, fastmath=True, error_model="numpy")
    def _render(
        params: Vector,
        cameras: Vector,
        kinds: Vector,
        tan_x: float,
        tan_y: float,
        smooth: bool,
        rgb: Images,
        depth: Depths,
    ) -> None:
        frames, rows, columns = depth.shape
        if fingerprint < 0:  # never: naming it here makes it part of the cache's key
            return
        near = np.empty((frames, SPAN, SPAN, FIELDS))
        for row in prange(frames * SPAN):
            f, i = row // SPAN, row % SPAN
            for j in range(SPAN):
                fill_cell(params[f], kinds, cameras[f, 0], cameras[f, 2], i, j, near[f])
        jobs = frames * BANDS
        stride = STRIDE if jobs % STRIDE else 1
        for at in prange(jobs):  # a thread gets a run of neighbours: scatter them, a frame may cost twice another
            job = at * stride % jobs
            f, part = job // BANDS, job % BANDS
            p, cam = params[f], cameras[f]
            sy, cy, sp, cp = np.sin(cam[3]), np.cos(cam[3]), np.sin(cam[4]), np.cos(cam[4])
            first, last = rows * part // BANDS, rows * (part + 1) // BANDS
            above = np.zeros((columns, 2))  # brightness and id
            for i in range(first, last):
                left, left_id = 0.0, 0
                for j in range(columns):
                    red, green, blue = 0.0, 0.0, 0.0
                    samples = 1
                    for sample in range(4):
                        u, v = offset(smooth, sample)
                        u, v = (2.0 * (j + u) / columns - 1.0) * tan_x, (1.0 - 2.0 * (i + v) / rows) * tan_y
                        dx, dy, dz = view_ray(u, v, sy, cy, sp, cp)
                        r, g, b, t, ident = pixel(p, kinds, near[f], cam[0], cam[1], cam[2], dx, dy, dz)
                        red, green, blue = red + r, green + g, blue + b
                        if sample == 0:
                            depth[f, i, j] = t
                            here = r + g + b
                            border = j == 0 or i == first
                            if smooth and (
                                border or is_edge(here, ident, left, left_id, above[j, 0], int(above[j, 1]))
                            ):
                                samples = 4
                            left, left_id = here, ident
                            above[j, 0], above[j, 1] = here, ident
                            if samples == 1:
                                break
                    rgb[f, i, j, 0] = int(red / samples * 255.0 + 0.5)
                    rgb[f, i, j, 1] = int(green / samples * 255.0 + 0.5)
                    rgb[f, i, j, 2] = int(blue / samples * 255.0 + 0.5)

    return _render


_render = _kernel(_fingerprint())


def camera_rows(rows: int, columns: int) -> tuple[float, float]:
    """(tan of half the horizontal, of half the vertical field of view) for square pixels."""
    tan_x = math.tan(FOV_X_RAD / 2)
    return tan_x, tan_x * rows / columns


def prepared(vector: Vector) -> Vector:
    """The vector with its derived bound filled in: above TOP metres a rising ray can meet nothing."""
    vector = vector.copy()
    vector[..., scene.TOP] = 1.17 * vector[..., scene.AMP] + TALLEST_M
    return vector


def checked(vectors: Vector, cameras: NDArray[np.float64]) -> tuple[Vector, NDArray[np.float64]]:
    """One prepared vector a camera, and the cameras; raises ValueError where they are not [N, 5] finite numbers."""
    cameras = np.ascontiguousarray(cameras, np.float64)
    if cameras.ndim != 2 or cameras.shape[1] != 5:
        raise ValueError(f"cameras must be [N, 5], got {cameras.shape}")
    if not np.isfinite(cameras).all():
        raise ValueError("cameras must be finite numbers")
    params: Vector = np.ascontiguousarray(np.broadcast_to(prepared(vectors), (len(cameras), scene.SIZE)))
    return params, cameras


def render(
    vectors: Vector, cameras: NDArray[np.float64], width_px: int, height_px: int, smooth: bool = True
) -> tuple[Images, Depths]:
    """Pictures `uint8[N, H, W, 3]` and depths in metres `float32[N, H, W]` of N cameras.

    `vectors` is `float64[SIZE]` (one scene for all) or `[N, SIZE]`. `smooth` adds samples at edges.
    """
    params, cameras = checked(vectors, cameras)
    rgb = np.empty((len(cameras), height_px, width_px, 3), np.uint8)
    depth = np.empty((len(cameras), height_px, width_px), np.float32)
    tan_x, tan_y = camera_rows(height_px, width_px)
    _render(params, cameras, KINDS, tan_x, tan_y, smooth, rgb, depth)
    return rgb, depth


def eye_height(vector: Vector, x_m: float, z_m: float) -> float:
    """Height of a walker's eye: the ground averaged over a stride, never under the own ground or the water."""
    args = (vector[scene.AMP], vector[scene.FREQ], vector[scene.SHAPE], vector[scene.SHARP], vector[scene.SEED])
    here = float(height(x_m, z_m, *args))
    around = [float(height(x_m + a, z_m + b, *args)) for a, b in ((1.6, 0), (-1.6, 0), (0, 1.6), (0, -1.6))]
    ground = max((here + sum(around)) / 5, here - 0.4)
    return max(ground, float(vector[scene.WATER])) + EYE_M
