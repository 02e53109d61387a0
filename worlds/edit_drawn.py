"""Parts of the picture that the model draws anew: what is inside a mask, or the world behind the foreground.

The model's own pixels, brought to the source's size: soft beside a film of 1080 lines.
"""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
import torch

from .core import Action
from .edit_masks import Mask, Picture, feathered, laid
from .edit_plate import painted
from .edit_redraw import RedrawConfig, guided_rollout, seen_in, sized
from .edit_shots import Motion
from .edit_words import Wish
from .weights import LoadedWorld

REPLACED_FROM = 0.95  # noise level from which what is in the mask is drawn


def enlarged(drawn: Picture, like: Picture) -> Picture:
    """A frame of the model at the size of one of the source."""
    size = like.shape[1], like.shape[0]
    return np.asarray(cv2.resize(drawn, size, interpolation=cv2.INTER_LANCZOS4), np.uint8)


class Replace:
    """What is inside the mask is drawn by the prompt; pixels outside of it stay exactly as they are.

    Frame by frame, each drawn as a first frame is, with guidance and from the same noise: frames that have a history
    heed the words little, and a mask that moves would leave what was drawn behind.
    """

    def __init__(self, world: LoadedWorld, wish: Wish, seed: int, masks: Iterator[Mask], strength: float = 1.0) -> None:
        self._world, self._wish, self._seed, self._masks = world, wish, seed, masks
        self._level = max(0.1, min(1.0, REPLACED_FROM * strength))
        self._rollout = guided_rollout(world, RedrawConfig().guidance)
        self.prompts: list[str] = []

    def begin(self, picture: Picture) -> None:
        self.prompts.append(self._wish.prompt(seen_in(self._world, picture)))

    @torch.inference_mode()
    def frame(self, picture: Picture, index: int) -> Picture:
        mask, rollout = next(self._masks), self._rollout
        if not mask.any():
            return picture
        small = sized(self._world, picture)
        hole = cv2.resize(mask, (small.shape[1], small.shape[0]), interpolation=cv2.INTER_AREA) > 0.02
        rollout.reset(self._seed, self.prompts[-1])
        base = rollout.encoded(painted(small, hole))  # what was there does not shine through
        drawn = rollout.decoded(rollout.redraw(base, Action(), self._level))
        return laid(enlarged(drawn, picture), picture, feathered(mask))


class Background:
    """Behind the foreground, a world of the prompt's, walked as the source's camera moves."""

    def __init__(
        self,
        world: LoadedWorld,
        motion: Motion,
        prompt: str,
        seed: int,
        foreground: Iterator[Mask],
        first: Picture | None = None,
    ) -> None:
        """`first` is what the world behind begins with, at the world's size."""
        self._motion, self._foreground = motion, foreground
        self._prompt, self._seed, self._first = prompt, seed, first
        self._rollout = guided_rollout(world, RedrawConfig().guidance)

    def begin(self, picture: Picture) -> None:
        self._motion.begin()
        self._rollout.reset(self._seed, self._prompt, self._first)

    def frame(self, picture: Picture, index: int) -> Picture:
        action = self._motion.into(picture)
        (behind,) = self._rollout.step(action)
        return laid(picture, enlarged(behind.rgb, picture), next(self._foreground))
