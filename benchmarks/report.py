"""What every benchmark prints and writes: figures with units and targets, and the machine that they were taken on."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from worldstream.worlds.machine import cores, cpu_name

BESIDE = {"ceiling": "ceiling", "copy_last": "copy last", "memory_off": "memory off"}  # fields of Figure, as headings
ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("worldstream", "torch", "openvino", "numpy", "av", "aiortc", "playwright")


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured number. `target` is the promise in words, `met` whether this measurement keeps it."""

    name: str
    value: float
    unit: str
    target: str | None = None  # None: for information, nothing is promised
    met: bool | None = None
    ceiling: float | None = None  # the same measure of the truth that went through the tokenizer
    copy_last: float | None = None  # of a model that repeats the last frame that it was given
    memory_off: float | None = None  # of the model without its memory of places


def at_most(name: str, value: float, unit: str, limit: float) -> Figure:
    """A figure that should be small."""
    return Figure(name, value, unit, f"≤ {limit:g} {unit}", bool(value <= limit))


def at_least(name: str, value: float, unit: str, limit: float) -> Figure:
    """A figure that should be large."""
    return Figure(name, value, unit, f"≥ {limit:g} {unit}", bool(value >= limit))


def between(name: str, value: float, unit: str, low: float, high: float) -> Figure:
    """A figure that should lie around one."""
    return Figure(name, value, unit, f"{low:g}–{high:g} {unit}".strip(), bool(low <= value <= high))


def quantile(values: Sequence[float], q: float) -> float:
    """The nearest-rank quantile, `q` in (0, 1]. Raises ValueError where there is nothing to rank."""
    if not values:
        raise ValueError("no values: nothing was measured")
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, -int(-q * len(ordered) // 1) - 1))]


def machine() -> dict[str, str | int | float]:
    """The facts that a figure depends on. The load average says who else was using the cores."""
    return {
        "cpu": cpu_name(),
        "cores": cores(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": f"{platform.system()} {platform.release()}",
        "load_average_1min": round(os.getloadavg()[0], 2),
    }


def versions() -> dict[str, str]:
    """Python and the packages that do the work, where they are installed."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def commit() -> str:
    """The checkout's commit, with `+changes` when the files differ from it; `unknown` outside git."""
    try:
        head = _git("rev-parse", "--short=12", "HEAD")
        return head + ("+changes" if _git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def write(path: Path, figures: Sequence[Figure], more_versions: dict[str, str] | None = None) -> None:
    """One JSON file per benchmark run."""
    report = {
        "machine": machine(),
        "versions": versions() | (more_versions or {}),
        "commit": commit(),
        "figures": [asdict(figure) for figure in figures],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n")


def with_earlier(path: Path, figures: Sequence[Figure], world: str) -> list[Figure]:
    """The figures, after those that `path` holds of the same world and that were not measured again."""
    try:
        earlier = json.loads(path.read_text())
    except (OSError, ValueError):
        return list(figures)
    if earlier.get("versions", {}).get("world") != world:
        return list(figures)
    names = {figure.name for figure in figures}
    return [*(Figure(**f) for f in earlier["figures"] if f["name"] not in names), *figures]


def print_table(figures: Sequence[Figure]) -> None:
    """The figures, and below them the machine, so that nobody quotes one without the other."""
    width = max((len(figure.name) for figure in figures), default=4)
    beside = [key for key in BESIDE if any(getattr(figure, key) is not None for figure in figures)]
    heads = "".join(f"{BESIDE[key]:>11}" for key in beside)
    print(f"{'figure':<{width}}  {'value':>10} {'unit':<6}{heads} {'target':<12} met")
    for figure in figures:
        met = "" if figure.met is None else "yes" if figure.met else "NO"
        others = "".join(f"{'' if (x := getattr(figure, key)) is None else _short(x):>11}" for key in beside)
        value = f"{_short(figure.value):>10} {figure.unit:<6}{others}"
        print(f"{figure.name:<{width}}  {value} {figure.target or '':<12} {met}")
    facts = machine()
    print(f"{facts['cpu']}, {facts['cores']} cores, load {facts['load_average_1min']}, commit {commit()}")


def _short(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 1000 or value == int(value) else f"{value:.3g}"


def _git(*arguments: str) -> str:
    answer = subprocess.run(["git", "-C", str(ROOT), *arguments], check=True, capture_output=True, text=True)
    return answer.stdout.strip()
