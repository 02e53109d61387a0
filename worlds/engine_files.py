"""Built engines on disk: found again only where everything that they depend on is the same, and never loaded otherwise.

An engine is code. Beside `NAME-….engine` lies a manifest with what it was built from and the sha256 of its bytes, and
the bytes are compared before they are handed on. That finds damage, foreign and outdated files; whoever may write the
manifest may forge both, so the folder belongs to the user alone, and a folder that everybody may write is not used.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

FORMAT = 1  # of the manifest


@dataclass(frozen=True, slots=True)
class EngineKey:
    """What an engine depends on. `name` is for people: of two engines with one name and GPU the newer one is kept."""

    name: str  # "self-forcing-chunk-bf16"
    gpu: str  # "NVIDIA L4"; "any" for a plan that was built ahead of time and not on its GPU; of OpenVINO, the CPU
    capability: str  # "8.9"; of a CPU, what it multiplies
    edition: str
    version: str
    graph: str  # sha256
    weights: str  # sha256

    @property
    def stem(self) -> str:
        """Of its files: the same for all versions, so that an outdated engine is replaced and not left behind."""
        place = hashlib.sha256(f"{self.gpu}|{self.capability}|{self.edition}".encode()).hexdigest()[:12]
        return f"{self.name}-{place}"


def load(folder: Path, key: EngineKey) -> bytes | str:
    """The engine's bytes, or one line that says why there is none to be used."""
    engine, manifest = folder / f"{key.stem}.engine", folder / f"{key.stem}.json"
    if not engine.exists() or not manifest.exists():
        return "none was built here yet"
    if open_to_all(folder):
        return f"everybody may write to {folder}"
    try:
        told: Any = json.loads(manifest.read_text())
        kept = {} if not isinstance(told, dict) else told
        if differing := _differing(kept, key):
            return f"{engine.name} is of another {differing}"
        data = engine.read_bytes()
    except (OSError, ValueError) as error:
        return f"{engine.name} cannot be read ({str(error).splitlines()[0]})"
    if len(data) != kept.get("bytes") or hashlib.sha256(data).hexdigest() != kept.get("sha256"):
        return f"{engine.name} is not the file that was written: its sha256 differs"
    return data


def save(folder: Path, key: EngineKey, data: bytes, **known: object) -> Path:
    """Write engine and manifest, each at once or not at all. `known` is kept for people to read.

    The manifest goes first and comes last: a reader never sees one that fits another engine. Raises OSError.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    engine, manifest = folder / f"{key.stem}.engine", folder / f"{key.stem}.json"
    manifest.unlink(missing_ok=True)
    _written(engine, data)
    facts = {"format": FORMAT, "key": asdict(key), "sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    _written(manifest, json.dumps(facts | known, indent=1).encode())
    return engine


def obtain(folder: Path | None, key: EngineKey, build: Callable[[], bytes], say: Callable[[str], None]) -> bytes:
    """The kept engine, or a new one, kept from now on. One line says why it was built. Raises what `build` raises."""
    if folder is None:
        return build()
    found = load(folder, key)
    if isinstance(found, bytes):
        return found
    say(f"engine {key.name}: {found}; building it")
    data = build()
    try:
        save(folder, key, data)
    except OSError as error:
        say(f"engine {key.name}: cannot be kept in {folder} ({error.strerror})")
    return data


def sources_hash(*parts: object, files: tuple[Path, ...]) -> str:
    """sha256 of the files that write a graph and of the numbers that they are given: the identity of the graph."""
    digest = hashlib.sha256()
    for path in files:
        digest.update(path.read_bytes())
    digest.update(repr(parts).encode())
    return digest.hexdigest()


def open_to_all(folder: Path) -> bool:
    """Whether any user of the machine may write into the folder."""
    return bool(folder.stat().st_mode & stat.S_IWOTH)


def _differing(kept: dict[str, Any], key: EngineKey) -> str:
    """The first thing that does not fit, in words; empty where all fits."""
    if kept.get("format") != FORMAT or not isinstance(kept.get("key"), dict):
        return "manifest format"
    words = {
        "name": "purpose", "gpu": "GPU", "capability": "compute capability", "edition": "edition",
        "version": f"{key.edition.split('-')[0]} version", "graph": "graph", "weights": "set of weights",
    }  # fmt: skip
    return next((words[name] for name, value in asdict(key).items() if kept["key"].get(name) != value), "")


def _written(path: Path, data: bytes) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with partial.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
