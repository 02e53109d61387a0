"""How an open checkpoint will be run: size, window, precision and decoder, and whether that fits into memory."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ..errors import WeightsError
from ..model_card import ModelCard
from ..model_check import free_bytes
from ..options import OpenOptions
from . import families
from .assembly import fitted
from .families import Family
from .layout import TransformerShape
from .layout_parts import TaehvShape, VaeShape
from .live import LivePreset, live
from .memory import GIB, MemoryRefused, admit, session_bytes, weights_bytes
from .recognise import Recognised


@dataclass(frozen=True, slots=True)
class Plan:
    """What was decided before anything was loaded."""

    preset: LivePreset
    width_px: int
    height_px: int
    window: int
    dtype: torch.dtype
    fp8: bool
    fp8_compute: bool  # and the products are taken in eight bits too
    decoder: str  # a role of families.py


def planned(
    card: ModelCard, family: Family, opened: dict[str, Recognised], options: OpenOptions, device: torch.device
) -> Plan:
    """Raises WeightsError, MemoryRefused or ValueError, all of one line, where the checkpoint cannot be run so here."""
    preset, shape = live(family.name), opened[families.TRANSFORMER].shape
    assert isinstance(shape, TransformerShape)
    width, height = options.width_px or family.sizes[0][0], options.height_px or family.sizes[0][1]
    window = family.windows[0] if options.window is None else options.window
    if window < preset.block + preset.sink:
        raise ValueError(
            f"the window of {card.name} must hold {preset.block + preset.sink} latent frames or more, got {window}"
        )
    preset = fitted(preset, shape, window)
    automatic = torch.bfloat16 if device.type == "cuda" else torch.float32
    dtype = {"bf16": torch.bfloat16, "float32": torch.float32}.get(options.precision, automatic)
    role = _decoder_role(card, opened, options.decoder)
    eight, products_too = options.precision.startswith("fp8"), options.precision == "fp8-compute"
    plan = Plan(preset, width, height, window, dtype, eight, products_too, role)
    _admit(card, opened, shape, plan, device)
    return plan


def _decoder_role(card: ModelCard, opened: dict[str, Recognised], wanted: str) -> str:
    roles = {"taehv": families.TAEHV, "vae": families.VAE}
    have = [role for role in roles.values() if role in opened]
    role = have[0] if wanted == "auto" and have else roles.get(wanted, "")
    if role not in have:
        raise WeightsError(f"{card.name} has no {wanted} decoder, but {' and '.join(have)}; add it again with one")
    return role


def _admit(
    card: ModelCard, opened: dict[str, Recognised], shape: TransformerShape, plan: Plan, device: torch.device
) -> None:
    """Raises MemoryRefused where weights and one session do not fit."""
    decoder = opened[plan.decoder].shape
    assert isinstance(decoder, VaeShape | TaehvShape)
    size = plan.dtype.itemsize
    session = session_bytes(
        shape, plan.width_px, plan.height_px, plan.window, decoder, plan.preset.block, size, sink=plan.preset.sink
    ).total
    parts = [opened[role].layout for role in {plan.decoder, *({families.VAE} & opened.keys())}]
    kept = ("blocks.0.", f"blocks.{shape.layers - 1}.") if plan.fp8_compute else ()
    held = weights_bytes(opened[families.TRANSFORMER].layout, size, plan.fp8, kept) + sum(
        weights_bytes(p, size) for p in parts
    )
    free, where = free_bytes()
    try:
        admit(free, held + session, f"{card.name}: {held / GIB:.2f} GiB of weights and a session")
    except MemoryRefused as error:
        raise MemoryRefused(f"{error} ({where})") from None
