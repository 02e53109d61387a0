"""How much a request may carry, by its path."""

from __future__ import annotations

from dataclasses import dataclass

from .protocol import MAX_IMAGE_BYTES
from .sharing import body_limit

MAX_BODY_BYTES = 256 * 1024
MAX_CONTRACT_BYTES = 64 * 2**20  # three videos of 16 Mi characters as data URIs, and a little
MAX_UPLOAD_BYTES = 201 * 2**20  # a file of 200 MB in a multipart form; the route bounds the file itself


@dataclass(frozen=True, slots=True)
class Limit:
    """Of one path. `streams`: a body that does not state its length is counted as it comes; others must state it.
    `held`: it stays in memory until all of it is there; else its route writes it to disk, and sees to its pace."""

    bytes: int
    streams: bool = False
    held: bool = True


def limit_of(path: str) -> Limit:
    """For everything after /v1/uploads/ a file, for the rest of the contract media as data URIs."""
    if path.startswith("/v1/uploads/"):
        return Limit(MAX_UPLOAD_BYTES, streams=True, held=False)
    if path.startswith("/v1/"):
        return Limit(MAX_CONTRACT_BYTES, streams=True)
    if path == "/api/tasks":
        return Limit(MAX_CONTRACT_BYTES)
    if path == "/api/image":
        return Limit(MAX_IMAGE_BYTES, held=False)
    return Limit(body_limit(path, MAX_BODY_BYTES))
