"""Places that were drawn, remembered by where the camera stood: turn back, and they are there again.

Every frame from a new place or in a new direction is kept, with its pose, until the budget is spent. When a frame is
to be drawn, those that show most of what comes into view are brought here through the camera's motion (reprojection.py)
and laid over each other, and the network finds them on its channel axis with a mask of what they cover. Retrieval is by
overlap of the two views (Context as Memory 2506.03141; WorldMem 2504.12369); the frames are moved by geometry, not
found by attention, because a network this small copies what lies in its place and does not learn to search for it.

A place is kept as its latent, 5 kB: every snapshot of a walk (realtime/timeline.py) holds the places of its moment, and
with small pictures of 30 kB each they filled a gigabyte in half an hour. A picture is made anew in 0.1 ms.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .conditioning import PITCH_SCALE_RAD, STEP_SCALE_M, TURN_SCALE_RAD
from .config import NetworkConfig
from .core import Camera
from .reprojection import POINTS, Places, Reprojection

SHOWN = 2  # places that are laid over each other
APART_M, APART_RAD = 0.75, math.radians(15.0)  # a frame nearer than both to a kept one is not kept
RECENT = 8  # frames too new to be recalled: the network sees them anyway
SUSPECT = 64  # frames before it is noticed that a walk has strayed, which are forgotten with it
METRE_COST = 0.05  # of overlap: moved over a distance, a picture shows false parallax
LEAST = 0.08  # overlap, all costs paid, that is worth recalling
_DISTANCES_M = (2.5, 8.0, 25.0)  # where on a ray overlap is asked for
_COLUMNS, _ROWS = 8, 3

Poses = NDArray[np.float64]  # [..., 4]: x, z in metres (east, north), yaw and pitch in radians


def pose_of(camera: Camera) -> Poses:
    """`float64[4]`; heights are the ground's, and left out."""
    return np.array([camera.x_m, camera.z_m, camera.yaw_rad, camera.pitch_rad])


def poses_along(actions: Tensor) -> Poses:
    """Action vectors `[..., T, A]` (conditioning.py) to poses from the origin on, `float64[..., T, 4]`."""
    a = actions.detach().cpu().double().numpy()
    yaw = np.cumsum(a[..., 3] * TURN_SCALE_RAD, -1)
    right, forward = a[..., 0] * STEP_SCALE_M, a[..., 2] * STEP_SCALE_M
    x = np.cumsum(right * np.cos(yaw) + forward * np.sin(yaw), -1)
    z = np.cumsum(forward * np.cos(yaw) - right * np.sin(yaw), -1)
    return np.stack([x, z, yaw, a[..., 5] * PITCH_SCALE_RAD], -1)


def is_new(pose: Poses, kept: Poses) -> bool:
    """Whether a frame seen from `pose` `[4]` shows a new place or direction beside those `kept` `[K, 4]`."""
    turned = np.abs((kept[:, 2] - pose[2] + math.pi) % (2 * math.pi) - math.pi)
    near = np.hypot(kept[:, 0] - pose[0], kept[:, 1] - pose[1]) < APART_M
    return not (near & (turned < APART_RAD) & (np.abs(kept[:, 3] - pose[3]) < APART_RAD)).any()


def relative(here: Poses, there: Poses) -> Poses:
    """How the camera moved from `there` `[K, 4]` to `here` `[4]`: `[K, 4]` as `Reprojection.source` wants it."""
    east, north, turned = here[0] - there[:, 0], here[1] - there[:, 1], here[2] - there[:, 2]
    sin, cos = math.sin(here[2]), math.cos(here[2])
    return np.stack([east * cos - north * sin, east * sin + north * cos, turned, there[:, 3]], -1)


def overlaps(here: Poses, there: Poses, view_rad: float, aspect: float) -> NDArray[np.bool_]:
    """`bool[K, P]`: which of P points in the view from `here` `[4]` the views from `there` `[K, 4]` show too.

    The points lie on rays through a grid over the picture, at a few distances. `aspect` is height over width.
    """
    reach = math.tan(view_rad / 2)
    u = ((np.arange(_COLUMNS) + 0.5) / _COLUMNS * 2 - 1) * reach
    v = ((np.arange(_ROWS) + 0.5) / _ROWS * 2 - 1) * reach * aspect
    across, up = (x.ravel() for x in np.meshgrid(u, v))
    sp, cp = math.sin(here[3]), math.cos(here[3])
    length = np.sqrt(1 + across**2 + up**2)
    rays = np.stack([across, sp + up * cp, cp - up * sp]) / length  # level: right, up, ahead
    points = np.concatenate([rays * d for d in _DISTANCES_M], 1)  # [3, P]
    moved = relative(here, there)
    right, forward, yaw, pitch = (x[:, None] for x in moved.T)
    x, y, z = points[0] + right, points[1], points[2] + forward
    x, z = x * np.cos(yaw) + z * np.sin(yaw), z * np.cos(yaw) - x * np.sin(yaw)
    y, z = y * np.cos(pitch) - z * np.sin(pitch), z * np.cos(pitch) + y * np.sin(pitch)
    shown: NDArray[np.bool_] = (z > 0.1) & (np.abs(x) < reach * z) & (np.abs(y) < reach * aspect * z)
    return shown


def chosen(here: Poses, there: Poses, config: NetworkConfig, count: int = SHOWN) -> list[int]:
    """Rows of `there` `[K, 4]` to recall, best first, at most `count`: the largest overlap, then the largest rest."""
    if not len(there):
        return []
    shown = overlaps(here, there, config.view_rad, config.rows / config.columns)
    cost = METRE_COST * np.hypot(there[:, 0] - here[0], there[:, 1] - here[1])
    rows: list[int] = []
    for _ in range(count):
        gain = shown.mean(1) - cost
        best = int(gain.argmax())
        if gain[best] < LEAST:
            break
        rows.append(best)
        shown = shown & ~shown[best]
    return rows


@dataclass(frozen=True, slots=True)
class Place:
    """One remembered frame. Never changed, so that snapshots share it."""

    latent: Tensor  # [1, C, h, w]
    pose: Poses  # [4]
    index: int  # of the frame in the session


State = tuple[tuple[Place, ...], tuple[int, ...]]
"""The places, and the frame in which each was kept or last recalled."""


class PlaceMemory:
    """The places of one rollout. At most `budget` of them: then the one that was of no use for longest goes."""

    def __init__(self, config: NetworkConfig, budget: int) -> None:
        self.config, self.budget = config, budget if config.recall else 0
        self._places: list[Place] = []
        self._used: list[int] = []
        self._poses, self._indices = np.empty((0, 4)), np.empty(0, np.int64)  # of the places, for quick looks

    def __len__(self) -> int:
        return len(self._places)

    def clear(self) -> None:
        self._hold([], [])

    def keep(self, latent: Tensor, pose: Poses, index: int) -> bool:
        """Remember the frame `[1, C, h, w]` where it is of a new place; returns whether it was."""
        if not self.budget or not is_new(pose, self._poses):
            return False
        places, used = self._places, self._used
        if len(places) >= self.budget:
            oldest = int(np.argmin(used))
            del places[oldest], used[oldest]
        self._hold([*places, Place(latent.clone(), pose, index)], [*used, index])
        return True

    def forget(self, since: int) -> None:
        """Drop the places kept from the frame `since` on: the walk had strayed by then."""
        good = [i for i, place in enumerate(self._places) if place.index < since]
        if len(good) < len(self._places):
            self._hold([self._places[i] for i in good], [self._used[i] for i in good])

    @torch.no_grad()
    def recall(self, reprojection: Reprojection, here: Poses, index: int) -> Places:
        """What is remembered of the view from `here`, for the frame `index`; B and T are 1, M is SHOWN."""
        old = np.flatnonzero(self._indices <= index - RECENT)
        there, places = self._poses[old], nothing(self.config)
        for m, row in enumerate(chosen(here, there, self.config)):
            self._used[old[row]] = index
            places.pictures[0, 0, m] = reprojection.pictures(self._places[old[row]].latent)[0]
            places.poses[0, 0, m] = torch.from_numpy(relative(here, there[row : row + 1])[0])
            places.known[0, 0, m] = 1.0
        return places

    def snapshot(self) -> State:
        return tuple(self._places), tuple(self._used)

    def restore(self, state: State) -> None:
        self._hold(list(state[0]), list(state[1]))

    def _hold(self, places: list[Place], used: list[int]) -> None:
        self._places, self._used = places, used
        self._poses = np.stack([p.pose for p in places]) if places else np.empty((0, 4))
        self._indices = np.array([p.index for p in places], np.int64)


def nothing(config: NetworkConfig) -> Places:
    """No place is remembered; B and T are 1."""
    picture = (3, config.rows * POINTS, config.columns * POINTS)
    return Places(
        torch.zeros(1, 1, SHOWN, *picture),
        torch.zeros(1, 1, SHOWN, 4),
        torch.zeros(1, 1, SHOWN),
        torch.zeros(1, 1, SHOWN),
    )
