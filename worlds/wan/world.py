"""An open checkpoint from the catalogue as a world that can be played: the same contract as the embedded ones.

`load_open_world` reads the card, reckons what a session takes, refuses what would not fit before anything is loaded,
then builds the parts one after another. The text and image encoders are read when a prompt or a picture needs them.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from .. import catalogue
from ..core import Sight
from ..errors import WeightsError
from ..model_card import ModelCard, models_folder
from ..options import OpenOptions
from . import families
from .assembly import empty_transformer, transformer_config
from .beginnings import Painter, looker, reader
from .chunk_fused import FusedStep
from .chunk_fused_graph import FusedGraphStep
from .chunk_graph import GraphStep
from .chunk_step import EagerStep, MakeStep
from .engine_backend import EngineOptions, step_maker
from .fp8 import store_fp8
from .fp8_matmul import compute_fp8, why_not
from .fused_transformer import FusedTransformer
from .layout import TransformerShape
from .layout_parts import ClipShape, VaeShape
from .loading import fill
from .lora import Adapters, merged
from .openvino_backend import OpenVINOOptions, OpenVINOSteps, opened_steps
from .plan import Plan, planned
from .recognise import Recognised
from .rollout import CELL_PX, WanModel, WanRollout
from .taehv import TAEHV, TAEHVConfig
from .transformer import WanTransformer
from .vae import VAEConfig, WanVAE

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class OpenWorld:
    """A world ready to play; satisfies `core.World`."""

    card: ModelCard
    model: WanModel
    engine: str

    @property
    def name(self) -> str:
        return self.card.name

    @property
    def sha256(self) -> str:
        """Of all weights, the window and the size: what an action log must agree with."""
        files = [file.sha256 for part in self.card.parts for file in part.files]
        m = self.model
        return hashlib.sha256(repr((files, m.window, m.width_px, m.height_px)).encode()).hexdigest()

    @property
    def width_px(self) -> int:
        return self.model.width_px

    @property
    def height_px(self) -> int:
        return self.model.height_px

    @property
    def steps(self) -> int:
        return len(self.model.preset.schedule.steps)

    @property
    def fps(self) -> float:
        return self.model.preset.fps

    @property
    def frames_per_step(self) -> int:
        return self.model.preset.frames

    @property
    def controls(self) -> tuple[str, ...]:
        return self.model.preset.controls

    @property
    def themes(self) -> tuple[str, ...]:
        """None: any words."""
        return ()

    @property
    def max_step_m(self) -> float:
        return 0.45 * self.frames_per_step

    @property
    def max_turn_rad(self) -> float:
        return 0.1 * self.frames_per_step

    def understood(self, prompt: str) -> tuple[str, ...]:
        """All of them: the text encoder knows every language's words."""
        return tuple(prompt.split())

    def rollout(self) -> WanRollout:
        """A new rollout with a cache of its own; call `reset` before `step`."""
        return WanRollout(self.model)

    def viewer(self) -> AnyPicture:
        return AnyPicture()

    def with_steps(self, steps: int) -> OpenWorld:
        """Raises ValueError: a distilled checkpoint has one schedule."""
        if steps != self.steps:
            raise ValueError(f"{self.name} runs at {self.steps} steps, not {steps}")
        return self


class AnyPicture:
    """The open checkpoints have seen all kinds of pictures; none is far, and none is captioned."""

    def look(self, rgb: NDArray[np.uint8]) -> Sight:
        return Sight("", 0.0, 0.0)


def load_open_world(card: ModelCard, data: Path, options: OpenOptions | None = None) -> OpenWorld:
    """Raises WeightsError, MemoryRefused or ValueError, all of one line; then nothing stays loaded."""
    options = options or OpenOptions()
    family = families.family(card.family)
    if not family.causal:
        raise WeightsError(
            f"{card.name} ({family.name}) makes clips and is not played live; choose a causal checkpoint"
        )
    gpu = torch.cuda.is_available() and options.engine != "openvino"
    device = torch.device(options.device if options.device != "auto" else "cuda" if gpu else "cpu")
    opened = {p.role: catalogue.open_part(card, data, p.role) for p in card.parts if p.role != families.TOKENIZER}
    plan = planned(card, family, opened, options, device)
    transformer = _transformer(opened, plan, device)
    decoder = codec_of(opened[plan.decoder], plan.dtype, device)
    encoder = None
    if "picture" in plan.preset.controls and plan.decoder != families.VAE and families.VAE in opened:
        encoder = codec_of(opened[families.VAE], plan.dtype, device)
    look = looker(card, data, opened, device) if families.CLIP in opened else None
    transformer, step, engine = _running(transformer, plan, options, data, card.name)
    model = WanModel(
        transformer, decoder, plan.preset, plan.width_px, plan.height_px, plan.window,
        prompt=reader(card, data, device) if families.TEXT in opened else None,
        encoder=encoder, look=look, adapters=_adapters(transformer, options.loras),
        step=step,
        paint=None if look is None else Painter(data, plan.width_px, plan.height_px),
    )  # fmt: skip
    precision = options.precision if plan.fp8 else str(plan.dtype).removeprefix("torch.")
    return OpenWorld(card, model, f"{engine} {precision}, {plan.decoder}, window {plan.window}, {device.type}")


def _running(
    transformer: WanTransformer, plan: Plan, options: OpenOptions, data: Path, name: str
) -> tuple[WanTransformer, MakeStep, str]:
    """(the transformer, fused where it can be; how its blocks are run; what that is called)."""
    cuda = transformer.device.type == "cuda"
    if options.engine == "cuda" and not cuda:
        raise ValueError("torch can use no GPU here; choose the engine eager, or auto")
    if options.engine == "openvino" and cuda:
        raise ValueError("OpenVINO draws on the CPU; choose the engine cuda, or auto")
    plain: MakeStep = FusedStep if options.fused_commit else EagerStep
    if options.loras or options.engine == "eager":
        return transformer, plain, "eager"  # LoRAs come and go by hooks, which a recording would not see
    if options.engine == "openvino" or (options.engine == "auto" and not cuda):
        step, engine = _on_cpu(transformer, plan, options, plain, data, name)
        return transformer, step, engine
    if cuda and plan.dtype == torch.bfloat16:
        transformer = _fused(transformer)
    graph: MakeStep = FusedGraphStep if options.fused_commit else GraphStep
    if options.engine == "tensorrt":
        where = EngineOptions(models_folder(data) / "engines", name)
        return transformer, step_maker(where, _say, graph if cuda else plain), "tensorrt"
    return transformer, graph, "cuda"


def _on_cpu(
    transformer: WanTransformer, plan: Plan, options: OpenOptions, plain: MakeStep, data: Path, name: str
) -> tuple[MakeStep, str]:
    """OpenVINO, compiled now, or `plain`, and what it is called. `auto` measures both; it leaves weights that were
    stored in eight bits to save memory, and the fused commit, to torch."""
    auto = options.engine == "auto"
    if auto and (plan.fp8 or options.fused_commit):
        return plain, "eager"
    where = OpenVINOOptions(models_folder(data) / "engines", name, exact=options.precision == "float32")
    size = transformer, plan.preset, plan.height_px // CELL_PX, plan.width_px // CELL_PX, plan.window
    return opened_steps(OpenVINOSteps(where, _say, plain), size, measured=auto)


def _fused(transformer: WanTransformer) -> WanTransformer:
    """With kernels between its products; as it is, after one line, where that cannot be."""
    try:
        return FusedTransformer.of(transformer)
    except ValueError as error:
        _say(f"no fused pass: {error}")
        return transformer


def _say(line: str) -> None:
    logger.warning("%s", line)


def _transformer(opened: dict[str, Recognised], plan: Plan, device: torch.device) -> WanTransformer:
    part, clip = opened[families.TRANSFORMER], opened.get(families.CLIP)
    assert isinstance(part.shape, TransformerShape)
    tokens = clip.shape.tokens if clip is not None and isinstance(clip.shape, ClipShape) else 257
    config, actions = transformer_config(part.shape, tokens), plan.preset.actions
    network = empty_transformer(config, actions)
    fill(network, part, plan.dtype, "cpu" if plan.fp8 else device)  # halved before it comes to the GPU
    if families.LORA in opened:  # part of the model as published, always on
        merged(network, {opened[families.LORA].checkpoint.path: 1.0})
    network.cast(plan.dtype)
    if plan.fp8:
        refused = why_not(device) if plan.fp8_compute else None
        if refused is not None:
            _say(f"fp8-compute: {refused}; weights are stored in fp8")
        (compute_fp8 if plan.fp8_compute and refused is None else store_fp8)(network)
        network.to(device)
    return network.eval().requires_grad_(False)


def _adapters(network: WanTransformer, files: tuple[Path, ...]) -> Adapters | None:
    """All LoRAs at scale 0. Raises WeightsError on a file that is damaged or of another model."""
    if not files:
        return None
    adapters = Adapters(network)
    for path in files:
        if path.stem in adapters.names:
            raise WeightsError(f"two LoRA files are named {path.stem}; rename one of them")
        adapters.load(path.stem, path)
    return adapters


def codec_of(part: Recognised, dtype: torch.dtype, device: torch.device) -> Any:
    shape: Any = part.shape
    with torch.device("meta"):
        codec: nn.Module = (
            WanVAE(VAEConfig(width=shape.dim))
            if isinstance(shape, VaeShape)
            else TAEHV(TAEHVConfig(widths=shape.widths, encoder_width=shape.encoder))
        )
    fill(codec, part, dtype, device)
    return codec.eval().requires_grad_(False)
