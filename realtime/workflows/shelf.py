"""The workflows that there are: those of the operator, one JSON file each in data/workflows, with all their versions.

    {"name": "Harbours", "description": "A harbour at dawn.", "versions": [{"version": 1, "nodes": […]}]}

A file with `nodes` beside the name has one version. Every version has an id of its own, made of the file's name and the
number, so that it stays the same as long as both do.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid5

from .graph import Graph, read_graph

FOLDER = "workflows"
MAX_FILE_BYTES = 2**20
_OURS = UUID("5b1f3c2a-6f0e-4c58-9d55-6f1b7a0f6f00")  # of names


@dataclass(frozen=True, slots=True)
class Version:
    """One state of a workflow."""

    id: str  # UUID
    number: int
    graph: Graph
    created_s: float  # Unix time
    updated_s: float


@dataclass(frozen=True, slots=True)
class Workflow:
    name: str
    description: str | None
    versions: tuple[Version, ...]  # the oldest first


class Workflows:
    """By the ids of their versions."""

    def __init__(self, workflows: Iterable[Workflow] = ()) -> None:
        self.all = tuple(workflows)
        self._found = {version.id: (workflow, version) for workflow in self.all for version in workflow.versions}

    def __getitem__(self, id: str) -> tuple[Workflow, Version]:
        """Raises KeyError."""
        return self._found[id]


def read_workflows(data: Path) -> Workflows:
    """All files of the folder, by name. Blocks. Raises ValueError in one line that names the file."""
    return Workflows(read_workflow(path) for path in sorted((data / FOLDER).glob("*.json")))


def read_workflow(path: Path) -> Workflow:
    """One file. Raises ValueError in one line that names it."""
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise ValueError(f"it is over {MAX_FILE_BYTES} bytes")
        said, changed_s = json.loads(path.read_text("utf-8")), path.stat().st_mtime
        if not isinstance(said, dict) or not isinstance(said.get("name"), str) or not said["name"].strip():
            raise ValueError("a workflow is an object with a text `name`")
        description = said.get("description")
        if not isinstance(description, str | None):
            raise ValueError("description must be a text")
        versions = said.get("versions", [{key: said[key] for key in ("nodes", "outputs", "version") if key in said}])
        if not isinstance(versions, list) or not versions:
            raise ValueError("versions must be a list of graphs")
        found = sorted((_version(path.stem, each, changed_s) for each in versions), key=lambda v: v.number)
        if len({version.number for version in found}) < len(found):
            raise ValueError("two versions have the same number")
        return Workflow(said["name"], description, tuple(found))
    except (OSError, ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise ValueError(f"{path}: {reason}") from error


def _version(stem: str, said: Any, changed_s: float) -> Version:
    graph = read_graph(said)
    return Version(_id(f"{stem}/{graph.version}"), graph.version, graph, changed_s, changed_s)


def _id(name: str) -> str:
    """A UUID that is the same for the same name, in the form of version 4, which clients expect."""
    found = uuid5(_OURS, name)
    return str(UUID(int=found.int, version=4))
