"""Weights files read safely: what is in them is known, and checked, before anything is loaded.

A safetensors header is validated before the library sees the file (safetensors_header.py); a pickle is opened by torch
alone, with `weights_only` and memory-mapped, so that code in it never runs. Tensors come one at a time: the peak is one
tensor above the model.

Links are followed to regular files, because a Hugging Face cache is made of them and the folder is the owner's own;
names that an index *inside* the folder gives must be plain names, because that file may come from anybody.
"""

from __future__ import annotations

import ctypes
import json
import mmap
import pickle
import sys
import warnings
import zipfile
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ..errors import CheckpointError
from .memory import GIB, host_free_bytes
from .safetensors_header import Signature, brief, read_header, tensor_bytes

PICKLES = (".pt", ".pth", ".bin", ".ckpt")
ROOTS = ("generator_ema", "generator", "generator_lora", "model", "state_dict")  # the first that a file has is taken
MAX_PICKLE_BYTES = 64 * 2**20  # of the part without the tensors: names and shapes take a few hundred kB
MAX_INDEX_BYTES = 16 * 2**20


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One state dict, in one file or several."""

    files: tuple[Path, ...]
    signature: Signature  # names as in the files
    where: Mapping[str, Path]  # which file holds a name
    root: str = ""  # the entry of a pickle that was taken, e.g. generator_ema
    index: Path | None = None  # the file that lists the shards

    @property
    def path(self) -> Path:
        """What messages name: the first file."""
        return self.files[0]

    @property
    def pickled(self) -> bool:
        return self.path.suffix != ".safetensors"

    @property
    def bytes(self) -> int:
        """Of the tensors as stored."""
        return sum(tensor_bytes(shape, dtype) for shape, dtype in self.signature.values())

    def tensors(
        self,
        dtype: torch.dtype | None = None,
        device: torch.device | str = "cpu",
        names: Collection[str] | None = None,
    ) -> Iterator[tuple[str, Tensor]]:
        """Names as in the files, with their tensors; floating point ones as `dtype`; `names`: these only.

        Raises CheckpointError, first of all when they would not fit into the free memory of `device`.
        """
        wanted = {name: self.signature[name] for name in (self.signature if names is None else names)}
        check_memory(self.path, loaded_bytes(wanted, dtype), device)
        for file in self.files:
            here = [name for name in wanted if self.where[name] == file]
            source = _pickled_tensors(file, self.root, here) if self.pickled else _safe_tensors(file, here)
            for name, tensor in source:
                moved = tensor.detach().to(device=device, dtype=dtype if tensor.is_floating_point() else None)
                copied = moved.clone() if moved.data_ptr() == tensor.data_ptr() else moved
                _give_back(tensor)
                yield name, copied


def _give_back(tensor: Tensor) -> None:
    """Drop the pages of a mapped tensor that has been copied: else the whole file would come to count as ours.

    Only pages that lie wholly inside the tensor, whose numbers nobody reads any more.
    """
    page = mmap.PAGESIZE
    begin = -(-tensor.data_ptr() // page) * page
    size = (tensor.data_ptr() + tensor.nbytes) // page * page - begin
    if sys.platform == "linux" and size > 0 and tensor.is_contiguous():
        ctypes.CDLL(None).madvise(ctypes.c_void_p(begin), ctypes.c_size_t(size), mmap.MADV_DONTNEED)


def loaded_bytes(signature: Signature, dtype: torch.dtype | None) -> int:
    """What a state dict takes once floating point tensors are of `dtype`."""
    return sum(
        tensor_bytes(shape, dtype if dtype is not None and stored.is_floating_point else stored)
        for shape, stored in signature.values()
    )


def check_memory(path: Path, needed: int, device: torch.device | str) -> None:
    """Raises CheckpointError when `needed` bytes are not free."""
    device = torch.device(device)
    if device.type == "meta":
        return
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else host_free_bytes()
    if needed > free:
        raise CheckpointError(
            f"{path} needs {needed / GIB:.2f} GiB of memory and {free / GIB:.2f} GiB are free on {device.type}; close "
            "other programs, load it in a smaller precision or use a machine with more memory"
        )


def open_checkpoint(path: Path, root: str | None = None) -> Checkpoint:
    """Look into a `.safetensors`, a `.safetensors.index.json` or a pickle without loading tensors.

    `root`: the entry of a pickle to take, e.g. `generator`; None takes the first of ROOTS that it has.
    Raises CheckpointError.
    """
    if not path.is_file():  # also: a pipe, on which reading would wait for ever
        raise CheckpointError(f"{path} is not a file; give the folder or file that holds the weights")
    if path.name.endswith(".index.json"):
        return _open_shards(path)
    if path.suffix == ".safetensors":
        signature = read_header(path)
        return Checkpoint((path,), signature, dict.fromkeys(signature, path))
    if path.suffix in PICKLES:
        root, state = _state(path, root)
        signature = {name: (tuple(tensor.shape), tensor.dtype) for name, tensor in state.items()}
        return Checkpoint((path,), signature, dict.fromkeys(signature, path), root)
    raise CheckpointError(f"{path} is no weights file; supported are .safetensors and {', '.join(PICKLES)}")


def _open_shards(index: Path) -> Checkpoint:
    """All shards of an index, each holding exactly what the index says."""
    try:
        if index.stat().st_size > MAX_INDEX_BYTES:
            raise ValueError("it is too large")
        weight_map = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        names = {str(name): str(shard) for name, shard in weight_map.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError(f"{index} is no index of shards ({brief(error)}); download it again") from None
    shards = sorted(set(names.values()))
    if not shards:
        raise CheckpointError(f"{index} lists no shard; download it again")
    signature: Signature = {}
    where: dict[str, Path] = {}
    for shard in shards:
        if Path(shard).name != shard or not shard.endswith(".safetensors"):
            raise CheckpointError(
                f"{index} names the shard {shard[:80]!r}, which is no file beside it; download it again"
            )
        path = index.parent / shard
        if not path.is_file():
            raise CheckpointError(f"{index} needs the shard {shard}, which is missing; download it into {index.parent}")
        held = read_header(path)
        listed = {name for name, place in names.items() if place == shard}
        if held.keys() != listed:
            odd = sorted(held.keys() ^ listed)[0]
            raise CheckpointError(f"{path} and its index disagree about {odd!r}; download both again")
        signature |= held
        where |= dict.fromkeys(held, path)
    return Checkpoint(tuple(index.parent / shard for shard in shards), signature, where, index=index)


def _safe_tensors(path: Path, names: list[str]) -> Iterator[tuple[str, Tensor]]:
    try:
        with safe_open(path, framework="pt") as file:
            for name in names:
                yield name, file.get_tensor(name)
    except SafetensorError as error:
        raise CheckpointError(f"{path} cannot be read ({brief(error)}); download or copy it again") from None


def _pickled_tensors(path: Path, root: str, names: list[str]) -> Iterator[tuple[str, Tensor]]:
    _, state = _state(path, root)
    for name in names:
        yield name, state.pop(name)


def _state(path: Path, root: str | None) -> tuple[str, dict[str, Tensor]]:
    """The wanted state dict of a pickle and the entry it was under; its tensors are mapped, not read."""
    content = _unpickled(path)
    named = [name for name in ROOTS if isinstance(content.get(name), Mapping)]
    if root is None:
        root = named[0] if named else ""
    elif root and root not in named:
        raise CheckpointError(f"{path} has no entry {root!r}; it has {', '.join(named) or 'none that holds weights'}")
    state = dict(content[root] if root else content)
    for name, value in state.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            what = f"{str(name)[:60]!r}, {type(value).__name__}"
            raise CheckpointError(f"{path} holds something that is no tensor ({what}); give a file of weights alone")
        if value.layout != torch.strided or value.is_quantized or value.is_meta:
            raise CheckpointError(
                f"{path}: {name!r} is quantised, sparse or empty; give the weights in bf16 or float32"
            )
    return root, state


def pickle_roots(path: Path) -> tuple[str, ...]:
    """Which of ROOTS a pickle has. Raises CheckpointError."""
    content = _unpickled(path)
    return tuple(name for name in ROOTS if isinstance(content.get(name), Mapping))


def _unpickled(path: Path) -> dict[str, Any]:
    """The content of a pickle, by torch with `weights_only`, its tensors mapped. Raises CheckpointError."""
    _check_archive(path)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Detected pickle protocol")  # it is refused or read all the same
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except pickle.UnpicklingError as error:
        found = next((line for line in str(error).splitlines() if "GLOBAL" in line or "Unsupported" in line), "")
        raise CheckpointError(
            f"{path} holds code, not only weights, and is not opened ({brief(ValueError(found or error))}); ask its "
            "authors for safetensors"
        ) from None
    except (RuntimeError, EOFError, ValueError, KeyError, IndexError, TypeError, AttributeError, OSError) as error:
        raise CheckpointError(f"{path} is damaged ({brief(error)}); download or copy it again") from None
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} holds {type(content).__name__}, not a state dict; give a file of weights")
    return content


def _check_archive(path: Path) -> None:
    """torch writes an uncompressed zip with one small pickle. Everything else is refused before torch sees it."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        with path.open("rb") as file:
            legacy = file.read(1) == b"\x80"  # every pickle since protocol 2 begins so
        why = "is a pickle of the old kind" if legacy else f"is truncated or no checkpoint ({brief(error)})"
        remedy = "save it again with a current torch, or use safetensors" if legacy else "download or copy it again"
        raise CheckpointError(f"{path} {why}; {remedy}") from None
    if any(entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1 for entry in entries):
        raise CheckpointError(
            f"{path} is a compressed or locked archive, not a checkpoint; unpack it and add its files"
        )
    index = [entry for entry in entries if entry.filename.endswith("/data.pkl")]
    if len(index) != 1 or "/" in index[0].filename.removesuffix("/data.pkl"):
        raise CheckpointError(f"{path} is an archive but no checkpoint of torch; unpack it and add its files")
    if index[0].file_size > MAX_PICKLE_BYTES:
        raise CheckpointError(f"{path} has an index of {index[0].file_size} bytes and is not opened; use safetensors")
