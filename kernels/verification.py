"""Which kernels a GPU has verified, as they are now: a run stores the hashes of the sources that it ran, and a kernel
that has changed since is not verified any more."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .headers import source_hash
from .launch import SOURCES

RECORD = Path(__file__).parent / "verified.json"


@dataclass(frozen=True, slots=True)
class Verification:
    """One operator on one GPU: parity with its twin on fresh random inputs, with poisoned outputs."""

    source: str  # hash of the sources that ran
    device: str
    driver: str
    nvrtc: str
    date: str  # ISO 8601
    cases: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known of one operator."""

    operator: str
    verification: Verification | None  # the newest run, of whatever source
    current: bool  # whether that run was of the source as it is now

    def text(self, compiled: bool = True, checked: bool = True) -> str:
        """In words; `compiled` and `checked`: whether the tests have just compiled it, and run it on a CPU."""
        if self.current and self.verification is not None:
            return f"GPU-verified ({self.verification.device}, {self.verification.date})"
        words = ["compiled" if compiled else "not compiled here", "CPU-checked" if checked else "not CPU-checked here"]
        changed = "" if self.verification is None else f" (changed since {self.verification.date})"
        return ", ".join([*words, f"not GPU-verified{changed}"])


def operators() -> list[str]:
    """Names of all operators that have a kernel."""
    return sorted(path.stem for path in SOURCES.glob("*.cu"))


def standings(record: Path = RECORD) -> list[Standing]:
    """Of every operator. A record that is absent or cannot be read verifies nothing."""
    known = _read(record)
    return [
        Standing(name, found := known.get(name), found is not None and found.source == source_hash(name))
        for name in operators()
    ]


def keep(verified: Mapping[str, Verification], record: Path = RECORD) -> None:
    """Add a run to the record; operators that it did not verify keep what is known of them."""
    everything = _read(record) | dict(verified)
    text = {name: asdict(everything[name]) for name in sorted(everything)}
    record.write_text(json.dumps(text, indent=1) + "\n")


def table(record: Path = RECORD) -> str:
    """For a page: a Markdown table of all operators."""
    lines = [f"| {standing.operator} | {standing.text()} |" for standing in standings(record)]
    return "\n".join(["| kernel | state |", "|---|---|", *lines])


def _read(record: Path) -> dict[str, Verification]:
    try:
        raw: dict[str, Any] = json.loads(record.read_text())
        return {name: Verification(**(run | {"cases": tuple(run["cases"])})) for name, run in raw.items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}
