"""The CUDA twin of the CPU renderer, for training on a GPU: the same scalar functions, a thread a pixel.

The CPU kernel decides while it scans a row which pixels are edges. Here one kernel works out the objects round every
eye, the next draws one sample of every pixel, the last compares neighbours by the same rule (`renderer.is_edge`; a
band's first row and the first column count as edges) and adds the other three samples. Both machines compute in
float64; they differ by rounding only.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import cuda as numba_cuda
from numba.extending import overload
from numpy.typing import NDArray

from .objects import FIELDS, KINDS, SPAN, fill_cell
from .renderer import BANDS, Depths, Images, camera_rows, checked, is_edge, offset
from .scene import Vector
from .shading import pixel, view_ray
from .terrain import floor

cuda: Any = numba_cuda  # its annotations are partial, and wrong in places
THREADS = 128  # a block; the kernels need many registers
FRAMES_AT_ONCE = 256  # bounds the memory of the first samples: 256 frames of 256x144 pixels take 430 MB


@overload(floor, target="cuda")
def _floor(t: Any) -> Any:
    def floored(t: Any) -> Any:
        return float(math.floor(t))

    return floored


def _near(params: Any, cameras: Any, kinds: Any, near: Any) -> None:
    """The table of the cells round every eye: `near` float64[N, SPAN, SPAN, FIELDS]."""
    at = cuda.grid(1)
    if at < near.shape[0] * SPAN * SPAN:
        f, i, j = at // (SPAN * SPAN), at // SPAN % SPAN, at % SPAN
        fill_cell(params[f], kinds, cameras[f, 0], cameras[f, 2], i, j, near[f])


def _first(
    params: Any, cameras: Any, near: Any, kinds: Any, tan_x: Any, tan_y: Any, smooth: Any, colours: Any, ids: Any
) -> None:
    """The first sample of every pixel: `colours` float64[N, H, W, 4] with the depth, `ids` int32[N, H, W]."""
    frames, rows, columns = ids.shape
    at = cuda.grid(1)
    if at < frames * rows * columns:
        f, i, j = at // (rows * columns), at // columns % rows, at % columns
        cam = cameras[f]
        u, v = offset(smooth, 0)
        u, v = (2.0 * (j + u) / columns - 1.0) * tan_x, (1.0 - 2.0 * (i + v) / rows) * tan_y
        dx, dy, dz = view_ray(u, v, math.sin(cam[3]), math.cos(cam[3]), math.sin(cam[4]), math.cos(cam[4]))
        r, g, b, t, ident = pixel(params[f], kinds, near[f], cam[0], cam[1], cam[2], dx, dy, dz)
        colours[f, i, j, 0], colours[f, i, j, 1], colours[f, i, j, 2], colours[f, i, j, 3] = r, g, b, t
        ids[f, i, j] = ident


def _finish(
    params: Any,
    cameras: Any,
    near: Any,
    kinds: Any,
    tan_x: Any,
    tan_y: Any,
    smooth: Any,
    colours: Any,
    ids: Any,
    rgb: Any,
) -> None:
    """The other three samples where the first ones show an edge, and the mean as bytes."""
    frames, rows, columns = ids.shape
    at = cuda.grid(1)
    if at < frames * rows * columns:
        f, i, j = at // (rows * columns), at // columns % rows, at % columns
        r, g, b = colours[f, i, j, 0], colours[f, i, j, 1], colours[f, i, j, 2]
        part = ((i + 1) * BANDS - 1) // rows
        edge = smooth and (j == 0 or i == rows * part // BANDS)
        if smooth and not edge:
            left = colours[f, i, j - 1, 0] + colours[f, i, j - 1, 1] + colours[f, i, j - 1, 2]
            above = colours[f, i - 1, j, 0] + colours[f, i - 1, j, 1] + colours[f, i - 1, j, 2]
            edge = is_edge(r + g + b, ids[f, i, j], left, ids[f, i, j - 1], above, ids[f, i - 1, j])
        if edge:
            cam = cameras[f]
            sy, cy, sp, cp = math.sin(cam[3]), math.cos(cam[3]), math.sin(cam[4]), math.cos(cam[4])
            for sample in range(1, 4):
                u, v = offset(smooth, sample)
                u, v = (2.0 * (j + u) / columns - 1.0) * tan_x, (1.0 - 2.0 * (i + v) / rows) * tan_y
                dx, dy, dz = view_ray(u, v, sy, cy, sp, cp)
                more_r, more_g, more_b, _, _ = pixel(params[f], kinds, near[f], cam[0], cam[1], cam[2], dx, dy, dz)
                r, g, b = r + more_r, g + more_g, b + more_b
            r, g, b = r / 4, g / 4, b / 4
        rgb[f, i, j, 0], rgb[f, i, j, 1], rgb[f, i, j, 2] = (
            int(r * 255.0 + 0.5),
            int(g * 255.0 + 0.5),
            int(b * 255.0 + 0.5),
        )


near_kernel = cuda.jit(fastmath=True)(_near)
first_kernel = cuda.jit(fastmath=True)(_first)
finish_kernel = cuda.jit(fastmath=True)(_finish)


def render(
    vectors: Vector, cameras: NDArray[np.float64], width_px: int, height_px: int, smooth: bool = True
) -> tuple[Images, Depths]:
    """As `renderer.render`: pictures `uint8[N, H, W, 3]` and depths in metres `float32[N, H, W]` of N cameras."""
    params, cameras = checked(vectors, cameras)
    rgb = np.empty((len(cameras), height_px, width_px, 3), np.uint8)
    depth = np.empty((len(cameras), height_px, width_px), np.float32)
    kinds = cuda.to_device(KINDS)
    view = (kinds, *camera_rows(height_px, width_px), smooth)
    for start in range(0, len(cameras), FRAMES_AT_ONCE):
        chunk = slice(start, start + FRAMES_AT_ONCE)
        scenes, poses = cuda.to_device(params[chunk]), cuda.to_device(cameras[chunk])
        shape = rgb[chunk].shape[:3]
        colours, ids = cuda.device_array((*shape, 4), np.float64), cuda.device_array(shape, np.int32)
        pixels = cuda.device_array((*shape, 3), np.uint8)
        near = cuda.device_array((shape[0], SPAN, SPAN, FIELDS), np.float64)
        near_kernel[-(-shape[0] * SPAN**2 // THREADS), THREADS](scenes, poses, kinds, near)
        grid = -(-ids.size // THREADS), THREADS
        first_kernel[grid](scenes, poses, near, *view, colours, ids)
        finish_kernel[grid](scenes, poses, near, *view, colours, ids, pixels)
        rgb[chunk] = pixels.copy_to_host()
        depth[chunk] = colours.copy_to_host()[..., 3]
    return rgb, depth
