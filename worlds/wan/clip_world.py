"""A bidirectional checkpoint from the catalogue as a world of clips: nobody walks in it, whole clips are drawn.

Text-to-video draws from words; image-to-video begins from a picture; VACE may also end in one, and is shown pictures to
refer to, and edits videos. Satisfies `core.World` but for `rollout`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .. import catalogue
from ..clip_words import Seen, with_references
from ..edits import Edit, EditRefused, EditRequest, Source, Survey
from ..model_card import ModelCard
from ..model_check import free_bytes
from ..options import OpenOptions
from ..sampler import draw_noise
from . import families
from .assembly import transformer_config
from .beginnings import looker, reader
from .layout import TransformerShape
from .loading import fill
from .memory import GIB, MemoryRefused, admit, weights_bytes
from .start_picture import StartPicture
from .streaming import CodecStream, encode_clip, from_pictures, pictures
from .transformer import WanTransformer
from .vace import WanVace, control_latents, on_canvas
from .vace_edits import VaceEdits
from .vace_video import VaceEditor
from .whole_clips import ClipSchedule, Told, draw_clip
from .world import AnyPicture, codec_of

Picture = NDArray[np.uint8]
FPS = 16.0  # of all Wan 2.1 models
MADE_FOR = 81  # frames of a clip in training
STEPS = (50, 25, 10)
SHIFT_480P, SHIFT_720P = 3.0, 5.0


@dataclass(frozen=True, slots=True)
class Parts:
    """What draws."""

    transformer: WanTransformer
    codec: Any  # decodes; encodes where there is a full VAE
    words: Callable[[str], Tensor]  # prompt -> rows [L, text_dim]
    look: Callable[[Picture], Tensor] | None  # first picture -> CLIP tokens


@dataclass(frozen=True, slots=True)
class ClipWorld:
    """Draws clips of any length, all frames at once."""

    card: ModelCard
    parts: Parts
    width_px: int
    height_px: int
    steps: int = STEPS[0]
    engine: str = "eager"
    fps: float = FPS
    frames_per_step: int = 1
    themes: tuple[str, ...] = ()
    max_step_m: float = 0.45
    max_turn_rad: float = 0.1

    @property
    def name(self) -> str:
        return self.card.name

    @property
    def sha256(self) -> str:
        files = [file.sha256 for part in self.card.parts for file in part.files]
        return hashlib.sha256(repr((files, self.width_px, self.height_px)).encode()).hexdigest()

    @property
    def step_choices(self) -> tuple[int, ...]:
        return STEPS

    @property
    def guided_by_pictures(self) -> bool:
        """Whether clips may end in a picture and refer to others."""
        return isinstance(self.parts.transformer, WanVace)

    @property
    def controls(self) -> tuple[str, ...]:
        return ("words", "picture") if self.guided_by_pictures or self.parts.look is not None else ("words",)

    def understood(self, prompt: str) -> tuple[str, ...]:
        return tuple(prompt.split())

    def viewer(self) -> AnyPicture:
        return AnyPicture()

    def rollout(self) -> NoReturn:
        raise ValueError(f"{self.name} makes clips and is not played live; choose a causal checkpoint")

    def with_steps(self, steps: int) -> ClipWorld:
        """Raises ValueError below 1."""
        return replace(self, steps=ClipSchedule(steps).steps)

    @torch.inference_mode()
    def draw_whole(
        self,
        seed: int,
        prompt: str,
        count: int,
        first: Picture | None = None,
        last: Picture | None = None,
        references: Sequence[Picture] = (),
        told: Told = lambda done, of: None,
    ) -> Iterator[Picture]:
        """`count` frames `[H, W, 3]`. Pictures are of the world's size. Raises ValueError on those it cannot use."""
        if self.parts.look is not None and first is None:
            raise ValueError(f"{self.name} begins from a picture; give one, or choose a text-to-video checkpoint")
        parts, frames = self.parts, 4 * -(-(count - 1) // 4) + 1
        device = parts.transformer.device
        look = None if first is None or parts.look is None else parts.look(first).to(device)
        words, without = (parts.transformer.context(parts.words(text)[None].to(device), look) for text in (prompt, ""))
        seen = control = None
        if self.guided_by_pictures:
            control = self._control(frames, first, last, references)
        elif first is not None:
            start = StartPicture(parts.codec, first, device, parts.transformer.dtype)
            seen = start.block((frames + 3) // 4)
        ahead = len(references) if control is not None else 0
        channels = parts.transformer.config.out_channels
        shape = (1, channels, (frames + 3) // 4 + ahead, self.height_px // 8, self.width_px // 8)
        noise = draw_noise(shape, torch.Generator().manual_seed(seed)).to(device)
        latents = draw_clip(
            parts.transformer, noise, words, without, self._schedule(), seen=seen, control=control, told=told
        )
        stream: CodecStream[Any, Any] = CodecStream(parts.codec)
        left = count
        for i in range(ahead, latents.shape[2]):
            for rgb in pictures(stream.decode(latents[:, :, i : i + 1]))[0].cpu().numpy()[:left]:
                left -= 1
                yield rgb

    def edited(
        self, source: Source, seen: Survey, request: EditRequest, told: Callable[[float], None] = lambda share: None
    ) -> Edit:
        """An edit by VACE; `told` hears shares in [0, 1]. Raises EditRefused or ValueError on what it cannot do."""
        transformer = self.parts.transformer
        if not isinstance(transformer, WanVace):
            raise EditRefused(
                f"{self.name} makes no edits; choose a VACE checkpoint, or an embedded world such as nano"
            )
        device, codec, notes = transformer.device, self.parts.codec, list[str]()
        shown = [Seen(reference.tag, "") for reference in request.references]
        request = replace(request, prompt=with_references(request.prompt, shown, notes, limited=False))
        with torch.inference_mode():
            words, without = (transformer.context(self.parts.words(t)[None].to(device)) for t in (request.prompt, ""))
        editor = VaceEditor(
            transformer, lambda rgb: encode_clip(codec, rgb), lambda latents: CodecStream(codec).decode(latents), words,
            without, self._schedule(), window=MADE_FOR,
        )  # fmt: skip
        edit = VaceEdits(editor, self.width_px * self.height_px, source, seen, request, told).edited()
        return replace(edit, notes=(*edit.notes, *notes))

    def _schedule(self) -> ClipSchedule:
        return ClipSchedule(self.steps, SHIFT_720P if self.width_px * self.height_px > 600_000 else SHIFT_480P)

    def _control(
        self, frames: int, first: Picture | None, last: Picture | None, references: Sequence[Picture]
    ) -> Tensor:
        """What VACE is led by: the keyframes are kept, all else is drawn."""
        device, size = self.parts.transformer.device, (self.height_px, self.width_px)
        video, mask = torch.zeros(1, 3, frames, *size), torch.ones(1, 1, frames, *size)
        for index, picture in ((0, first), (frames - 1, last)):
            if picture is not None:
                video[:, :, index], mask[:, :, index] = from_pictures(picture)[:, :, 0], 0.0
        shown = [on_canvas(from_pictures(r)[:, :, 0], *size).to(device) for r in references]

        def encode(rgb: Tensor) -> Tensor:
            return encode_clip(self.parts.codec, rgb)

        return control_latents(video.to(device), encode, mask.to(device), shown)


def load_clip_world(card: ModelCard, data: Path, options: OpenOptions | None = None) -> ClipWorld:
    """Raises WeightsError, MemoryRefused or ValueError, all of one line."""
    options, family = options or OpenOptions(), families.family(card.family)
    device = torch.device("cuda" if torch.cuda.is_available() and options.device == "auto" else "cpu")
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    opened = {p.role: catalogue.open_part(card, data, p.role) for p in card.parts if p.role != families.TOKENIZER}
    free, where = free_bytes()
    role = families.VAE if families.VAE in opened else families.TAEHV
    held = sum(weights_bytes(opened[part].layout, dtype.itemsize) for part in (families.TRANSFORMER, role))
    try:
        admit(free, held, f"{card.name}: {held / GIB:.2f} GiB of weights")
    except MemoryRefused as error:
        raise MemoryRefused(f"{error} ({where})") from None
    part = opened[families.TRANSFORMER]
    assert isinstance(part.shape, TransformerShape)
    clip = opened.get(families.CLIP)
    config = transformer_config(part.shape, 257 if clip is None else getattr(clip.shape, "tokens", 257))
    if part.shape.vace_layers:
        every = part.shape.layers // part.shape.vace_layers
        after = tuple(every * i for i in range(part.shape.vace_layers))
        config = replace(config, vace_layers=after, vace_channels=part.shape.vace_channels)
    with torch.device("meta"):
        network: WanTransformer = WanVace(config) if part.shape.vace_layers else WanTransformer(config)
    fill(network, part, dtype, device)
    parts = Parts(
        network.eval().requires_grad_(False), codec_of(opened[role], dtype, device), reader(card, data, device),
        None if clip is None else looker(card, data, opened, device),
    )  # fmt: skip
    width, height = options.width_px or family.sizes[0][0], options.height_px or family.sizes[0][1]
    return ClipWorld(card, parts, width, height)
