"""Named tensors from one file or one set of shards, without running anything that the file brings along."""

from __future__ import annotations

import json
import pickle
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ..weights import WeightsError

INDEX = ".index.json"  # beside the shards of one safetensors model


def read_state(path: Path, part: str | None = None) -> dict[str, Tensor]:
    """The tensors of a `.safetensors` file, of the shards of an `.index.json`, or of a pickle of tensors, on the CPU.

    A pickle is read by `torch.load(weights_only=True)`, which refuses code. `part` names an entry of the pickle to
    descend into where there is one ("generator_lora"). Raises WeightsError, one line that names the file.
    """
    if not path.is_file():
        raise WeightsError(f"the file {path} is missing; copy it from the published model")
    if path.name.endswith(INDEX):
        return _read_shards(path)
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    return _read_pickle(path, part)


def read_metadata(path: Path) -> dict[str, str]:
    """The free text in a safetensors header; empty for other files. Raises WeightsError."""
    if path.suffix != ".safetensors":
        return {}
    try:
        with safe_open(path, "pt") as file:
            return dict(file.metadata() or {})
    except (SafetensorError, OSError) as error:
        raise _damaged(path, error) from error


def find_file(folder: Path, names: tuple[str, ...], what: str) -> Path:
    """The first of `names` that exists below `folder`; `folder` itself where it is a file. Raises WeightsError."""
    if folder.is_file():
        return folder
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise WeightsError(f"{folder} has no {what}: the file {names[0]} is missing; copy it from the published model")


def converted(value: Tensor, dtype: torch.dtype) -> Tensor:
    """A weight in another floating type; no copy where it has it already. Raises ValueError on integers."""
    if not value.is_floating_point():
        raise ValueError(f"a weight has the type {value.dtype}; quantized files are not read, use bfloat16 or float32")
    return value.to(dtype)


def first_reason(error: Exception) -> str:
    """One line of an error; torch lists what does not fit below a headline."""
    lines = str(error).splitlines()
    return lines[min(1, len(lines) - 1)].strip() if lines else type(error).__name__


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        with safe_open(path, "pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (not a mapping)
    except (SafetensorError, OSError) as error:
        raise _damaged(path, error) from error


def _read_shards(index: Path) -> dict[str, Tensor]:
    try:
        table = json.loads(index.read_text())["weight_map"]
        names = sorted({str(name) for name in table.values()})
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _damaged(index, error) from error
    state: dict[str, Tensor] = {}
    for name in names:
        if Path(name).name != name:
            raise WeightsError(f"{index} names the shard {name!r}, which lies outside its folder; it is refused")
        state |= read_state(index.parent / name)
    if missing := sorted(set(table) - set(state)):
        raise WeightsError(f"{index} names {missing[0]}, which no shard holds; copy all shards of one download")
    return state


def _read_pickle(path: Path, part: str | None) -> dict[str, Tensor]:
    try:
        content = _load_pickle(path)
    except pickle.UnpicklingError as error:
        reason = str(error).splitlines()[0]
        raise WeightsError(
            f"{path} holds more than tensors and is refused ({reason}); convert it to safetensors where you trust it"
        ) from error
    except (RuntimeError, OSError, EOFError, ValueError, KeyError, TypeError, struct.error) as error:
        raise _damaged(path, error) from error
    if part is not None and isinstance(content, Mapping) and part in content:
        content = content[part]
    if not isinstance(content, Mapping):
        raise WeightsError(f"{path} holds a {type(content).__name__}, not named tensors; is it the right file?")
    for name, value in content.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise WeightsError(f"{path} holds {name!r} of type {type(value).__name__} where a tensor was expected")
    return dict(content)


def _load_pickle(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except RuntimeError as error:
        if "mmap" not in str(error):  # files older than torch 1.6 are no zip archives and cannot be mapped
            raise
        return torch.load(path, map_location="cpu", weights_only=True)


def _damaged(path: Path, error: Exception) -> WeightsError:
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    return WeightsError(f"{path} cannot be read ({reason}); it is damaged or incomplete: copy it again")
