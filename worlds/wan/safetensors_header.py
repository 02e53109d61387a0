"""The header of a safetensors file: which tensors it holds, and that every one of them lies inside it.

The format: eight bytes of length, little endian, then a JSON object of name -> type, shape and offsets, then the
tensors without gaps. Files come from anybody, so all of it is checked before a library sees one.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ..errors import CheckpointError

Signature = dict[str, tuple[tuple[int, ...], torch.dtype]]

DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
MAX_HEADER_BYTES = 100_000_000  # the format's own limit
AGAIN = "; download or copy the file again"


def tensor_bytes(shape: tuple[int, ...], dtype: torch.dtype) -> int:
    """What one tensor takes."""
    count = 1
    for size in shape:
        count *= size
    return count * dtype.itemsize


def read_header(path: Path) -> Signature:
    """Names, shapes and types of a safetensors file, its offsets checked. Raises CheckpointError."""
    header, size = _parsed(path)
    header.pop("__metadata__", None)
    try:
        entries = {str(name): _entry(str(name), entry) for name, entry in header.items()}
    except (ValueError, TypeError, KeyError) as error:
        raise CheckpointError(f"{path} has a broken header ({brief(error)}){AGAIN}") from None
    _check_offsets(path, {name: (begin, end) for name, (_, _, begin, end) in entries.items()}, size)
    return {name: (shape, dtype) for name, (shape, dtype, _, _) in entries.items()}


def read_metadata(path: Path) -> dict[str, str]:
    """The free text in a safetensors header; empty for other files. Raises CheckpointError."""
    if path.suffix != ".safetensors":
        return {}
    metadata = _parsed(path)[0].get("__metadata__") or {}
    if not isinstance(metadata, dict) or not all(isinstance(text, str) for text in metadata.values()):
        raise CheckpointError(f"{path} has a broken header (its metadata are no text){AGAIN}")
    return metadata


def _parsed(path: Path) -> tuple[dict[str, Any], int]:
    """The header as it stands there, and the bytes behind it."""
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(8)
        if len(start) < 8:
            raise CheckpointError(f"{path} is no safetensors file: it has {size} bytes{AGAIN}")
        (length,) = struct.unpack("<Q", start)
        if length > min(size - 8, MAX_HEADER_BYTES):
            raise CheckpointError(
                f"{path} is truncated or no safetensors file: its header should be {length} bytes{AGAIN}"
            )
        raw = file.read(length)
    try:
        header = json.loads(raw, object_pairs_hook=_without_repeats)
        if not isinstance(header, dict):
            raise ValueError("it is not an object")
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError is a ValueError
        raise CheckpointError(f"{path} has a broken header ({brief(error)}){AGAIN}") from None
    return header, size - 8 - length


def _entry(name: str, entry: Any) -> tuple[tuple[int, ...], torch.dtype, int, int]:
    if entry["dtype"] not in DTYPES:
        raise ValueError(f"{name} has the unknown type {str(entry['dtype'])[:20]!r}")
    dtype = DTYPES[entry["dtype"]]
    shape, (begin, end) = tuple(entry["shape"]), entry["data_offsets"]
    if not all(type(n) is int and 0 <= n < 2**48 for n in (*shape, begin, end)):
        raise ValueError(f"{name} has a size or an offset that is no whole number")
    if end - begin != tensor_bytes(shape, dtype):
        raise ValueError(
            f"{name} has {end - begin} bytes where its shape {list(shape)} needs {tensor_bytes(shape, dtype)}"
        )
    return shape, dtype, begin, end


def _check_offsets(path: Path, places: Mapping[str, tuple[int, int]], size: int) -> None:
    reached = 0
    for name, (begin, end) in sorted(places.items(), key=lambda item: item[1]):
        if begin != reached:
            what = "overlaps another tensor" if begin < reached else "leaves a gap before it"
            raise CheckpointError(f"{path} is damaged: {name} {what}; download or copy the file again")
        reached = end
    if reached != size:
        what = "is truncated" if reached > size else "is too long"
        raise CheckpointError(f"{path} {what}: {reached} bytes of tensors announced, {size} there; copy it again")


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        raise ValueError("a name comes twice")
    return result


def brief(error: BaseException) -> str:
    """An error as one line of at most 160 characters."""
    return " ".join(str(error).split())[:160] or type(error).__name__
