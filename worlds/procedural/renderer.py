"""The CPU renderer: every ray of every frame, in parallel over rows, with extra samples where silhouettes are.

Cameras are `float64[N, 5]`: x, y, z in metres, yaw and pitch in radians, as `worlds.core.Camera`.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from . import scene
from .objects import KINDS, TALLEST_M
from .scene import Vector
from .shading import pixel
from .terrain import height

EYE_M = 1.6
FOV_X_RAD = math.radians(78.0)
EDGE = 0.10  # a colour step to the neighbour above which a pixel gets three more samples

Images = NDArray[np.uint8]
Depths = NDArray[np.float32]


@njit(parallel=True, cache=True, fastmath=True, error_model="numpy")
def _render(params, cameras, kinds, tan_x, tan_y, smooth, rgb, depth):  # type: ignore[no-untyped-def]
    frames, rows, columns = depth.shape
    for job in prange(frames * 8):  # an eighth of a frame a job: good balance for one frame and for many
        f, part = job // 8, job % 8
        p, cam = params[f], cameras[f]
        sy, cy, sp, cp = np.sin(cam[3]), np.cos(cam[3]), np.sin(cam[4]), np.cos(cam[4])
        first, last = rows * part // 8, rows * (part + 1) // 8
        above = np.zeros((columns, 4))
        for i in range(first, last):
            left = np.zeros(4)
            for j in range(columns):
                for extra in range(4):
                    ou, ov = 0.5, 0.5
                    if smooth:
                        ou, ov = 0.25 + 0.5 * (extra & 1), 0.25 + 0.5 * (extra >> 1)
                    u = (2.0 * (j + ou) / columns - 1.0) * tan_x
                    v = (1.0 - 2.0 * (i + ov) / rows) * tan_y
                    n = 1.0 / np.sqrt(u * u + v * v + 1.0)
                    fz, fy = (cp - v * sp) * n, (sp + v * cp) * n
                    dx, dy, dz = u * n * cy + fz * sy, fy, fz * cy - u * n * sy
                    r, g, b, t, ident = pixel(p, kinds, cam[0], cam[1], cam[2], dx, dy, dz)
                    if extra == 0:
                        ar, ag, ab, depth[f, i, j] = r, g, b, t
                        edge = smooth and (j == 0 or i == first)
                        if smooth and not edge:
                            here = r + g + b
                            edge = (
                                ident != int(left[3])
                                or ident != int(above[j, 3])
                                or abs(here - left[0]) > 3 * 0.10
                                or abs(here - above[j, 0]) > 3 * 0.10
                            )
                        left[0], left[3] = r + g + b, ident
                        above[j, 0], above[j, 3] = r + g + b, ident
                        if not edge:
                            break
                    else:
                        ar, ag, ab = ar + r, ag + g, ab + b
                        if extra == 3:
                            ar, ag, ab = ar / 4, ag / 4, ab / 4
                rgb[f, i, j, 0] = int(ar * 255.0 + 0.5)
                rgb[f, i, j, 1] = int(ag * 255.0 + 0.5)
                rgb[f, i, j, 2] = int(ab * 255.0 + 0.5)


def camera_rows(rows: int, columns: int) -> tuple[float, float]:
    """(tan of half the horizontal, of half the vertical field of view) for square pixels."""
    tan_x = math.tan(FOV_X_RAD / 2)
    return tan_x, tan_x * rows / columns


def prepared(vector: Vector) -> Vector:
    """The vector with its derived bound filled in: above TOP metres a rising ray can meet nothing."""
    vector = vector.copy()
    vector[..., scene.TOP] = 1.17 * vector[..., scene.AMP] + TALLEST_M
    return vector


def render(
    vectors: Vector, cameras: NDArray[np.float64], width_px: int, height_px: int, smooth: bool = True
) -> tuple[Images, Depths]:
    """Pictures `uint8[N, H, W, 3]` and depths in metres `float32[N, H, W]` of N cameras.

    `vectors` is `float64[SIZE]` (one scene for all) or `[N, SIZE]`. `smooth` adds samples at edges.
    """
    cameras = np.ascontiguousarray(cameras, np.float64)
    if cameras.ndim != 2 or cameras.shape[1] != 5:
        raise ValueError(f"cameras must be [N, 5], got {cameras.shape}")
    if not np.isfinite(cameras).all():
        raise ValueError("cameras must be finite numbers")
    params = np.ascontiguousarray(np.broadcast_to(prepared(vectors), (len(cameras), scene.SIZE)))
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
