"""One session's video autoencoder: latents come chunk by chunk, frames leave at once, nothing is drawn twice.

start = encode_clip(vae, from_pictures(photo))  # [1, 16, 1, h, w]
stream = CodecStream(vae)  # or of a TAEHV: same shapes, same frame counts
for latents in chunks:  # [1, 16, T, h, w], any T >= 1
    show(pictures(stream.decode(latents)))  # uint8[1, 4T, 8h, 8w, 3]; 4T - 3 for the first chunk
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .codec import D, E, Shape, VideoCodec, check_rgb


class StreamingDecoder(Protocol):
    """One session's way from latents to frames and back; `CodecStream` is one. Not thread-safe: one thread owns it."""

    @property
    def latents_before(self) -> int:
        """Latents decoded since the reset."""
        ...

    @property
    def nbytes(self) -> int:
        """Bytes held between calls."""
        ...

    def reset(self) -> None: ...
    def frames(self, latents_before: int, latents: int) -> int:
        """How many frames `decode` will return for `latents` latents after `latents_before`."""
        ...

    def decode(self, latents: Tensor) -> Tensor:
        """`[B, C, T, h, w]` as the diffusion model draws them to rgb `[B, 3, F, H, W]` in [-1, 1]."""
        ...

    def encode(self, rgb: Tensor) -> Tensor:
        """rgb `[B, 3, F, H, W]` in [-1, 1] to the latents complete by now, `[B, C, T, h, w]`, T ≥ 0."""
        ...

    def flush(self) -> Tensor:
        """The latents of what `encode` still holds, T ≥ 0; ends what is encoded, not what is decoded."""
        ...

    def snapshot(self) -> Any: ...
    def restore(self, snapshot: Any) -> None: ...


@dataclass(frozen=True, slots=True)
class StreamSnapshot(Generic[D, E]):
    """Everything that the next frame of a `CodecStream` depends on."""

    decoder: D | None
    encoder: E | None
    waiting: Tensor | None

    @property
    def nbytes(self) -> int:
        ends = sum(end.nbytes for end in (self.decoder, self.encoder) if end is not None)
        return ends + (0 if self.waiting is None else self.waiting.nbytes)


class CodecStream(Generic[D, E]):
    """A stream through one codec, decoder and encoder apart: what is encoded does not touch what is decoded.

    The tensors of its state stay where they are from the second call on. Everything runs in inference mode. A call
    that raises ValueError leaves the stream as it was; after any other error, such as want of memory, reset it.
    """

    def __init__(self, codec: VideoCodec[D, E]) -> None:
        self._codec = codec
        self._decoder: D | None = None
        self._encoder: E | None = None
        self._waiting: Tensor | None = None  # [B, 3, F, H, W] of the frames encoded so far, those without a latent

    @property
    def latents_before(self) -> int:
        """Latents decoded since the reset."""
        return 0 if self._decoder is None else self._decoder.seen

    @property
    def nbytes(self) -> int:
        """Bytes that this stream holds between calls."""
        return StreamSnapshot(self._decoder, self._encoder, self._waiting).nbytes

    def reset(self) -> None:
        """Begin new streams at both ends."""
        self._decoder, self._encoder, self._waiting = None, None, None

    def frames(self, latents_before: int, latents: int) -> int:
        """How many frames `latents` more latents decode to after `latents_before`. Both ≥ 0, else ValueError."""
        return self._codec.frames(latents_before, latents)

    @torch.inference_mode()
    def decode(self, latents: Tensor) -> Tensor:
        """`[B, C, T, h, w]`, T ≥ 1, to rgb `[B, 3, frames(latents_before, T), H, W]` in [-1, 1].

        Nothing is held back; given one latent at a time, the first frame is there soonest. Raises ValueError on
        other shapes.
        """
        rgb, self._decoder = self._codec.decode(latents, self._decoder, reuse=True)
        return rgb

    @torch.inference_mode()
    def encode(self, rgb: Tensor) -> Tensor:
        """rgb `[B, 3, F, H, W]` in [-1, 1], any F ≥ 1, to the latents complete by now, `[B, C, T, h, w]`, T ≥ 0.

        Latents are float32. Frames that do not fill one wait for the next call, or for `flush`. Raises ValueError on
        other shapes.
        """
        check_rgb(rgb, self._codec.cell_px)
        if self._waiting is not None and _size(self._waiting) != _size(rgb):
            raise ValueError(
                f"the stream's frames are (batch, height, width) {_size(self._waiting)}, got {_size(rgb)}; resize them "
                "or reset the stream"
            )
        waiting = rgb if self._waiting is None else torch.cat([self._waiting, rgb], 2)
        whole, before = 0, 0 if self._encoder is None else self._encoder.seen
        while whole + self._codec.group(before) <= waiting.shape[2]:
            whole += self._codec.group(before)
            before += 1
        if whole:
            latents, self._encoder = self._codec.encode(waiting[:, :, :whole], self._encoder, reuse=True)
        else:
            latents = self._no_latents(rgb)
        self._waiting = waiting[:, :, whole:].clone()
        return latents

    def flush(self) -> Tensor:
        """End the encoder's stream: frames that wait are made a whole latent by repeating the last one.

        Returns that latent, float32 `[B, C, 1, h, w]`, or none, T = 0. The next `encode` begins a new stream. The
        decoder holds nothing back and goes on as it was. Raises ValueError when nothing was encoded.
        """
        if self._waiting is None:
            raise ValueError("no frames were encoded in this stream; call encode before flush")
        if count := self._waiting.shape[2]:
            group = self._codec.group(0 if self._encoder is None else self._encoder.seen)
            latents = self.encode(self._waiting[:, :, -1:].expand(-1, -1, group - count, -1, -1))
        else:
            latents = self._no_latents(self._waiting)
        self._encoder, self._waiting = None, None
        return latents

    def _no_latents(self, rgb: Tensor) -> Tensor:
        cell = self._codec.cell_px
        shape = (len(rgb), self._codec.channels, 0, rgb.shape[3] // cell, rgb.shape[4] // cell)
        return torch.zeros(shape, device=rgb.device)

    @torch.inference_mode()
    def snapshot(self) -> StreamSnapshot[D, E]:
        """A copy of the state, valid for any stream of the same codec."""
        return _copied(StreamSnapshot(self._decoder, self._encoder, self._waiting))

    @torch.inference_mode()
    def restore(self, snapshot: StreamSnapshot[D, E]) -> None:
        """Go on from `snapshot`, which stays valid."""
        copy = _copied(snapshot)
        self._decoder, self._encoder, self._waiting = copy.decoder, copy.encoder, copy.waiting


def _copied(snapshot: StreamSnapshot[D, E]) -> StreamSnapshot[D, E]:
    decoder, encoder, waiting = snapshot.decoder, snapshot.encoder, snapshot.waiting
    return StreamSnapshot(
        None if decoder is None else decoder.clone(),
        None if encoder is None else encoder.clone(),
        None if waiting is None else waiting.clone(),
    )


def encode_clip(codec: VideoCodec[D, E], rgb: Tensor) -> Tensor:
    """A whole clip `[B, 3, F, H, W]` in [-1, 1], or a picture, F = 1, to latents, float32 `[B, C, T, h, w]`.

    Where F does not fill whole latents, the last frame is repeated. Raises ValueError on other shapes.
    """
    stream = CodecStream(codec)
    return torch.cat([stream.encode(rgb), stream.flush()], 2)


def _size(rgb: Tensor) -> Shape:
    return (rgb.shape[0], rgb.shape[3], rgb.shape[4])


def pictures(rgb: Tensor) -> Tensor:
    """rgb `[B, 3, F, H, W]` in [-1, 1], values outside clipped, to uint8 `[B, F, H, W, 3]` on the same device."""
    return (rgb.float() * 127.5 + 127.5).round_().clamp_(0, 255).to(torch.uint8).permute(0, 2, 3, 4, 1).contiguous()


def from_pictures(rgb: NDArray[np.uint8]) -> Tensor:
    """uint8 `[H, W, 3]`, `[F, H, W, 3]` or `[B, F, H, W, 3]` to float32 `[B, 3, F, H, W]` in [-1, 1].

    Raises ValueError on another shape or type.
    """
    if rgb.dtype != np.uint8 or rgb.ndim not in (3, 4, 5) or rgb.shape[-1] != 3:
        raise ValueError(
            f"pictures are uint8[F, H, W, 3], got {rgb.dtype}{list(rgb.shape)}; convert them to 8 bits of red, "
            "green, blue"
        )
    whole = rgb.reshape((1,) * (5 - rgb.ndim) + rgb.shape)
    return torch.from_numpy(whole.astype(np.float32)).permute(0, 4, 1, 2, 3).contiguous() / 127.5 - 1
