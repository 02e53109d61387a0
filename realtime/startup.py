"""What comes before anything heavy is imported: the port and the data folder, checked first, to fail fast; the heap."""

from __future__ import annotations

import ctypes
import gc
import socket as sockets
from pathlib import Path

from .errors import DataFolderError, PortInUse

SEND_BUFFER_BYTES = 256 * 1024  # of the kernel, per connection: more would hide a slow line behind seconds of pictures

M_MMAP_THRESHOLD = -3  # of mallopt(3)
OWN_PAGES_BYTES = 1_000_000  # the halves of a snapshot's cache take 1.3 MB


def steady_heap() -> bool:
    """Have large blocks of memory lie in pages of their own, given back as they are freed; False where the C library
    has no such setting.

    glibc raises that limit by itself as large blocks are freed. Then the snapshots of a walk lie between small blocks
    that live longer, and the holes that they leave make the process grow by 20 kB a frame.
    """
    try:
        return bool(ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, OWN_PAGES_BYTES))
    except (OSError, AttributeError):  # not glibc
        return False


def settle_heap() -> None:
    """What is there once the application is built stays for good: have the garbage collector look at it no more. It
    would stop every request for a tenth of a second, now and then, to find nothing."""
    gc.collect()
    gc.freeze()


def listen(host: str, port: int) -> sockets.socket:
    """A listening TCP socket. Raises PortInUse."""
    family = sockets.AF_INET6 if ":" in host else sockets.AF_INET
    listener = sockets.socket(family, sockets.SOCK_STREAM)
    try:
        listener.setsockopt(sockets.SOL_SOCKET, sockets.SO_REUSEADDR, 1)
        listener.setsockopt(sockets.SOL_SOCKET, sockets.SO_SNDBUF, SEND_BUFFER_BYTES)  # accepted sockets inherit it
        listener.bind((host, port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise PortInUse(f"cannot listen on {host}:{port}: {error.strerror or error}") from None
    return listener


def check_data_folder(folder: Path) -> None:
    """Create it where it is missing. Raises DataFolderError."""
    probe = folder / ".writable"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise DataFolderError(f"the data folder {folder} cannot be written: {error.strerror or error}") from None
