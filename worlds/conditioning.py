"""From a player's action and a prompt's words to the tensors that the network sees."""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .core import Action, Camera
from .procedural.captions import words as split_words

MOST_WORDS, IDS_PER_WORD = 24, 8
MISSING = 1.0  # the context-noise label of a history that does not exist, in training and in play
STEP_SCALE_M, TURN_SCALE_RAD, PITCH_SCALE_RAD = 0.3, math.radians(3.0), math.radians(15.0)


def action_vector(action: Action, pitch_rad: float) -> list[float]:
    """The 7 numbers of one frame: right, up, forward, yaw, pitch (motion into it), the pitch it ends at, fly mode.

    Scaled to about unit size. `up` and fly mode are kept for models that are trained to leave the ground; 0 here.
    """
    return [
        action.right_m / STEP_SCALE_M,
        action.up_m / STEP_SCALE_M,
        action.forward_m / STEP_SCALE_M,
        action.yaw_rad / TURN_SCALE_RAD,
        action.pitch_rad / TURN_SCALE_RAD,
        pitch_rad / PITCH_SCALE_RAD,
        0.0,
    ]


def path_vectors(paths: Tensor) -> Tensor:
    """Paths `[..., T, 4]` (right, forward, yaw, pitch) to action vectors `[..., T, 7]`; row 0 counts as no motion."""
    right, forward, yaw, pitch = paths.unbind(-1)
    level = pitch.clone()
    level[..., 0] = 0
    level = level.cumsum(-1)
    zero = torch.zeros_like(right)
    return torch.stack(
        [
            right / STEP_SCALE_M,
            zero,
            forward / STEP_SCALE_M,
            yaw / TURN_SCALE_RAD,
            pitch / TURN_SCALE_RAD,
            level / PITCH_SCALE_RAD,
            zero,
        ],
        -1,
    )


def led(action: Tensor, gain: float) -> Tensor:
    """Action vectors `[B, T, A]` with their steps (not their turns) `gain` times as long."""
    return torch.cat([gain * action[..., :3], action[..., 3:]], -1)


def word_ids(prompt: str, buckets: int) -> Tensor:
    """`int64[MOST_WORDS, IDS_PER_WORD]`: per word its own bucket and those of its letter triples; 0 is padding.

    Hashing needs no vocabulary, and a word never seen shares triples with those that were.
    """
    ids = torch.zeros(MOST_WORDS, IDS_PER_WORD, dtype=torch.long)
    for i, word in enumerate(split_words(prompt)[:MOST_WORDS]):
        padded = f"<{word}>"
        parts = [f"w:{word}", f"w:{word}"]  # the whole word counts double
        parts += [padded[j : j + 3] for j in range(len(padded) - 2)]
        for j, part in enumerate(parts[:IDS_PER_WORD]):
            ids[i, j] = 1 + zlib.crc32(part.encode()) % (buckets - 1)
    return ids


class TextEncoder(nn.Module):
    """Hashed words to a pooled vector and to word vectors. The grammar is free of order: a bag of words is enough."""

    def __init__(self, buckets: int, table_width: int, width: int) -> None:
        super().__init__()
        self.table = nn.Embedding(buckets, table_width, padding_idx=0)
        nn.init.normal_(self.table.weight, std=0.3)
        with torch.no_grad():
            self.table.weight[0] = 0
        self.word = nn.Sequential(nn.Linear(table_width, width), nn.SiLU(), nn.Linear(width, width))
        self.pooled = nn.Sequential(nn.SiLU(), nn.Linear(width, width))
        self.nothing = nn.Parameter(torch.zeros(width))

    def forward(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """ids `[B, S, I]` to (pooled `[B, D]`, words `[B, S, D]`). No words at all give the learned `nothing`."""
        some = (ids > 0).float()
        count = some.sum(-1, keepdim=True)
        vectors = self.word((self.table(ids) * some[..., None]).sum(-2) / count.clamp(min=1))
        present = (count > 0).float()
        total = present.sum(1)
        pooled = (vectors * present).sum(1) / total.clamp(min=1).sqrt()
        pooled = torch.where(total > 0, self.pooled(pooled), self.nothing.expand_as(pooled))
        return pooled, vectors * present


@dataclass(slots=True)
class PoseTracker:
    """Keeps the camera that the actions add up to, and clips actions to what the model was trained on."""

    max_step_m: float
    max_turn_rad: float
    max_pitch_rad: float
    camera: Camera = Camera()

    def clip(self, action: Action) -> Action:
        """The action within range: step length, turn rate, and pitch between the limits."""
        length = math.hypot(action.right_m, action.forward_m)
        k = min(1.0, self.max_step_m / length) if length > 0 else 1.0
        turn, limit = self.max_turn_rad, self.max_pitch_rad
        pitch = self.camera.pitch_rad
        new_pitch = min(limit, max(-limit, pitch + min(turn, max(-turn, action.pitch_rad))))
        return Action(
            action.right_m * k,
            0.0,
            action.forward_m * k,
            min(turn, max(-turn, action.yaw_rad)),
            new_pitch - pitch,
            action.keys,
            action.prompt,
            action.input_id,
            action.input_time_s,
        )

    def move(self, action: Action) -> list[float]:
        """Advance by a clipped action; returns its action vector."""
        self.camera = self.camera.moved(action)
        return action_vector(action, self.camera.pitch_rad)
