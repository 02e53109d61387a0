"""Which server this is among those that share a data folder or a database, and the scratch folder that is its own.

The first server on a data folder has place 0, one beside it place 1, and so on; a lock of the operating system tells
whether a place is taken, so that a server that starts again after a crash knows which tasks were its own.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import uuid
from contextlib import suppress
from pathlib import Path

MAX_SERVERS = 64


class ServerSlot:
    """Held from `take` to `release`. Blocks: for threads."""

    def __init__(self, data: Path) -> None:
        self._folder = data / "servers"
        self._lock: int | None = None
        self.name = ""  # unique among all servers of one database
        self.scratch = Path()  # this server's alone
        self.alone = True  # on its data folder, when it was taken

    def take(self) -> None:
        """Take the first free place, and clear what servers that died left in theirs. Raises OSError."""
        self._folder.mkdir(parents=True, exist_ok=True)
        house = self._house()
        for place in range(MAX_SERVERS):
            lock = self._locked(place)
            if lock is not None:
                break
        else:
            raise OSError(f"{MAX_SERVERS} servers run on {self._folder} already")
        self._lock, self.name = lock, f"{house}-{place}"
        self.scratch = self._folder / f"{place}.scratch"
        _clear(self.scratch)
        self.scratch.mkdir()
        self.alone = True
        for other in self._folder.glob("*.scratch"):
            number = int(other.stem)
            if number == place:
                continue
            found = self._locked(number)
            if found is None:
                self.alone = False
            else:
                _clear(other)
                os.close(found)

    def release(self) -> None:
        """Twice is harmless."""
        if self._lock is not None:
            _clear(self.scratch)
            os.close(self._lock)
            self._lock = None

    def _house(self) -> str:
        """Names this data folder for ever."""
        file = self._folder / "id"
        with suppress(FileExistsError), file.open("x") as fresh:
            fresh.write(uuid.uuid4().hex)
        name = file.read_text().strip()
        if len(name) != 32:  # two servers began at once, or the disk was full
            name = uuid.uuid4().hex
            file.write_text(name)
        return name

    def _locked(self, place: int) -> int | None:
        lock = os.open(self._folder / f"{place}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            return None
        return lock


def _clear(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
