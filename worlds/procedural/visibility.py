"""Which pixels of a frame show something that an earlier frame already showed: from exact depths and cameras.

Each pixel's surface point is projected into the earlier camera; it was seen when the depth there is its distance.
Exact up to one pixel at silhouettes, where four neighbours span a range of depths. The sky is a direction without a
distance, seen when the earlier frame has sky there.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .renderer import camera_rows, offset
from .shading import REACH_M

Mask = NDArray[np.bool_]
Points = NDArray[np.float64]
TOLERANCE, TOLERANCE_M = 0.02, 0.05  # of the distance: what a pixel's width and single precision make of a depth
BEHIND_M = 1e-3


def rays(rows: int, columns: int) -> Points:
    """Unit directions `[H, W, 3]` (right, up, ahead) of the samples whose depth `render` keeps (`smooth` on)."""
    tan_x, tan_y = camera_rows(rows, columns)
    at_x, at_y = offset(True, 0)
    u = (2.0 * (np.arange(columns) + at_x) / columns - 1.0) * tan_x
    v = (1.0 - 2.0 * (np.arange(rows) + at_y) / rows) * tan_y
    out = np.stack(np.broadcast_arrays(u[None, :], v[:, None], 1.0), -1).astype(np.float64)
    return out / np.linalg.norm(out, axis=-1, keepdims=True)


def axes(camera: NDArray[np.float64]) -> Points:
    """`[3, 3]`: the camera's right, up and ahead in world coordinates; a camera is x, y, z, yaw, pitch."""
    sy, cy, sp, cp = np.sin(camera[3]), np.cos(camera[3]), np.sin(camera[4]), np.cos(camera[4])
    return np.array([[cy, 0.0, -sy], [-sp * sy, cp, -sp * cy], [cp * sy, sp, cp * cy]])


def seen_before(
    depth: NDArray[np.float32],
    camera: NDArray[np.float64],
    earlier_depths: NDArray[np.float32],
    earlier_cameras: NDArray[np.float64],
) -> Mask:
    """`bool[H, W]`: the pixels of a frame (depth `[H, W]` m, camera `[5]`) that any of the earlier frames (`[K, H, W]`,
    `[K, 5]`) showed. Raises ValueError where the sizes do not agree."""
    if earlier_depths.shape[1:] != depth.shape or len(earlier_depths) != len(earlier_cameras):
        raise ValueError(f"depths {earlier_depths.shape} and {len(earlier_cameras)} cameras for a frame {depth.shape}")
    rows, columns = depth.shape
    directions = (rays(rows, columns) @ axes(camera)).reshape(-1, 3)
    distance = depth.reshape(-1).astype(np.float64)
    seen = np.zeros(rows * columns, bool)
    for k in reversed(range(len(earlier_depths))):  # the newest shows most: little is left to ask the others
        left = np.flatnonzero(~seen)
        if not len(left):
            break
        seen[left] = _shown(directions[left], distance[left], camera, earlier_depths[k], earlier_cameras[k])
    return seen.reshape(rows, columns)


def _shown(
    directions: Points,
    distance: NDArray[np.float64],
    camera: NDArray[np.float64],
    depth: NDArray[np.float32],
    earlier: NDArray[np.float64],
) -> Mask:
    """`bool[N]`: whether the earlier frame showed the points at `distance` along `directions` from the camera."""
    sky = distance >= REACH_M
    points = directions * distance[:, None] + camera[:3] - earlier[:3]
    points[sky] = directions[sky]
    far = np.linalg.norm(points, axis=1)
    x, y, z = axes(earlier) @ points.T
    rows, columns = depth.shape
    tan_x, tan_y = camera_rows(rows, columns)
    at_x, at_y = offset(True, 0)
    ahead = np.maximum(z, BEHIND_M)
    column = (x / ahead / tan_x + 1.0) * columns / 2 - at_x
    row = (1.0 - y / ahead / tan_y) * rows / 2 - at_y
    inside = (z > BEHIND_M) & (column >= -at_x) & (column <= columns - at_x) & (row >= -at_y) & (row <= rows - at_y)
    left = np.clip(np.floor(np.where(inside, column, 0)).astype(int), 0, columns - 1)
    top = np.clip(np.floor(np.where(inside, row, 0)).astype(int), 0, rows - 1)
    right, below = np.minimum(left + 1, columns - 1), np.minimum(top + 1, rows - 1)
    around = np.stack([depth[top, left], depth[top, right], depth[below, left], depth[below, right]]).astype(np.float64)
    slack = TOLERANCE * far + TOLERANCE_M
    hit = (far >= around.min(0) - slack) & (far <= around.max(0) + slack)
    found: Mask = inside & np.where(sky, around.max(0) >= REACH_M, hit)
    return found
