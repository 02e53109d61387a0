"""Parts of the picture that the model draws anew: what is inside a mask, or the world behind the foreground.

The model's own pixels, brought to the source's size: soft beside a film of 1080 lines.
"""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
import torch
import torch.nn.functional as F

from .core import Action
from .edit_masks import Mask, Picture, feathered, laid
from .edit_redraw import RedrawConfig, guided_rollout, sized
from .edit_shots import Motion
from .edit_words import Wish
from .rollout import Rollout
from .weights import LoadedWorld


def enlarged(drawn: Picture, like: Picture) -> Picture:
    """A frame of the model at the size of one of the source."""
    size = like.shape[1], like.shape[0]
    return np.asarray(cv2.resize(drawn, size, interpolation=cv2.INTER_LANCZOS4), np.uint8)


class Replace:
    """What is inside the mask is drawn by the prompt; pixels outside of it stay exactly as they are."""

    def __init__(
        self, world: LoadedWorld, motion: Motion, wish: Wish, seed: int, masks: Iterator[Mask], strength: float = 1.0
    ) -> None:
        self._world, self._motion, self._wish, self._seed, self._masks = world, motion, wish, seed, masks
        self._level = max(0.2, min(1.0, strength))
        self.prompts: list[str] = []
        self._rollout: Rollout | None = None

    def begin(self, picture: Picture) -> None:
        self._motion.begin()
        # what the picture shows now is what is to go: the words alone say what comes
        caption = self._world.viewer().look(sized(self._world, picture)).caption
        self.prompts.append(self._wish.prompt(caption))
        self._rollout = guided_rollout(self._world, RedrawConfig().guidance)
        self._rollout.reset(self._seed, self.prompts[-1])

    @torch.inference_mode()
    def frame(self, picture: Picture, index: int) -> Picture:
        assert self._rollout is not None, "begin a shot first"
        rollout, mask = self._rollout, next(self._masks)
        action = self._motion.into(picture)
        source = rollout.encoded(sized(self._world, picture))
        before = rollout.snapshot()
        level = self._level if not rollout.index else min(self._level, 0.88)
        base = source if not before.index else self._inside(rollout.newest, source, mask)
        drawn = rollout.redraw(base, action if before.index else Action(), level)
        rollout.restore(before)
        kept = self._inside(drawn, source, mask)
        rollout.follow(kept, action if before.index else Action())
        return laid(enlarged(rollout.decoded(kept), picture), picture, feathered(mask))

    def _inside(self, drawn: torch.Tensor, source: torch.Tensor, mask: Mask) -> torch.Tensor:
        cells = F.adaptive_max_pool2d(torch.from_numpy(mask)[None, None], tuple(source.shape[-2:]))
        return source + cells[:, :, None] * (drawn - source)


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
