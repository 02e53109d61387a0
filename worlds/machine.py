"""The machine that a world runs on: its cores, its name. Without torch, so that it can be asked before that loads."""

from __future__ import annotations

import os
import platform
from pathlib import Path


def cores() -> int:
    """That this process may run on, which in a container or under `taskset` are fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def model_threads() -> int:
    """Cores that a model may use: all but one, which encoder, event loop and browser need."""
    return max(1, cores() - 1)


def cpu_name() -> str:
    """As the CPU calls itself."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())
