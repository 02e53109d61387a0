"""The edit by words with an embedded world: renoise and roll, with the source's motion and detail.

For every frame of a shot the world's latent of the source is made noisy and drawn again under the new words (SDEdit,
2108.01073); the first frame from far up, with guidance, the others from less, with the edited frames as their history
and the motion that was read from the source. What comes out says how light and colours change, place by place; its
outlines are the model's, soft and its own. So not its pixels are shown but the source's, in the colours of a grid that
is fitted to them and followed smoothly through time (`edit_grid.py`). Light, weather and mood come from a network that
was shown pairs (`edit_look.py`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from .core import Action
from .edit_grid import ColourGrid, fitted, identity
from .edit_look import Look
from .edit_shots import Motion
from .edit_words import Wish
from .network import WorldNetwork
from .procedural.captions import Hints
from .rollout import Rollout
from .weights import LoadedWorld

Picture = NDArray[np.uint8]
FIT_PX = (128, 80)  # at which a drawn frame and its source are compared


@dataclass(frozen=True, slots=True)
class RedrawConfig:
    """Chosen by measurement: `benchmarks/edits.py --sweep`."""

    first_level: float = 0.9  # noise from which the first frame of a shot is drawn anew
    level: float = 0.5  # and the others
    guidance: float = 4.0  # by the words, of the first frame
    pace: float = 0.3  # share of the newest frame's grid in the one that is applied
    share: float = 1.0  # of what the world model draws, where it draws; the rest is the network of looks'


class Effect(Protocol):
    """Changes the frames of a video, shot by shot, in order."""

    def begin(self, picture: Picture) -> None:
        """A shot begins with this frame."""
        ...

    def frame(self, picture: Picture, index: int) -> Picture:
        """The frame as it becomes, of the same size. `index` counts from the film's start."""
        ...


def guided_rollout(world: LoadedWorld, guidance: float) -> Rollout:
    """A rollout whose first frames follow the words more strongly, and that nobody brings back when it strays."""
    network = world.network
    assert isinstance(network, WorldNetwork)
    config = replace(world.config, first_guidance=guidance)
    return Rollout(config, network, world.runner, world.step_list, None, world.autoencoder)


class Redraw:
    """What the prompt asks for, on whole frames. `shown` is the newest frame of the model itself, for previews."""

    def __init__(
        self,
        world: LoadedWorld,
        look: Look | None,
        motion: Motion,
        wish: Wish,
        seed: int,
        strength: float = 1.0,
        config: RedrawConfig = RedrawConfig(),
        draws: bool | None = None,
    ) -> None:
        """`strength` 0 changes nothing, 1 is the whole of it. `draws` says whether the world model draws, or the
        network of looks alone; by default, it draws where the wish is more than light, weather and mood."""
        self._world, self._look, self._motion, self._wish = world, look, motion, wish
        self._seed, self._strength, self._config = seed, strength, config
        self.draws = (wish.hints.theme is not None or not wish.named or look is None) if draws is None else draws
        self.prompts: list[str] = []  # of the shots
        self._rollout: Rollout | None = None
        self._grid: ColourGrid | None = None
        self._wanted = self._now = Hints()

    def begin(self, picture: Picture) -> None:
        self._motion.begin()
        self._grid = None
        caption = seen_in(self._world, picture)
        self.prompts.append(self._wish.prompt(caption))
        self._wanted, self._now = self._wish.whole(caption), self._wish.now(caption)
        if self.draws:
            self._rollout = guided_rollout(self._world, self._config.guidance)
            self._rollout.reset(self._seed, self.prompts[-1])

    def frame(self, picture: Picture, index: int) -> Picture:
        return self.grid(picture).applied(picture)

    def grid(self, picture: Picture) -> ColourGrid:
        """How the colours of this frame change."""
        alone = self._look is None or (self.draws and self._config.share >= 1.0)
        looked = identity() if alone or self._look is None else self._look.grid(picture, self._wanted, self._now)
        new = looked
        if self.draws:
            new = looked.mixed(self._drawn(picture, looked), 1.0 if alone else self._config.share)
        self._grid = new if self._grid is None else self._grid.mixed(new, self._config.pace)
        return self._grid.strengthened(self._strength)

    @torch.inference_mode()
    def _drawn(self, picture: Picture, looked: ColourGrid) -> ColourGrid:
        assert self._rollout is not None, "begin a shot first"
        rollout, config = self._rollout, self._config
        small = sized(self._world, picture)
        action = self._motion.into(picture)
        # what the first frame has become is what the others begin from: they have a history, and heed the words little
        begun = looked if self._grid is None else self._grid
        latent = rollout.encoded(begun.applied(small))
        level = config.first_level if not rollout.index else config.level
        made = rollout.decoded(rollout.redraw(latent, action if rollout.index else Action(), level))
        return fitted(_fit(small), _fit(made))


def seen_in(world: LoadedWorld, picture: Picture) -> str:
    """What the world sees in a picture, in words of its prompts; empty where it was not taught to say."""
    try:
        return world.viewer().look(sized(world, picture)).caption
    except ValueError:
        return ""


def sized(world: LoadedWorld, picture: Picture) -> Picture:
    """The whole picture at the world's size, squeezed where its shape is another."""
    size = world.width_px, world.height_px
    if (picture.shape[1], picture.shape[0]) == size:
        return picture
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)


def _fit(picture: Picture) -> Picture:
    return np.asarray(cv2.resize(picture, FIT_PX, interpolation=cv2.INTER_AREA), np.uint8)
