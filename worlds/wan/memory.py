"""What a world and its sessions take of memory, counted from shapes before anything is loaded.

Every figure but `workspace_bytes` is exact: the sizes of tensors that will exist. Formulas, with f latent frames in
the window, n tokens of a latent frame, d the width, L the blocks, e bytes of a number (2 in bf16):

    keys and values          2·L·f·n·d·e          (184,320 bytes a token at 1.3B)
    the sink's keys again    L·s·n·d·e            s frames of sink, kept before rotation too
    of text or image         2·L·t·d·e            t = 512 text tokens, 257 image tokens
    action, keyboard         2·B·f·1024·e         B blocks with the module; the same for every position
    action, mouse            2·B·n·f·1024·e       every position attends over time by itself
    decoder                  frames kept between chunks, one entry per causal convolution or memory block
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from .layout import Layout, TransformerShape, parameters
from .layout_parts import TaehvShape, VaeShape

GIB = 2**30
TEXT_TOKENS = 512
IMAGE_TOKENS = 257
STRIDE = 8  # pixels of a latent cell
CHUNK = 3  # latent frames drawn together


class MemoryRefused(ValueError):
    """A session would not fit. One line with the numbers and the remedy."""


@dataclass(frozen=True, slots=True)
class SessionMemory:
    """Bytes that one session takes while it lives."""

    keys_values: int  # of past frames
    context: int  # keys and values of text and image
    action: int  # keys and values of the action modules
    decoder: int  # what a streaming decoder remembers
    workspace: int  # estimate: the largest set of temporaries of one pass; shared by sessions that take turns

    @property
    def kept(self) -> int:
        """What stays between chunks: this many bytes for every further session."""
        return self.keys_values + self.context + self.action + self.decoder

    @property
    def total(self) -> int:
        return self.kept + self.workspace


def frame_tokens(width_px: int, height_px: int, shape: TransformerShape) -> int:
    """Tokens of one latent frame. Raises ValueError when the picture is no multiple of a token."""
    step_y, step_x = STRIDE * shape.patch[1], STRIDE * shape.patch[2]
    if width_px <= 0 or height_px <= 0 or width_px % step_x or height_px % step_y:
        raise ValueError(f"{width_px}x{height_px} is no size for this model: use multiples of {step_x}x{step_y}")
    return (width_px // step_x) * (height_px // step_y)


def weights_bytes(table: Layout, itemsize: int = 2, fp8: bool = False, kept: tuple[str, ...] = ()) -> int:
    """Of the weights once loaded. `fp8`: the Linear weights inside blocks take one byte a number and a four-byte scale
    each; embeddings, norms, biases, modulation, the head and what begins with a word of `kept` stay at `itemsize`."""
    if not fp8:
        return parameters(table) * itemsize
    total = 0
    for key, size in table.items():
        count = parameters({key: size})
        stored = "blocks." in key and key.endswith(".weight") and len(size) == 2 and not key.startswith(kept)
        total += count + 4 if stored else count * itemsize
    return total


def session_bytes(
    shape: TransformerShape,
    width_px: int,
    height_px: int,
    window: int,
    decoder: VaeShape | TaehvShape,
    chunk: int = CHUNK,
    itemsize: int = 2,
    causal: bool = True,
    sink: int = 0,
) -> SessionMemory:
    """Of one session. `window`: latent frames whose keys and values are kept, sink and the chunk being drawn included.
    A model that is not `causal` draws all of the window at once and keeps no keys and values of frames.

    Raises ValueError on a picture size or a window that the model cannot have.
    """
    chunk = chunk if causal else window
    if window < chunk + sink or window < 1:
        raise ValueError(
            f"the window is {window} latent frames; it must hold the {chunk} that are drawn together and {sink} of sink"
        )
    tokens = frame_tokens(width_px, height_px, shape)
    pair = 2 * itemsize  # a key and a value
    context = (TEXT_TOKENS if shape.text else 0) + (IMAGE_TOKENS if shape.image else 0)
    action = 0
    if shape.action:
        rows = 1 + (tokens if shape.action.mouse else 0)  # keyboard once, mouse at every position
        action = pair * shape.action.blocks * rows * window * shape.action.inner
    if isinstance(decoder, VaeShape):
        remembered = vae_state_numbers(decoder, width_px, height_px)
    else:
        remembered = taehv_state_numbers(decoder, width_px, height_px)
    return SessionMemory(
        keys_values=(2 * window + sink) * itemsize * shape.layers * tokens * shape.dim if causal else 0,
        context=pair * shape.layers * context * shape.dim,
        action=action,
        decoder=remembered * itemsize,
        workspace=workspace_bytes(shape, tokens, window, decoder, width_px, height_px, chunk, itemsize),
    )


def vae_state_numbers(shape: VaeShape, width_px: int, height_px: int) -> int:
    """Numbers in the 32 caches of the streaming decoder: two frames of each causal convolution's input."""
    cells = (width_px // STRIDE) * (height_px // STRIDE)
    w1, w2, w3, w4 = shape.widths
    per_cell = shape.latent + 4 * w4  # conv1 and the middle's two residual blocks
    per_cell += 6 * w4 + w4  # three residual blocks, time_conv
    per_cell += 4 * ((w4 // 2) + 5 * w3 + w3)  # twice the size: half the channels come in
    per_cell += 16 * ((w3 // 2) + 5 * w2)  # the last doubling has no time_conv
    per_cell += 64 * ((w2 // 2) + 5 * w1 + w1)  # full size, and the head
    return 2 * cells * per_cell


def taehv_state_numbers(shape: TaehvShape, width_px: int, height_px: int) -> int:
    """Numbers in the 9 memories of the streaming decoder: one frame of each MemBlock's input."""
    cells = (width_px // STRIDE) * (height_px // STRIDE)
    first, second, third, _ = shape.widths
    return 3 * cells * (first + 4 * second + 16 * third)


def workspace_bytes(
    shape: TransformerShape,
    tokens: int,
    window: int,
    decoder: VaeShape | TaehvShape,
    width_px: int,
    height_px: int,
    chunk: int = CHUNK,
    itemsize: int = 2,
) -> int:
    """An estimate of the temporaries of one pass, whichever is larger: a block of the transformer or the decoder.

    A block holds the residual stream and its normalised, modulated copy in fp32, queries, keys, values and the
    attention's result, the keys of the whole window once more (rotated), and the FFN's inner activations twice. The
    decoder at full size holds four video frames of its widest layer there, in and out and one more for the convolution.
    """
    drawn = chunk * tokens
    block = drawn * (shape.dim * (3 * 4 + 5 * itemsize) + 2 * shape.ffn * itemsize)
    block += window * tokens * shape.dim * itemsize
    widest = 2 * decoder.dim if isinstance(decoder, VaeShape) else decoder.widths[2]
    return max(block, 3 * 4 * widest * width_px * height_px * itemsize)


def admit(free: int, needed: int, what: str = "the session") -> None:
    """Raises MemoryRefused when `needed` bytes are not among the `free` ones."""
    if needed > free:
        raise MemoryRefused(
            f"{what} needs {needed / GIB:.2f} GiB and {max(free, 0) / GIB:.2f} GiB are free; use a smaller window, fp8 "
            "weights, the tiny decoder or a smaller resolution, or end another session"
        )


def host_free_bytes() -> int:
    """Memory that this process may still take: what the machine has free, or what its control group leaves."""
    free = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError, IndexError):
        pass  # not Linux: all there is
    try:
        group = Path("/sys/fs/cgroup")
        limit, used = (group / "memory.max").read_text(), (group / "memory.current").read_text()
        return min(free, int(limit) - int(used))
    except (OSError, ValueError):  # no control group, or no limit
        return free
