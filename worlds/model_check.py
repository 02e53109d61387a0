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

PRECISIONS = {2: "bf16", 4: "float32"}  # by the bytes of a number


def itemsize() -> int:
    """Bytes of a number as it would be loaded here: bf16 on a GPU, float32 on a CPU."""
    return 2 if torch.cuda.is_available() else 4


def free_bytes() -> tuple[int, str]:
    """Free memory where the model would run, and what that is."""
    if torch.cuda.is_available():
        return torch.cuda.mem_get_info()[0], torch.cuda.get_device_name()
    return host_free_bytes(), "CPU memory; this machine has no GPU that torch can use"


def check(card: ModelCard, data: Path, again: bool = False, say: Say = lambda _: None) -> Iterator[str]:
    """Lines about a card: parts, memory of one session at every size and window, whether it fits.

    `again`: every file is hashed once more. Raises WeightsError.
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
    size = itemsize()
    resident = {fp8: _resident(opened, size, fp8) for fp8 in (False, True)}
    yield (
        f"  while it runs: transformer and decoders {resident[False] / GIB:.2f} GiB in {PRECISIONS[size]}, "
        f"{resident[True] / GIB:.2f} with fp8 weights; the encoders below only while a prompt or a picture is read"
    )
    for role in (families.TEXT, families.CLIP):
        if role in opened:
            yield f"  {role}: {_loaded(opened[role], size) / GIB:.2f} GiB in {PRECISIONS[size]}"
    free, where = free_bytes()
    yield f"  free: {free / GIB:.2f} GiB of {where}"
    for role, decoder in decoders.items():
        assert isinstance(decoder, VaeShape | TaehvShape)
        for line in _session_lines(kind, shape, decoder, resident, free, size):
            yield f"  {line}, decoder {role}"


def _part_line(part: PartRecord) -> str:
    size = sum(file.bytes for file in part.files) / GIB
    count = f", {len(part.files)} files" if len(part.files) > 1 else ""
    if not part.parameters:
        return f"{part.role}: {part.entry}"
    root = f", {part.root}" if part.root else ""
    kind = "+".join(part.dtypes)
    return f"{part.role}: {part.parameters:,} parameters, {kind}, {size:.2f} GiB{count}: {part.entry}{root}"


def _loaded(part: Recognised, size: int) -> int:
    """Bytes of a part; of CLIP only the tower that is used."""
    table = {key: size for key, size in part.layout.items() if not key.startswith(("textual.", "log_scale"))}
    return weights_bytes(table, size)


def _resident(opened: dict[str, Recognised], size: int, fp8: bool) -> int:
    """Bytes of what stays loaded. A LoRA that belongs to the model is merged into its weights."""
    total = weights_bytes(opened[families.TRANSFORMER].layout, size, fp8)
    return total + sum(_loaded(opened[role], size) for role in (families.VAE, families.TAEHV) if role in opened)


def _session_lines(
    kind: Family,
    shape: TransformerShape,
    decoder: VaeShape | TaehvShape,
    resident: dict[bool, int],
    free: int,
    size: int,
) -> Iterator[str]:
    for width, height in kind.sizes:
        if width < height and (height, width) in kind.sizes:
            continue  # upright takes the same
        for window in kind.windows:
            memory = session_bytes(shape, width, height, window, decoder, kind.chunk, size, kind.causal, kind.sink)
            verdict = _verdict(memory, resident, free, size)
            yield f"{width}x{height}, {_window(kind, window)}: {_session(memory)}; {verdict}"


def _window(kind: Family, window: int) -> str:
    return f"window {window} latent frames" if kind.causal else f"a clip of {1 + 4 * (window - 1)} frames"


def _session(memory: SessionMemory) -> str:
    return (
        f"session {memory.total / GIB:.2f} GiB (past {memory.keys_values / GIB:.2f}, text and image "
        f"{memory.context / GIB:.2f}, actions {memory.action / GIB:.2f}, decoder {memory.decoder / GIB:.2f}, workspace "
        f"about {memory.workspace / GIB:.2f})"
    )


def _verdict(memory: SessionMemory, resident: dict[bool, int], free: int, size: int) -> str:
    """Whether one session fits beside the weights, and how many more would."""
    for fp8, how in ((False, PRECISIONS[size]), (True, "fp8 weights only")):
        left = free - resident[fp8] - memory.total
        if left >= 0:
            more = f", {1 + left // max(memory.kept, 1)} sessions" if memory.keys_values else ""
            return f"fits: {how}{more}"
    return f"does not fit: {(resident[False] + memory.total) / GIB:.2f} GiB in {PRECISIONS[size]}"
