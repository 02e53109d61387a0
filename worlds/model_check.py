"""What a model in the catalogue would take of this machine, told before anything is loaded."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch

from .catalogue import open_part, verify
from .model_card import ModelCard, PartRecord
from .model_folder import Say
from .wan import families
from .wan.families import Family, family
from .wan.layout import TransformerShape
from .wan.layout_parts import TaehvShape, VaeShape
from .wan.memory import GIB, SessionMemory, host_free_bytes, session_bytes, weights_bytes
from .wan.recognise import Recognised

BF16 = 2  # bytes of a number


def free_bytes() -> tuple[int, str]:
    """Free memory where the model would run, and what that is."""
    if torch.cuda.is_available():
        return torch.cuda.mem_get_info()[0], torch.cuda.get_device_name()
    return host_free_bytes(), "CPU memory; this machine has no GPU that torch can use"


def check(card: ModelCard, data: Path, again: bool = False, say: Say = lambda _: None) -> Iterator[str]:
    """Lines about a card: parts, memory of one session at every size and window, whether it fits.

    `again`: every file is hashed once more. Raises WeightsError or CheckpointError.
    """
    if again:
        verify(card, data, say)
    kind = family(card.family)
    opened = {part.role: open_part(card, data, part.role) for part in card.parts if part.role != families.TOKENIZER}
    yield f"{card.name}: {card.family}, licence {card.licence}, from {card.source}"
    for part in card.parts:
        yield f"  {_part_line(part)}"
    shape = opened[families.TRANSFORMER].shape
    assert isinstance(shape, TransformerShape)
    decoders = {role: opened[role].shape for role in (families.TAEHV, families.VAE) if role in opened}
    resident = {fp8: _resident(opened, fp8) for fp8 in (False, True)}
    yield (
        f"  while it runs: transformer and decoders {resident[False] / GIB:.2f} GiB in bf16, "
        f"{resident[True] / GIB:.2f} with fp8 weights; the encoders below only while a prompt or a picture is read"
    )
    for role in (families.TEXT, families.CLIP):
        if role in opened:
            yield f"  {role}: {_loaded(opened[role]) / GIB:.2f} GiB in bf16"
    free, where = free_bytes()
    yield f"  free: {free / GIB:.2f} GiB of {where}"
    for role, decoder in decoders.items():
        assert isinstance(decoder, VaeShape | TaehvShape)
        for line in _session_lines(kind, shape, decoder, resident, free):
            yield f"  {line}, decoder {role}"


def _part_line(part: PartRecord) -> str:
    size = sum(file.bytes for file in part.files) / GIB
    count = f", {len(part.files)} files" if len(part.files) > 1 else ""
    if not part.parameters:
        return f"{part.role}: {part.entry}"
    root = f", {part.root}" if part.root else ""
    kind = "+".join(part.dtypes)
    return f"{part.role}: {part.parameters:,} parameters, {kind}, {size:.2f} GiB{count}: {part.entry}{root}"


def _loaded(part: Recognised) -> int:
    """Bytes of a part in bf16; of CLIP only the tower that is used."""
    table = {key: size for key, size in part.layout.items() if not key.startswith(("textual.", "log_scale"))}
    return weights_bytes(table, BF16)


def _resident(opened: dict[str, Recognised], fp8: bool) -> int:
    """Bytes of what stays loaded; a LoRA is kept beside the weights that it changes."""
    total = weights_bytes(opened[families.TRANSFORMER].layout, BF16, fp8)
    return total + sum(_loaded(opened[r]) for r in (families.VAE, families.TAEHV, families.LORA) if r in opened)


def _session_lines(
    kind: Family, shape: TransformerShape, decoder: VaeShape | TaehvShape, resident: dict[bool, int], free: int
) -> Iterator[str]:
    for width, height in kind.sizes:
        if width < height and (height, width) in kind.sizes:
            continue  # upright takes the same
        for window in kind.windows:
            memory = session_bytes(shape, width, height, window, decoder, kind.chunk, BF16, kind.causal, kind.sink)
            yield f"{width}x{height}, {_window(kind, window)}: {_session(memory)}; {_verdict(memory, resident, free)}"


def _window(kind: Family, window: int) -> str:
    return f"window {window} latent frames" if kind.causal else f"a clip of {1 + 4 * (window - 1)} frames"


def _session(memory: SessionMemory) -> str:
    return (
        f"session {memory.total / GIB:.2f} GiB (past {memory.keys_values / GIB:.2f}, text and image "
        f"{memory.context / GIB:.2f}, actions {memory.action / GIB:.2f}, decoder {memory.decoder / GIB:.2f}, workspace "
        f"about {memory.workspace / GIB:.2f})"
    )


def _verdict(memory: SessionMemory, resident: dict[bool, int], free: int) -> str:
    """Whether one session fits beside the weights, and how many more would."""
    for fp8, how in ((False, "bf16"), (True, "fp8 weights only")):
        left = free - resident[fp8] - memory.total
        if left >= 0:
            more = f", {1 + left // max(memory.kept, 1)} sessions" if memory.keys_values else ""
            return f"fits: {how}{more}"
    return f"does not fit: {(resident[False] + memory.total) / GIB:.2f} GiB in bf16"
