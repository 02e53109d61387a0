"""The mutable world: one walk through what the model draws.

`reset` chooses seed and prompt, `step` draws the next chunk for an action, `snapshot` and `restore` branch. The same
seed, prompts and actions give the same frames again on the same engine, bit for bit.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .autoencoder import Autoencoder
from .conditioning import MISSING, PoseTracker, led, word_ids
from .config import WorldConfig
from .core import Action, Camera, Frame
from .drift import Gauge
from .engines import Engine
from .history import begun, detailed, doubt, held_to, noised, pushed
from .kv_cache import CacheState, KVCache
from .memory import SUSPECT, PlaceMemory, Poses, nothing, pose_of
from .memory import State as PlacesState
from .network import WorldNetwork
from .painter import FirstFrames
from .reanchor import Keeper, Standing, from_prompt
from .reprojection import Places
from .sampler import Denoise, draw_noise, guided, resample, sample

ANCHOR_AFTER = 48  # frames after a new prompt when the world is what it asked for: as long as transitions in training


@dataclass(frozen=True, slots=True)
class RolloutState:
    """Everything that the next frame depends on. For each field see the member of `Rollout` that it is a copy of."""

    cache: CacheState  # keys and values of the newest frames
    places: PlacesState  # what was shown, by where the camera stood
    stack: Tensor | None  # the anchor and the newest frames; None before the first
    given: Tensor | None  # the picture that the walk is to begin from
    random: Tensor  # the generator's state
    prompt: str
    camera: Camera
    anchor_in: int
    index: int
    standing: Standing | None = None  # what is known of the walk's drift; None where nobody looks for it


class Rollout:
    """One walk. Not thread-safe; owned by the worker thread."""

    def __init__(
        self,
        config: WorldConfig,
        network: WorldNetwork,
        engine: Engine,
        steps: tuple[float, ...],
        gauge: Gauge | None = None,
        autoencoder: Autoencoder | None = None,
        painter: FirstFrames | None = None,
    ) -> None:
        """`gauge` reads frames for signs of drift. `autoencoder` is for worlds that begin from a picture; its encoder
        alone is used. `painter` draws first frames; without one, the walking network does."""
        self.config, self.steps = config, steps
        self._autoencoder, self._painter = autoencoder, painter
        self._network, self._engine = network, engine
        self._cache = KVCache(network, device=engine.device)
        self._memory = PlaceMemory(config.network, config.places)
        watched = gauge is not None and config.drift.on
        self._keeper = Keeper(config, gauge, network.reprojection) if gauge is not None and watched else None
        self._generator = torch.Generator()
        self._stack: Tensor | None = None  # [1, 1, G, C, h, w]: see history.py
        self._given: Tensor | None = None  # [1, 1, C, h, w]: the first frame, where a picture was given for it
        self._anchor_in = 0  # frames until the newest becomes the anchor; 0: it stays
        self._tracker = PoseTracker(config.max_step_m, config.max_turn_rad, config.max_pitch_rad)
        self._prompt = ""
        self._pooled = self._words = torch.zeros(0)
        self._nothing = self._embedded("")
        self.index = 0  # of the next frame

    @property
    def camera(self) -> Camera:
        """Where the actions have led, relative to the start."""
        return self._tracker.camera

    @property
    def newest(self) -> Tensor:
        """The clean latent `[1, 1, C, h, w]` of the newest frame. There must be one."""
        assert self._stack is not None, "no frame has been drawn since the reset"
        return self._stack[:, :, -1]

    def encoded(self, image: NDArray[np.uint8]) -> Tensor:
        """The latent `[1, 1, C, h, w]` of a picture `[H, W, 3]` at the world's size. Raises ValueError on another size,
        or where no encoder was given."""
        if self._autoencoder is None:
            raise ValueError("this rollout was made without an encoder: it cannot begin from a picture")
        if image.shape[:2] != (self.config.height_px, self.config.width_px):
            wanted = f"{self.config.width_px} x {self.config.height_px}"
            raise ValueError(f"a first image has {wanted} pixels, got {image.shape[1]} x {image.shape[0]}")
        return self._autoencoder.encode_frame(image)[None]

    def decoded(self, latent: Tensor) -> NDArray[np.uint8]:
        """The picture `[H, W, 3]` of a latent `[1, 1, C, h, w]`."""
        return self._engine.decode(latent[:, 0])

    def tilt(self, pitch_rad: float) -> None:
        """Begin with the camera tilted so far up. Right after a reset only."""
        assert self.index == 0, self.index
        self._tracker.camera = Camera(pitch_rad=pitch_rad)

    def reset(self, seed: int = 0, prompt: str = "", image: NDArray[np.uint8] | None = None) -> None:
        """Forget everything; the next step draws the first frame from the prompt, or, where there is an `image`
        `[H, W, 3]` at the world's size, shows what the tokenizer keeps of it. `seed` is in [0, 2^63)."""
        if not 0 <= seed < 1 << 63:
            raise ValueError(f"seed must be in [0, 2^63), got {seed}")
        given = None if image is None else self.encoded(image)
        self._generator.manual_seed(seed)
        self._cache.reset()
        self._memory.clear()
        self._stack, self._given, self._anchor_in, self.index = None, given, 0, 0
        self._tracker.camera = Camera()
        if self._keeper is not None:
            self._keeper.standing = Standing()
        self._set_prompt(prompt)

    def step(self, action: Action, decode: bool = True) -> Iterator[Frame]:
        """Draw the next chunk (one frame for the embedded worlds) and yield its frames as they are decoded.

        Without `decode` nothing is yielded, and what follows is the same: for reaching a moment that nobody looks at.
        """
        assert self._pooled.numel(), "call reset before step"
        started = time.perf_counter()
        if action.prompt is not None and action.prompt != self._prompt:
            self._set_prompt(action.prompt)
            self._anchor_in = ANCHOR_AFTER if self.index else 0  # a first frame is its own anchor
            self._memory.clear()  # what is asked for now, no place has shown yet
        moved = self._moved(action)
        conditioned = time.perf_counter()
        latent = self._draw(moved)
        drawn = time.perf_counter()
        if not decode:
            self.index += 1
            return
        rgb = self._engine.decode(latent[:, 0])
        stages = {
            "condition": 1e3 * (conditioned - started),
            "denoise": 1e3 * (drawn - conditioned),
            "decode": 1e3 * (time.perf_counter() - drawn),
        }
        drift = ("fine", 0) if self._keeper is None else (self._keeper.verdict, self._keeper.standing.count)
        frame = Frame(rgb, self.index, self.index / self.config.fps, action.input_id, stages, *drift)
        self.index += 1
        yield frame

    def follow(self, latent: Tensor, action: Action) -> None:
        """As `step`, where the next frame is known: its clean latent `[1, 1, C, h, w]`, and the motion into it.

        So a walk goes on from the end of a video: it remembers these frames as if it had drawn them."""
        assert self._pooled.numel(), "call reset before follow"
        self._draw(self._moved(action), latent)
        self.index += 1

    def redraw(self, latent: Tensor, action: Action, level: float) -> Tensor:
        """As `follow`, where the next frame is to become another: `latent` is made noisy up to `level` in (0, 1] and
        drawn from there (SDEdit, 2108.01073), by the prompt and by what was drawn before. The clean latent."""
        assert self._pooled.numel(), "call reset before redraw"
        out = self._draw(self._moved(action), latent, level)
        self.index += 1
        return out

    def _moved(self, action: Action) -> Tensor:
        """The motion into the next frame as the network sees it, `[1, 1, A]`; it leads the camera on. None at first."""
        if not self.index:
            return torch.zeros(1, 1, self.config.network.action_size)
        return torch.tensor(self._tracker.move(self._tracker.clip(action))).view(1, 1, -1)

    def _draw(self, action: Tensor, known: Tensor | None = None, redrawn: float = 0.0) -> Tensor:
        """One clean latent `[1, 1, C, h, w]`: sample with the cache, commit the last pass's keys, push the stack.

        In order: what the frame sees (the stack, made a little noisy by how far it is doubted, moved into the new view,
        and the places that were shown before) → the passes, from noise to the clean latent, which attend to the cache →
        what the next frame will see (keys and values of the last pass, the stack, its places).

        A `known` latent is not drawn: one pass at the last level gives the keys that it would have left. Where it is to
        be `redrawn` from a level, the sampling begins there."""
        c, here = self.config.network, pose_of(self.camera)
        first = known if known is not None else self._given
        if self._stack is None and first is not None and not redrawn:
            self._given = None
            return self._begun(first, here)
        shape = (1, 1, c.channels, c.rows, c.columns)
        if self._stack is None and first is None and self._painter is not None:
            latent = self._painter.drawn(self._prompt, draw_noise(shape, self._generator)[:, 0])[:, None]
            return self._begun(latent, here)
        if self._stack is None:
            seen, level, steps = torch.zeros(1, 1, c.seen, *shape[2:]), MISSING, self.config.first_steps
        else:
            doubted, steps = doubt(self._stack, self.config), self.steps
            level = float(doubted if self._keeper is None else self._keeper.doubt(doubted))
            given = noised(detailed(self._stack, self.config), level, self._generator, c)  # as in training
            seen = self._engine.look((given, led(action, self.config.step_gain), *self._recalled(here)))
        label = torch.full((1, 1), level)  # tells the network how noisy its history is
        keys, values, bias = self._cache.view()

        def with_text(pooled: Tensor, words: Tensor) -> Denoise:
            def denoise(z: Tensor, sigma: float) -> tuple[Tensor, Tensor, Tensor]:
                s = torch.full((1, 1), sigma)
                return self._engine.step((z, seen, s, label, action, pooled, words, keys, values, bias))

            return denoise

        denoise = with_text(self._pooled, self._words)
        if self._stack is None and self.config.first_guidance != 1.0:
            denoise = guided(denoise, with_text(*self._nothing), self.config.first_guidance)
        noise = draw_noise(shape, self._generator)
        if known is None:
            latent, new_keys, new_values = sample(denoise, noise, steps)
        elif redrawn:
            latent, new_keys, new_values = resample(denoise, known, noise, steps, redrawn)
        else:
            latent, (_, new_keys, new_values) = known, denoise((1 - steps[-1]) * known + steps[-1] * noise, steps[-1])
        if self._stack is None:
            return self._begun(latent, here)
        self._cache.commit(new_keys, new_values)
        self._stack = pushed(self._stack, latent, c)
        if self._anchor_in == 1:
            self._stack = held_to(self._stack, latent, c)
        self._stack = self._kept(self._stack, action)
        self._anchor_in = max(0, self._anchor_in - 1)
        self._remember(latent[:, 0], here)
        return latent

    def _begun(self, latent: Tensor, here: Poses) -> Tensor:
        """A world begins as if one had stood still: the history is the first frame, the cache stays empty."""
        self._stack = begun(latent, self.config.network)
        self._remember(latent[:, 0], here)
        return latent

    def _recalled(self, here: Poses) -> Places:
        reprojection = self._network.reprojection
        if reprojection is None:
            return nothing(self.config.network)
        return self._memory.recall(reprojection, here, self.index)

    def _remember(self, latent: Tensor, here: Poses) -> None:
        """Keep the frame in memory, unless the world is on its way to another prompt or has strayed."""
        unsure = None if self._keeper is None else self._keeper.unsure
        if unsure is not None and bool(unsure):
            self._memory.forget(self.index - SUSPECT)
        elif not self._anchor_in:
            self._memory.keep(latent, here, self.index)

    def _kept(self, stack: Tensor, action: Tensor) -> Tensor:
        """The stack after the look for drift, which rests while the world is on its way to another prompt."""
        if self._keeper is None:
            return stack
        if self._anchor_in:
            self._keeper.begin()
            return stack
        asked = self._pooled, self._words
        blank = from_prompt(self._engine.step, self.config, self._cache, asked, self._nothing)
        return self._keeper.after(stack, action, blank, self._generator)

    def _set_prompt(self, prompt: str) -> None:
        self._prompt = prompt
        self._pooled, self._words = self._embedded(prompt)

    @torch.inference_mode()
    def _embedded(self, prompt: str) -> tuple[Tensor, Tensor]:
        """(pooled, words) of a prompt."""
        ids = word_ids(prompt, self.config.network.text_buckets)[None]
        pooled, words = self._network.text_embedding(ids)
        # without cross-attention the words are unread; one zero keeps the exported shape fixed
        words = words.clone() if self.config.network.cross_attention else torch.zeros(1, 1, words.shape[-1])
        return pooled.clone(), words

    def snapshot(self) -> RolloutState:
        """A copy to come back to: everything that the next frame depends on, the random state included.

        Any number of rollouts of the same world may restore it, at the same number of steps or another, and as often as
        they like; it is never changed. Two branches from one moment differ by their actions and by nothing else:

            state = rollout.snapshot()
            left = [frame.rgb for _ in range(25) for frame in rollout.step(Action(yaw_rad=-0.05))]
            rollout.restore(state)  # what if I had gone right
            right = [frame.rgb for _ in range(25) for frame in rollout.step(Action(yaw_rad=0.05))]
        """
        stack = None if self._stack is None else self._stack.clone()
        given = None if self._given is None else self._given.clone()
        random = self._generator.get_state()
        camera = self._tracker.camera
        return RolloutState(
            self._cache.snapshot(),
            self._memory.snapshot(),
            stack,
            given,
            random,
            self._prompt,
            camera,
            self._anchor_in,
            self.index,
            None if self._keeper is None else self._keeper.standing,
        )

    def restore(self, state: RolloutState) -> None:
        """Continue from a snapshot of a rollout of the same world; what this rollout was before is forgotten."""
        self._cache.restore(state.cache)
        self._memory.restore(state.places)
        self._stack = None if state.stack is None else state.stack.clone()
        self._given = None if state.given is None else state.given.clone()
        self._generator.set_state(state.random)
        self._tracker.camera, self._anchor_in, self.index = state.camera, state.anchor_in, state.index
        if self._keeper is not None:
            self._keeper.standing = state.standing or Standing()
        self._set_prompt(state.prompt)
