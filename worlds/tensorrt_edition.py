"""Which edition of TensorRT is here: `tensorrt` for data-centre GPUs, `tensorrt_rtx` for RTX cards, or none.

Both have the same network, builder and parser interface, so nothing but this module names them. They differ in where
they run and build: the RTX edition builds for a named architecture on a machine without a GPU, and does not know the
data-centre's; the other one builds only on the GPU that it builds for.
"""

from __future__ import annotations

import importlib
import sys
from dataclasses import dataclass
from typing import Any

import torch

AHEAD = {"7.5": "SM75", "8.0": "SM80", "8.6": "SM86", "8.9": "SM89", "12.0": "SM120", "12.1": "SM121"}
"""Compute capabilities that the RTX edition builds for, and its names for them. 9.0, the H100's, is not among them."""
NEEDED = ("KVCacheMode", "IAttention", "CausalMaskKind", "AttentionIOForm")  # TensorRT 11, TensorRT-RTX 1.7

AHEAD_OF_TIME = ("IPluginV3QuickAOTBuild", "QuickPluginCreationRequest")
"""What an edition has that can launch kernels of ours; TensorRT-RTX 1.7 does not."""


@dataclass(frozen=True, slots=True)
class Device:
    """A GPU in the words that engine files are kept by."""

    name: str
    capability: str  # "8.9"


@dataclass(frozen=True, slots=True)
class Edition:
    """An importable edition. `api` is its Python module."""

    name: str
    version: str
    api: Any
    rtx: bool

    def __str__(self) -> str:
        return f"{self.name} {self.version}"

    def plugins(self) -> Any | str:
        """The edition's module for plugins that are compiled ahead of time, or one line that says why it has none."""
        missing = [name for name in AHEAD_OF_TIME if not hasattr(self.api, name)]
        if missing:
            return f"{self} has no ahead-of-time plugins (no {missing[0]})"
        try:
            return importlib.import_module(f"{self.api.__name__}.plugin")
        except (ImportError, OSError, RuntimeError, AttributeError) as error:
            return f"{self} has no ahead-of-time plugins ({_reason(error)})"

    def builds_for(self, capability: str) -> bool:
        """Whether an engine for this compute capability can be built here: by the RTX edition for any that it knows,
        by the other one for the GPU of this machine alone."""
        if self.rtx:
            return capability in AHEAD
        here = device()
        return here is not None and here.capability == capability


def find() -> Edition | str:
    """The edition that fits this machine, or one line that says why there is none.

    On a machine with a GPU that the RTX edition does not know, the data-centre edition is preferred; else RTX comes
    first, because it alone builds without a GPU.
    """
    found = {edition.rtx: edition for edition in (_rtx(), _full()) if isinstance(edition, Edition)}
    if not found:
        return f"neither tensorrt_rtx ({_rtx()}) nor tensorrt ({_full()}) can be imported"
    here = device()
    rtx_first = here is None or here.capability in AHEAD
    return found.get(rtx_first) or found[not rtx_first]


def device() -> Device | None:
    """The current GPU, None where there is none that torch can use."""
    if not torch.cuda.is_available():
        return None
    major, minor = torch.cuda.get_device_capability()
    return Device(torch.cuda.get_device_name(), f"{major}.{minor}")


def cannot_run(edition: Edition | str) -> str | None:
    """Why no engine can run here, in one line; None where one can.

    Asked before a TensorRT `Runtime` is made: without a GPU, making one can end the process at exit.
    """
    if isinstance(edition, str):
        return edition
    here = device()
    if here is None:
        return f"{edition} is here, but no GPU that torch can use"
    if edition.rtx and here.capability not in AHEAD:
        return f"{edition} does not run on {here.name} (compute capability {here.capability})"
    return None


def _rtx() -> Edition | str:
    try:
        import tensorrt_rtx  # type: ignore[import-untyped,import-not-found,unused-ignore]
    except (ImportError, OSError) as error:
        return _reason(error)
    return _complete(Edition("TensorRT-RTX", tensorrt_rtx.__version__, tensorrt_rtx, rtx=True))


def _full() -> Edition | str:
    try:
        import tensorrt  # pyright: ignore[reportMissingImports]
    except (ImportError, OSError, RuntimeError) as error:
        sys.modules.pop("tensorrt", None)  # half imported: its bindings fail after the package itself has begun
        return _reason(error)
    return _complete(Edition("TensorRT", getattr(tensorrt, "__version__", "?"), tensorrt, rtx=False))


def _complete(edition: Edition) -> Edition | str:
    """The edition, or what it lacks."""
    if not hasattr(edition.api, "Builder"):
        return f"{edition} is there without its libraries"
    missing = [name for name in NEEDED if not hasattr(edition.api, name)]
    return f"{edition} is too old: it has no {missing[0]}" if missing else edition


def _reason(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
