"""All tensors of a weights file at once, for parts that are loaded whole: encoders and LoRAs."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from ..errors import WeightsError
from .checkpoint_files import PICKLES, open_checkpoint, pickle_roots


def read_state(path: Path, part: str | None = None, dtype: torch.dtype | None = None) -> dict[str, Tensor]:
    """The tensors of a `.safetensors` file, of the shards of an `.index.json`, or of a pickle of tensors, on the CPU;
    floating point ones as `dtype` where one is given.

    `part` names an entry of the pickle to descend into where there is one ("generator_lora"). Nothing that a file
    brings along is run. Raises WeightsError (CheckpointError where the file is damaged), one line that names the file.
    """
    if not path.is_file():
        raise WeightsError(f"the file {path} is missing; copy it from the published model")
    try:
        inner = part if part is not None and path.suffix in PICKLES and part in pickle_roots(path) else None
        return dict(open_checkpoint(path, inner).tensors(dtype))
    except OSError as error:
        raise WeightsError(str(error)) from error


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
