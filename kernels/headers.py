"""Where the headers are that kernels are compiled with: our own, and CUDA's from the wheels or a toolkit."""

from __future__ import annotations

import hashlib
import importlib.util
import os
from functools import lru_cache
from pathlib import Path

from .launch import SOURCES

CUDA_HEADERS = ("cuda_bf16.h", "cuda_bf16.hpp", "cuda_fp8.h", "cuda_fp8.hpp")


class NoHeadersError(RuntimeError):
    """CUDA's bf16 and fp8 headers are not on this machine."""


@lru_cache(maxsize=1)
def header_folders() -> tuple[Path, ...]:
    """Folders to pass with -I: of the wheels nvidia-cuda-runtime and nvidia-cuda-cccl, else of a toolkit in CUDA_HOME
    or /usr/local/cuda. Raises NoHeadersError."""
    spec = importlib.util.find_spec("nvidia")
    roots = [Path(place) for place in (spec.submodule_search_locations or ())] if spec else []
    wheels = sorted(folder for root in roots for folder in root.glob("*/include") if folder.is_dir())
    toolkit = Path(os.environ.get("CUDA_HOME", "/usr/local/cuda")) / "include"
    for folders in (wheels, [toolkit]):
        if any((folder / CUDA_HEADERS[0]).is_file() for folder in folders):
            first = [folder for folder in folders if (folder / CUDA_HEADERS[0]).is_file()]
            return (*first[-1:], *(folder for folder in folders if folder not in first))
    raise NoHeadersError("CUDA's headers are not here: pip install nvidia-cuda-runtime nvidia-cuda-cccl")


@lru_cache(maxsize=1)
def headers_hash() -> str:
    """SHA-256 of CUDA's headers that our sources include. Raises NoHeadersError."""
    folder = header_folders()[0]
    digest = hashlib.sha256()
    for name in CUDA_HEADERS:
        path = folder / name
        digest.update(path.read_bytes() if path.is_file() else b"absent")
    return digest.hexdigest()


def own_headers() -> tuple[str, ...]:
    """The text of our own headers, in the order of their names."""
    return tuple(path.read_text() for path in sorted(SOURCES.glob("*.cuh")))


def source_hash(source: str) -> str:
    """SHA-256 of `cuda/<source>.cu` with our device headers: what a verification on a GPU is a statement about. The
    host's shim is no part of what a GPU runs."""
    digest = hashlib.sha256((SOURCES / f"{source}.cu").read_bytes())
    for path in sorted(SOURCES.glob("*.cuh")):
        if not path.name.startswith("host"):
            digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()
