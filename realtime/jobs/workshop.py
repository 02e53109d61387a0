"""What stays loaded between the jobs of one process."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...worlds.machine import cores


class OneWorkshop:
    """Worlds load at their first use and stay. Satisfies `contract.Workshop`. One thread at a time."""

    def __init__(self, data: Path, engine: str = "auto", environment: Mapping[str, str] = os.environ) -> None:
        self._data, self._engine, self._environment = data, engine, environment
        self._worlds: dict[str, Any] = {}

    @property
    def data(self) -> Path:
        return self._data

    def setting(self, name: str) -> str:
        """`WORLDSTREAM_NAME` of the environment."""
        return self._environment.get(f"WORLDSTREAM_{name.upper()}", "")

    def world(self, name: str = "") -> Any:
        """Raises ValueError or OSError in one line."""
        if name not in self._worlds:
            from ...worlds.library import load_any_world  # torch: seconds that a job without a model need not wait

            # nobody waits for the next frame of a film; whoever plays live goes first, see `pool.JobProcess.be`
            self._worlds[name] = load_any_world(name or None, self._data, self._engine, clips=True, threads=cores())
        return self._worlds[name]
