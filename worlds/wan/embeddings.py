"""Prompt embeddings on disk, so that a prompt seen before needs no text encoder.

An entry is a safetensors file of the rows without padding (a short prompt takes 200 kB instead of 4 MB). Its name is a
hash of the encoder's hash and the cleaned prompt; the prompt itself is not stored. Several processes may share a
folder: entries appear whole or not at all.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import re
import tempfile
import threading
from pathlib import Path
from typing import Protocol

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from ..errors import WeightsError
from .offload import Offload
from .prompts import clean_prompt
from .text import TEXT_LEN, pad_rows

logger = logging.getLogger(__name__)

SUFFIX = ".safetensors"
UNFINISHED = ".part"
_OURS = re.compile(r"[0-9a-f]{64}\.safetensors")  # nothing else in the folder is ever deleted
_UNFINISHED = re.compile(r"embedding-.*\.part")
UNFINISHED_AFTER_S = 3600.0  # by then the process that was writing has died
MAX_BYTES = 512 * 2**20  # more than 100 prompts of full length, thousands of usual ones


class PromptEncoder(Protocol):
    """What the store needs of a `TextEncoder`."""

    def rows(self, prompt: str) -> Tensor:
        """[L, D] without padding."""
        ...

    def offload(self, policy: Offload) -> None: ...


class EmbeddingStore:
    """Prompt -> rows, from disk where they are known, else from the encoder, which is put aside after use.

    Thread-safe: misses are encoded one at a time. The tensors are on the CPU in the encoder's precision.
    """

    def __init__(
        self,
        folder: Path,
        model_sha256: str,
        encoder: PromptEncoder | None = None,
        *,
        after_use: Offload = Offload.FREE,
        max_bytes: int = MAX_BYTES,
        text_len: int = TEXT_LEN,
    ) -> None:
        """`model_sha256` is the hash of the encoder's weights; embeddings of other weights are never mixed up.

        `encoder` None: only prompts that are stored already can be used. `max_bytes` bounds the folder.
        """
        if max_bytes < 0:
            raise ValueError(f"max_bytes must be 0 or more, got {max_bytes}")
        self.folder, self.after_use, self.max_bytes, self.text_len = folder, after_use, max_bytes, text_len
        self._model, self._encoder = model_sha256, encoder
        self._lock = threading.Lock()

    def path(self, prompt: str) -> Path:
        """Where the prompt's entry is or would be. Prompts that clean to the same text share it."""
        key = f"{self._model}\0{self.text_len}\0{clean_prompt(prompt)}"
        return self.folder / (hashlib.sha256(key.encode()).hexdigest() + SUFFIX)

    def find(self, prompt: str) -> Tensor | None:
        """The stored rows [L, D], or None. An entry that is damaged is deleted, with a line in the log."""
        path = self.path(prompt)
        try:
            rows = self._read(path)
            os.utime(path)  # "oldest" means longest unused
        except FileNotFoundError:
            return None
        except (SafetensorError, OSError, KeyError, ValueError) as error:
            logger.warning("the prompt embedding %s is damaged (%s); it is made again when needed", path, error)
            _delete(path)
            return None
        return rows

    def rows(self, prompt: str) -> Tensor:
        """[L, D] without padding. Raises WeightsError where the prompt is unknown and there is no encoder."""
        found = self.find(prompt)
        if found is not None:
            return found
        with self._lock:
            found = self.find(prompt)  # perhaps somebody made it while we waited
            return self._encode(prompt) if found is None else found

    def embedding(self, prompt: str) -> Tensor:
        """[text_len, D], zeros behind the prompt's tokens, on the CPU. Raises like `rows`."""
        return pad_rows(self.rows(prompt), self.text_len)

    def _encode(self, prompt: str) -> Tensor:
        if self._encoder is None:
            raise WeightsError(
                f"this prompt is not among the embeddings in {self.folder} and there is no text encoder to make it; "
                "add the UMT5 weights to the model's folder"
            )
        try:
            rows = self._encoder.rows(prompt).detach().cpu().contiguous()
        finally:
            self._encoder.offload(self.after_use)
        if not bool(torch.isfinite(rows).all()):
            raise WeightsError("the text encoder gives numbers that are not finite; check its weights file")
        try:
            self._write(self.path(prompt), rows)
            self._evict(self.path(prompt))
        except OSError as error:  # a full disk must not end a session
            logger.warning("the prompt embedding could not be stored in %s (%s)", self.folder, error)
        return rows

    def _read(self, path: Path) -> Tensor:
        if not path.is_file():
            raise FileNotFoundError(path)
        with safe_open(path, "pt") as file:
            rows = file.get_tensor("rows").clone()  # not a view of a file that others may delete
            digest = (file.metadata() or {})["sha256"]
        if rows.ndim != 2 or not 1 <= rows.shape[0] <= self.text_len or not rows.is_floating_point():
            raise ValueError(f"rows of shape {tuple(rows.shape)} and type {rows.dtype}")
        if digest != _digest(rows):
            raise ValueError("its contents do not match their hash")
        return rows

    def _write(self, path: Path, rows: Tensor) -> None:
        content = save({"rows": rows}, {"sha256": _digest(rows)})
        if len(content) > self.max_bytes:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(prefix="embedding-", suffix=UNFINISHED, dir=self.folder, delete=False) as file:
            part = Path(file.name)
            try:
                file.write(content)
                file.flush()
                part.replace(path)
            except OSError:
                _delete(part)
                raise

    def _evict(self, newest: Path) -> None:
        """Delete the longest unused entries until the folder is within its bound, and what dead writers left."""
        try:
            dead_before = newest.stat().st_mtime - UNFINISHED_AFTER_S  # by the file system's own clock
            found = [(path, path.stat()) for path in self.folder.iterdir()]
        except FileNotFoundError:
            return  # another process is evicting
        for path, status in found:
            if _UNFINISHED.fullmatch(path.name) and status.st_mtime < dead_before:
                _delete(path)
        sizes = [(status.st_mtime, status.st_size, path) for path, status in found if _OURS.fullmatch(path.name)]
        total = sum(size for _, size, _ in sizes)
        for _, size, path in sorted(sizes):
            if total <= self.max_bytes:
                break
            if path != newest:
                _delete(path)
                total -= size


def _digest(rows: Tensor) -> str:
    shape = f"{rows.dtype}{tuple(rows.shape)}".encode()
    return hashlib.sha256(shape + rows.contiguous().view(torch.uint8).numpy().tobytes()).hexdigest()


def _delete(path: Path) -> None:
    with contextlib.suppress(OSError):  # gone already, or not ours to delete: the caller goes on either way
        path.unlink()
