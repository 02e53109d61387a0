"""Compiled kernels on disk. A cubin is kept under a key of everything that went into it, behind a hash of key and
contents, so that a file that was cut short, changed, or put in another's place is seen and compiled again."""

from __future__ import annotations

import hashlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

HASH = 64  # hexadecimal digits before a cubin


def default_folder() -> Path:
    """$XDG_CACHE_HOME/worldstream/kernels, or the same below ~/.cache."""
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "worldstream" / "kernels"


def cache_key(*parts: str) -> str:
    """SHA-256 over the parts, each told apart from its neighbours by its length."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode()
        digest.update(len(data).to_bytes(8, "little") + data)
    return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class CubinCache:
    """Cubins below one folder. Several processes may use it at once: a file appears whole or not at all."""

    folder: Path

    def path(self, key: str) -> Path:
        return self.folder / f"{key}.cubin"

    def read(self, key: str) -> bytes | None:
        """The cubin, or None where there is none, or none that is what was written under this key."""
        try:
            data = self.path(key).read_bytes()
        except OSError:
            return None
        mark, cubin = data[:HASH], data[HASH:]
        return cubin if cubin and mark == _mark(key, cubin) else None

    def write(self, key: str, cubin: bytes) -> bool:
        """Keep a cubin; False where the folder cannot be written to, which costs a compilation at the next start."""
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor, name = tempfile.mkstemp(dir=self.folder, suffix=".part")
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(_mark(key, cubin) + cubin)
                Path(name).replace(self.path(key))
            except BaseException:
                Path(name).unlink(missing_ok=True)
                raise
        except OSError:
            return False
        return True


def _mark(key: str, cubin: bytes) -> bytes:
    return hashlib.sha256(key.encode() + b"\0" + cubin).hexdigest().encode()
