"""What an offline job is: an order goes in, files come out, and in between it says how far it is.

A job runs in a process of its own (or inside the command line), knows no sockets and no database, and is a plain
function `job(order, workshop, tell) -> JobResult`. The kinds and their parameters are in `kinds.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


class JobError(Exception):
    """A job that cannot be done. `code` is a failure code of the task API, e.g. `INPUT_PREPROCESSING.TOO_SHORT`; the
    text is shown to whoever asked. Codes that begin with INTERNAL are tried again, others never."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


class Refused(JobError):
    """No model on this machine can do it; the text names the setting that would change that."""

    def __init__(self, message: str) -> None:
        super().__init__("INPUT_PREPROCESSING.UNSUPPORTED", message)


class Cancelled(Exception):
    """Raised by `Tell` in a job that nobody wants any more; jobs let it pass."""


@dataclass(frozen=True, slots=True)
class JobOrder:
    """What is to be done. `inputs` are files on this machine that were received, sniffed and bounded already."""

    id: str  # of the task
    kind: str  # of kinds.py
    params: Mapping[str, Any]  # JSON values
    inputs: Mapping[str, Path]
    folder: Path  # exists and is empty; everything that the job writes lies in it

    def file(self, name: str) -> Path:
        """The input of that name. Raises JobError where the order holds none."""
        if name not in self.inputs:
            raise JobError("ASSET.INVALID", f"The order holds no {name}.")
        return self.inputs[name]


@dataclass(frozen=True, slots=True)
class Output:
    """One file that a job made."""

    path: Path  # inside the order's folder
    media_type: str  # e.g. video/mp4


@dataclass(frozen=True, slots=True)
class JobResult:
    """What came of an order. `facts` are JSON values for the task's metadata: seed, size, frames, notes, weights."""

    outputs: tuple[Output, ...]
    model: str  # the local model that really ran, e.g. nano
    facts: Mapping[str, Any] = field(default_factory=dict)


class Tell(Protocol):
    """How a job reports: `fraction` in [0, 1] is true and never falls; `preview` is a frame `uint8[H, W, 3]` as it
    forms. Called at least once a chunk; raises Cancelled when the job should end."""

    def __call__(self, fraction: float, preview: NDArray[np.uint8] | None = None) -> None: ...


class Workshop(Protocol):
    """What stays loaded between the jobs of one process."""

    @property
    def data(self) -> Path:
        """The server's data folder: worlds, models."""
        ...

    def setting(self, name: str) -> str:
        """An operator's setting, e.g. `dubbing_url`; empty where it is not set."""
        ...

    def world(self, name: str = "") -> Any:
        """A loaded world by name, the default one for "". A `worlds.weights.LoadedWorld` for embedded worlds. Raises
        ValueError or OSError in one line."""
        ...


Job = Callable[[JobOrder, Workshop, Tell], JobResult]
