"""One walk through an open checkpoint: blocks of latent frames, drawn one after another.

The same contract as the embedded worlds' `Rollout`: `reset`, `step`, `snapshot`, `restore`; a step draws one block and
yields its frames as they are decoded. A block is denoised in a few passes that read the cache, then shown to it once
more, clean (Self-Forcing, 2506.08009). What differs between the models is data in `live.py`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..core import Action, Camera, Frame
from .action_walk import ActionWalk, ActionWalkState
from .attention import Context
from .block_noise import BlockNoise
from .chunk_step import Block, ChunkStep, EagerStep, MakeStep, StepState, passes
from .codec import VideoCodec
from .lanes import Lanes, lanes_of
from .live import LivePreset
from .lora import Adapters
from .lora_words import asked
from .picture_stream import PictureStream
from .recorded_decoder import RecordedDecoder
from .start_picture import StartPicture, StartState
from .streaming import CodecStream, StreamSnapshot, encode_clip, from_pictures
from .transformer import WanTransformer

CELL_PX = 8


@dataclass(frozen=True, slots=True)
class WanModel:
    """All that the rollouts of a world share. Tensors lie on the transformer's device."""

    transformer: WanTransformer
    decoder: VideoCodec[Any, Any]
    preset: LivePreset
    width_px: int
    height_px: int
    window: int  # latent frames attended to, the block and the sink included
    prompt: Callable[[str], Tensor] | None = None  # -> rows [L, text_dim]; None: the model reads no words
    encoder: VideoCodec[Any, Any] | None = None  # of pictures; the full VAE where the decoder is the small one
    look: Callable[[NDArray[np.uint8]], Tensor] | None = None  # picture [H, W, 3] -> CLIP tokens [1, I, image_dim]
    paint: Callable[[int, str], NDArray[np.uint8]] | None = None  # (seed, prompt) -> a first picture, where none came
    adapters: Adapters | None = None  # LoRAs that words can ask for
    step: MakeStep = EagerStep  # how blocks are run

    def stepper(self) -> ChunkStep:
        """What draws the blocks of a new walk; allocates its cache."""
        _, rows, columns = self.latent
        return self.step(self.transformer, self.preset, rows, columns, self.window)

    @property
    def latent(self) -> tuple[int, int, int]:
        """Channels, rows and columns of a latent frame."""
        return self.transformer.config.out_channels, self.height_px // CELL_PX, self.width_px // CELL_PX


@dataclass(frozen=True, slots=True)
class _Drawn:
    """A block whose pictures are to come."""

    latents: Tensor  # [1, C, T, h, w]
    input_id: int
    condition_ms: float
    begun: Any  # marks: before the first pass, and when the latents are there
    ready: Any


@dataclass(frozen=True, slots=True)
class WanState:
    """Everything that the next block depends on."""

    step: StepState
    pictures: StreamSnapshot[Any, Any]
    random: Tensor
    prompt: str
    camera: Camera
    blocks: int
    index: int
    start: StartState | None
    actions: ActionWalkState | None
    newest: tuple[Tensor, ...]
    given: Tensor | None


class WanRollout:
    """One walk. Not thread-safe; owned by the worker thread."""

    def __init__(self, model: WanModel, lanes: Lanes | None = None) -> None:
        """Allocates the cache, once. `lanes`: of the device, unless told otherwise."""
        self._model, self._preset = model, model.preset
        self._step = model.stepper()
        device = model.transformer.device
        recorded = device.type == "cuda" and isinstance(model.decoder, nn.Module) and self._step.name != EagerStep.name
        self._stream: CodecStream[Any, Any] = CodecStream(RecordedDecoder(model.decoder) if recorded else model.decoder)
        self._lanes = lanes_of(device) if lanes is None else lanes
        self._pictures = PictureStream(self._stream, self._lanes, on_device=device.type == "cuda")
        channels, height, width = model.latent
        shape = (1, channels, self._preset.block, height, width)
        self._noise = BlockNoise(shape, device, model.transformer.dtype)
        self._walk = None if self._preset.actions is None else ActionWalk(self._preset.actions)
        self._start: StartPicture | None = None  # where the model is shown the first picture with every block
        self._given: Tensor | None = None  # [1, C, 1, h, w]: the first latent frame, where a picture was given for it
        self._newest: list[Tensor] = []  # clean blocks that new words are shown with, where the model wants it
        self._context: Context | None = None
        self._scales: dict[str, float] = {}  # of the LoRAs that the words ask for
        self._prompt = ""
        self.camera = Camera()
        self.blocks = self.index = 0

    @property
    def begins_from_pictures(self) -> bool:
        """Whether the model is shown the first picture with every block: without one, one is painted."""
        return self._model.look is not None

    @torch.inference_mode()
    def reset(self, seed: int = 0, prompt: str = "", image: NDArray[np.uint8] | None = None) -> None:
        """Forget everything. `seed` is in [0, 2^63); `image` is `[H, W, 3]` at the world's size. Raises ValueError."""
        if not 0 <= seed < 1 << 63:
            raise ValueError(f"seed must be in [0, 2^63), got {seed}")
        model = self._model
        if image is not None and image.shape != (model.height_px, model.width_px, 3):
            wanted = f"{model.width_px} x {model.height_px}"
            raise ValueError(f"a first image has {wanted} pixels, got {image.shape[1]} x {image.shape[0]}")
        if image is not None and "picture" not in self._preset.controls:
            raise ValueError("this world cannot begin from a picture; begin it with words")
        self._noise.seed(seed)
        self._lanes.join()
        self._step.reset()
        self._stream.reset()
        self._newest, self._given, self._start = [], None, None
        self.camera, self.blocks, self.index, self._prompt = Camera(), 0, 0, prompt
        if self._walk is not None:
            self._walk.reset()
        if self.begins_from_pictures:
            self._begin_from(self._painted(seed, prompt) if image is None else image)
        else:
            self._context = self._worded(prompt)
            if image is not None:
                self._given = self._encoded(image)

    @torch.inference_mode()
    def step(self, action: Action, decode: bool = True) -> Iterator[Frame]:
        """Draw the next block and yield its frames; without `decode` none, and what follows is the same."""
        drawn = self._next(action)
        if decode:
            yield from self._frames(drawn)
            return
        before = self._stream.latents_before
        with self._lanes.decoding(drawn.ready, drawn.latents):
            self._stream.decode(drawn.latents)
        self.index += self._stream.frames(before, drawn.latents.shape[2])

    @torch.inference_mode()
    def ahead(self, actions: Iterable[Action]) -> Iterator[Frame]:
        """The frames of many steps with nobody waiting: while the GPU draws a block, the one before it is decoded on a
        stream of its own. The same frames as step by step; every action is read one block before its frames come."""
        before: _Drawn | None = None
        for action in actions:
            drawn = self._next(action)
            if before is not None:
                yield from self._frames(before)
            before = drawn
        if before is not None:
            yield from self._frames(before)

    def _next(self, action: Action) -> _Drawn:
        """The next block. On a GPU it may still be being drawn."""
        assert self._context is not None, "call reset before step"
        started = time.perf_counter()
        if action.prompt is not None and action.prompt != self._prompt and self._model.prompt is not None:
            self._reword(action.prompt)
        if self.blocks:  # into the first frame nobody moves
            self.camera = self.camera.moved(action)
        conditioned_ms = 1e3 * (time.perf_counter() - started)
        if self._model.adapters is not None:  # another rollout may have asked for others
            self._model.adapters.set_scales(self._scales)
        begun = self._lanes.mark()
        latents = self._draw(action)
        self.blocks += 1
        ready = self._lanes.mark()
        if self._lanes.beside:  # while the device draws
            self._noise.prepare(passes(self._preset, first=False))
        return _Drawn(latents, action.input_id, conditioned_ms, begun, ready)

    def _frames(self, drawn: _Drawn) -> Iterator[Frame]:
        """The frames of a block, as they reach the host."""
        stages = {"condition": drawn.condition_ms}
        for picture in self._pictures.of(drawn.latents, drawn.ready):
            if "denoise" not in stages:  # its end was reached before the first picture's
                stages["denoise"] = self._lanes.elapsed_ms(drawn.begun, drawn.ready)
            stages = {**stages, "decode": picture.decode_ms}
            media_s = self.index / self._preset.fps
            yield Frame(picture.rgb, self.index, media_s, drawn.input_id, stages, i420=picture.planes)
            self.index += 1

    def _draw(self, action: Action) -> Tensor:
        """The next clean block `[1, C, T, h, w]`, committed to the cache."""
        model, preset = self._model, self._preset
        device, dtype = model.transformer.device, model.transformer.dtype
        rows = None
        if self._walk is not None:
            rows = self._walk.block(self.blocks * preset.block, self._row(action)).to(device)
        seen = None if self._start is None else self._start.block(preset.block)
        given = self._given if not self.blocks else None
        assert self._context is not None
        noise: tuple[Tensor, ...] = ()
        if given is None:
            noise = self._noise.take(passes(preset, first=not self.blocks))
        else:
            given = given.to(device, dtype)
        latents = self._step.block(Block(noise, self._context, seen, rows, not self.blocks, given))
        if preset.recache:
            most = model.window // preset.block
            self._newest = [*self._newest, latents][-most:]
        return latents

    def _row(self, action: Action) -> tuple[list[float], list[float]]:
        assert self._preset.row is not None
        row = self._preset.row(action, self._preset.frames)
        return list(row.keyboard), list(row.mouse)

    def _reword(self, prompt: str) -> None:
        """New words on the way: what comes is drawn by them; LongLive also reads the newest frames by them."""
        self._prompt, self._context = prompt, self._worded(prompt)
        if self._newest:
            clean = torch.cat(self._newest, 2)
            self._step.recache(clean, self._context)

    def _worded(self, prompt: str) -> Context:
        assert self._model.prompt is not None
        if self._model.adapters is not None:
            prompt, self._scales = asked(prompt, self._model.adapters.names)
            self._model.adapters.set_scales(self._scales)  # keys and values of the words go through LoRAs too
        return self._model.transformer.context(self._model.prompt(prompt)[None].to(self._model.transformer.device))

    def _begin_from(self, image: NDArray[np.uint8]) -> None:
        """A model that is shown the first picture with every block, and whose tokens stand for words."""
        model = self._model
        assert model.look is not None
        encoder = model.decoder if model.encoder is None else model.encoder
        self._start = StartPicture(encoder, image, model.transformer.device, model.transformer.dtype)
        self._context = model.transformer.context(image=model.look(image).to(model.transformer.device))

    def _painted(self, seed: int, prompt: str) -> NDArray[np.uint8]:
        if self._model.paint is None:
            raise ValueError("this world begins from a picture; choose one")
        return self._model.paint(seed, prompt)

    def _encoded(self, image: NDArray[np.uint8]) -> Tensor:
        encoder = self._model.decoder if self._model.encoder is None else self._model.encoder
        return encode_clip(encoder, from_pictures(image).to(self._model.transformer.device))

    @torch.inference_mode()
    def snapshot(self) -> WanState:
        """A copy to come back to, on the same device."""
        self._lanes.join()
        return WanState(
            self._step.snapshot(),
            self._stream.snapshot(),
            self._noise.state,
            self._prompt,
            self.camera,
            self.blocks,
            self.index,
            None if self._start is None else self._start.snapshot(),
            None if self._walk is None else self._walk.snapshot(),
            tuple(self._newest),
            self._given,
        )

    @torch.inference_mode()
    def restore(self, state: WanState) -> None:
        """Continue from a snapshot of a rollout of the same world; what this rollout was before is forgotten."""
        self._lanes.join()
        self._step.restore(state.step)
        self._stream.restore(state.pictures)
        self._noise.state = state.random
        self._prompt, self.camera, self.blocks, self.index = state.prompt, state.camera, state.blocks, state.index
        self._newest, self._given = list(state.newest), state.given
        if state.start is not None:
            self._begin_from(state.start.image)
            assert self._start is not None
            self._start.restore(state.start)
        else:
            self._context = self._worded(state.prompt)
        if self._walk is not None and state.actions is not None:
            self._walk.restore(state.actions)
