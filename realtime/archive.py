"""Logs of walks on disk: `<data>/sessions/<id>.jsonl`, within a budget of bytes and of days, the oldest going first.

Blocking; called from the worker and from one thread of the server's, never from the event loop. The id is the key: it
cannot be guessed, and whoever has it may read the log.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from pathlib import Path

from .config import TimelineConfig
from .errors import NoSuchLog

ID = re.compile(r"[A-Za-z0-9_-]{8,64}")  # also what keeps an id inside the folder


class Archive:
    """Kept logs by id. `now_s` is wall time: files outlive the process."""

    def __init__(self, folder: Path, config: TimelineConfig, now_s: Callable[[], float]) -> None:
        self._folder, self._config, self._now_s = folder, config, now_s

    def keep(self, id: str, content: bytes) -> None:
        """Write or replace a log, whole or not at all, and make room for it. Raises OSError."""
        assert ID.fullmatch(id), id
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._path(id)
        temporary = path.with_suffix(".part")
        try:
            temporary.write_bytes(content)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        self.prune()

    def load(self, id: str) -> bytes:
        """Raises NoSuchLog where it is unknown or too old."""
        path = self._path(id) if ID.fullmatch(id) else None
        try:
            if path is not None and path.stat().st_mtime >= self._oldest_s():
                return path.read_bytes()
        except OSError:
            pass
        raise NoSuchLog("That walk is not kept here, or no longer.")

    def prune(self) -> None:
        """Let go of what is too old, then of the oldest until the rest fits."""
        files = []
        for path in self._folder.glob("*.jsonl"):
            try:
                facts = path.stat()
            except OSError:
                continue  # somebody else was quicker
            files.append((facts.st_mtime, facts.st_size, path))
        total, count = sum(size for _, size, _ in files), len(files)
        for written_s, size, path in sorted(files):
            fits = total <= self._config.archive_bytes and count <= self._config.archive_logs
            if fits and written_s >= self._oldest_s():
                break
            path.unlink(missing_ok=True)
            total, count = total - size, count - 1

    def _oldest_s(self) -> float:
        return self._now_s() - 86400.0 * self._config.archive_days

    def _path(self, id: str) -> Path:
        return self._folder / f"{id}.jsonl"


def fresh_id() -> str:
    """96 bits that nobody guesses."""
    return secrets.token_urlsafe(12)
