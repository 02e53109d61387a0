"""What lies in a folder of weights: every file recognised, tokenizers, the licence. Nothing is loaded."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from .errors import WeightsError
from .model_card import FileRecord
from .wan.checkpoint_files import PICKLES, open_checkpoint
from .wan.memory import GIB
from .wan.recognise import Recognised, UnknownFamily, recognise

Say = Callable[[str], None]
MAX_DEPTH = 6  # folders; a checkpoint has three
MAX_TOKENIZER_BYTES = 64 * 2**20
HASH_STEP = 16 * 2**20
PROGRESS_BYTES = 4 * GIB  # between two lines


@dataclass(frozen=True, slots=True)
class Tokenizer:
    """A folder with a tokenizer of T5's conventions."""

    folder: Path
    vocabulary: int


@dataclass(frozen=True, slots=True)
class Found:
    """What the folders hold."""

    parts: tuple[Recognised, ...]
    tokenizers: tuple[Tokenizer, ...]

    def of(self, role: str) -> list[Recognised]:
        return [part for part in self.parts if part.role == role]


def look(folders: Sequence[Path], say: Say = lambda _: None) -> Found:
    """Every weights file and tokenizer under `folders`, recognised; a file of another kind is mentioned and left alone.

    Raises CheckpointError on a damaged or dangerous file, and when nothing was recognised; else WeightsError.
    """
    parts: list[Recognised] = []
    unknown: list[UnknownFamily] = []
    tokenizers: list[Tokenizer] = []
    for path in _files(folders):
        if path.name == "tokenizer.json":
            tokenizer = _read_tokenizer(path)
            if tokenizer:
                tokenizers.append(tokenizer)
                say(f"{path.parent}: tokenizer, {tokenizer.vocabulary} pieces")
            continue
        try:
            part = recognise(open_checkpoint(path))
        except UnknownFamily as error:
            unknown.append(error)
            say(f"not used: {error}")
            continue
        parts.append(part)
        say(f"{path}: {part.describe()}")
    if unknown and not parts:
        raise unknown[0]
    if not parts:
        raise WeightsError(f"{named(folders)} holds no weights (.safetensors, {', '.join(PICKLES)}); give their folder")
    return Found(tuple(parts), tuple(tokenizers))


def named(folders: Sequence[Path]) -> str:
    return ", ".join(map(str, folders))


def _files(folders: Sequence[Path]) -> Iterator[Path]:
    """Weights, indexes and tokenizers; the shards of an index are not files by themselves."""
    for folder in folders:
        if not folder.exists():
            raise WeightsError(f"{folder} does not exist; give the folder that holds the weights")
        paths = sorted(_walk(folder)) if folder.is_dir() else [folder]
        sharded = {shard for path in paths if _is_index(path) for shard in open_checkpoint(path).files}
        for path in paths:
            is_weights = path.suffix in (".safetensors", *PICKLES) and path not in sharded
            if is_weights or _is_index(path) or path.name == "tokenizer.json":
                yield path


def _is_index(path: Path) -> bool:
    return path.name.endswith(".safetensors.index.json")


def _walk(folder: Path) -> Iterator[Path]:
    """Files below a folder, hidden ones left out. A link to a folder is not entered: it could lead in a circle."""
    for base, inner, files in os.walk(folder):
        here = Path(base)
        depth = len(here.relative_to(folder).parts)
        inner[:] = sorted(n for n in inner if not n.startswith(".")) if depth < MAX_DEPTH else []
        yield from (here / file for file in files if not file.startswith("."))


def _read_tokenizer(path: Path) -> Tokenizer | None:
    """None for a tokenizer that is not T5's: image-to-video folders also hold XLM-RoBERTa's."""
    try:
        if path.stat().st_size > MAX_TOKENIZER_BYTES:
            raise ValueError("it is too large")
        content = json.loads(path.read_text(encoding="utf-8"))
        vocabulary = content["model"]["vocab"]
        size = len(vocabulary) + sum(1 for token in content.get("added_tokens", []) if token["id"] >= len(vocabulary))
        first = [entry[0] for entry in vocabulary[:2]] if isinstance(vocabulary, list) else []
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        reason = " ".join(str(error).split())[:100]
        raise WeightsError(f"{path} is no tokenizer ({reason}); download it again") from None
    return Tokenizer(path.parent, size) if first == ["<pad>", "</s>"] else None


def hashed(path: Path, say: Say) -> FileRecord:
    """Reads the file in steps; a line of progress every few GiB."""
    digest, done, size = hashlib.sha256(), 0, path.stat().st_size
    told = PROGRESS_BYTES
    with path.open("rb") as file:
        while block := file.read(HASH_STEP):
            digest.update(block)
            done += len(block)
            if done >= told:
                say(f"hashing {path.name}: {done / GIB:.0f} of {size / GIB:.0f} GiB")
                told += PROGRESS_BYTES
    return FileRecord(str(path.absolute()), done, digest.hexdigest())


def licence(folders: Sequence[Path], published: str) -> tuple[str, str]:
    """Licence and source, from the first card or licence file in the folders; "unknown" where there is none."""
    for folder in folders:
        base = folder if folder.is_dir() else folder.parent
        for path in (base / "README.md", base / "LICENSE", base / "LICENSE.txt"):
            found = _licence_in(path)
            if found:
                return found, f"{path.absolute()} (published as {published})"
    return "unknown", f"unknown (published as {published})"


_LICENCES = (
    ("Apache License", "apache-2.0"),
    ("MIT License", "mit"),
    ("Attribution-NonCommercial", "cc-by-nc"),
)


def _licence_in(path: Path) -> str | None:
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            head = file.read(4096)
    except OSError:
        return None
    if path.suffix == ".md":
        front = re.match(r"---\s*\n(.*?)\n---", head, re.DOTALL)
        line = re.search(r"^license:\s*['\"]?([A-Za-z0-9.+_-]{1,40})", front[1], re.MULTILINE) if front else None
        return line[1].lower() if line else None
    return next((name for words, name in _LICENCES if words in head), f"see {path.name}")
