"""Where blobs are kept, as the operator says."""

from __future__ import annotations

from pathlib import Path

from .blobs import FolderBlobs
from .services import Blobs


def open_blobs(url: str, data: Path) -> Blobs:
    """The blobs that `--blobs` names: empty for a folder in the data folder, else `s3://bucket/prefix`. Raises
    ValueError that names what is wrong, ImportError where the extra is not installed."""
    if not url:
        return FolderBlobs(data / "blobs")
    if url.startswith("s3://"):
        from .s3_blobs import S3Blobs

        return S3Blobs.of(url)
    raise ValueError(f"blobs are kept in the data folder, or in s3://bucket/prefix; got {url[:200]!r}")
