"""What can go wrong before anything heavy is imported: the port and the data folder. Checked first, to fail fast."""

from __future__ import annotations

import socket as sockets
from pathlib import Path

from .errors import DataFolderError, PortInUse

SEND_BUFFER_BYTES = 256 * 1024  # of the kernel, per connection: more would hide a slow line behind seconds of pictures


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
