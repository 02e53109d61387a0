"""Workflows: graphs whose nodes are values, media and jobs.

    {"version": 1, "nodes": [
        {"id": "place", "name": "Place", "kind": "primitive", "value": "a harbour"},
        {"id": "picture", "kind": "still",
            "params": {"prompt": {"text": "{place} at dawn"}, "width": 1280, "height": 720, "seed": 1}},
        {"id": "film", "kind": "clip", "params": {"prompt": {"from": "place"}, "seconds": 5, "width": 1280,
            "height": 720, "seed": 1}, "inputs": {"first": {"from": "picture"}}}],
     "outputs": ["film|picture"]}

A node is a `primitive` (a text, number or truth value), a medium (`image`, `video`, `audio`: given when the workflow
runs) or a kind of jobs/kinds.py. `{"from": "node"}` stands for another node's output, `{"from": "node", "output": 1}`
for a later one of several; `"optional": true` goes on without it where that node fails; `{"text": "…{node}…"}` puts
values into words. `outputs` are the nodes whose files are the result; of `a|b` it is b where a fails. `edges` are the
references, drawn; they are read off the nodes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..jobs.kinds import KINDS

MEDIA = ("image", "video", "audio")
MOST_NODES = 60
NEVER = ("workflow", "portrait")  # kinds that are no nodes: a workflow inside one, and a step of avatars
_ID = re.compile(r"[a-zA-Z][a-zA-Z0-9_-]{0,63}")
_PLACE = re.compile(r"\{([a-zA-Z][a-zA-Z0-9_-]{0,63})\}")


@dataclass(frozen=True, slots=True)
class Ref:
    """An output of another node."""

    node: str
    output: int = 0
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Node:
    """One step. `params` may hold references and words with places in them, see above."""

    id: str
    kind: str
    name: str = ""
    value: str | float | bool | None = None  # of a primitive, unless a run gives another
    params: Mapping[str, Any] = field(default_factory=dict)
    inputs: Mapping[str, Ref] = field(default_factory=dict)
    model: str = ""  # name of the API that a task of this node is counted under

    @property
    def is_job(self) -> bool:
        return self.kind in KINDS

    def refs(self) -> Iterator[tuple[str, Ref]]:
        """(where in this node, what it refers to)."""
        for name, ref in self.inputs.items():
            yield name, ref
        for name, value in self.params.items():
            for ref in _refs(value):
                yield name, ref

    def as_json(self) -> dict[str, Any]:
        found: dict[str, Any] = {"id": self.id, "name": self.name or self.id, "kind": self.kind}
        if self.kind == "primitive":
            found["value"] = self.value
        if self.is_job:
            found |= {"params": dict(self.params), "inputs": {name: _drawn(ref) for name, ref in self.inputs.items()}}
        return found | ({"model": self.model} if self.model else {})


@dataclass(frozen=True, slots=True)
class Graph:
    """Nodes in an order in which each comes after what it needs, and those whose files are the result."""

    nodes: tuple[Node, ...]
    outputs: tuple[str, ...]
    version: int = 1

    def __getitem__(self, id: str) -> Node:
        return next(node for node in self.nodes if node.id == id)

    def as_json(self) -> dict[str, Any]:
        edges = [
            {"source": ref.node, "sourceOutput": ref.output, "target": node.id, "targetInput": name}
            for node in self.nodes
            for name, ref in node.refs()
        ]
        nodes = [node.as_json() for node in self.nodes]
        return {"version": self.version, "nodes": nodes, "edges": edges, "outputs": list(self.outputs)}


def read_graph(said: Any) -> Graph:
    """From JSON. Raises ValueError in one line that names the node and what is wrong with it."""
    if not isinstance(said, dict) or not isinstance(said.get("nodes"), list):
        raise ValueError("a graph is an object with a list `nodes`")
    if not 1 <= len(said["nodes"]) <= MOST_NODES:
        raise ValueError(f"a graph has 1 to {MOST_NODES} nodes, not {len(said['nodes'])}")
    nodes = [_node(index, each) for index, each in enumerate(said["nodes"])]
    known = {node.id: node for node in nodes}
    if len(known) < len(nodes):
        raise ValueError("two nodes have the same id")
    for node in nodes:
        for name, ref in node.refs():
            if ref.node not in known:
                raise ValueError(f"node {node.id!r}: {name} refers to {ref.node!r}, which is no node")
            if name in node.inputs and known[ref.node].kind == "primitive":
                raise ValueError(f"node {node.id!r}: the input {name} needs a file, and {ref.node!r} is a primitive")
            if name in node.params and known[ref.node].kind != "primitive":
                raise ValueError(f"node {node.id!r}: the param {name} needs a value, and {ref.node!r} makes files")
    return Graph(_ordered(nodes), _outputs(said, nodes), _version(said))


def _version(said: Mapping[str, Any]) -> int:
    version = said.get("version", 1)
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise ValueError(f"version must be a positive integer, not {version!r}")
    return version


def _outputs(said: Mapping[str, Any], nodes: Sequence[Node]) -> tuple[str, ...]:
    needed = {ref.node for node in nodes for _, ref in node.refs()}
    jobs = [node.id for node in nodes if node.is_job]
    outputs = said.get("outputs", [id for id in jobs if id not in needed])
    if not isinstance(outputs, list) or not outputs or not all(isinstance(id, str) for id in outputs):
        raise ValueError("outputs must be a list of nodes that are jobs")
    for id in "|".join(outputs).split("|"):
        if id not in jobs:
            raise ValueError(f"outputs must name nodes that are jobs; {id!r} is none")
    return tuple(dict.fromkeys(outputs))


def _node(index: int, said: Any) -> Node:
    if not isinstance(said, dict) or not isinstance(said.get("id"), str) or not _ID.fullmatch(said["id"]):
        raise ValueError(f"node {index} has no id of letters, digits, - and _, at most 64")
    id, kind = said["id"], said.get("kind")
    if not isinstance(kind, str) or (kind not in ("primitive", *MEDIA, *KINDS) or kind in NEVER):
        usable = ", ".join(["primitive", *MEDIA, *(name for name in KINDS if name not in NEVER)])
        raise ValueError(f"node {id!r}: kind {kind!r} is none of {usable}")
    unknown = set(said) - {"id", "name", "kind", "value", "params", "inputs", "model"}
    if unknown:
        raise ValueError(f"node {id!r}: there is no member {min(unknown)!r}")
    if kind == "primitive" and not isinstance(said.get("value"), str | int | float | bool | None):
        raise ValueError(f"node {id!r}: value must be a text, a number, true or false")
    for member, wanted in (("params", dict), ("inputs", dict), ("name", str), ("model", str)):
        if not isinstance(said.get(member, wanted()), wanted):
            raise ValueError(f"node {id!r}: {member} must be {'an object' if wanted is dict else 'a text'}")
    if kind not in KINDS and (said.get("params") or said.get("inputs")):
        raise ValueError(f"node {id!r}: {kind} has neither params nor inputs")
    inputs = {}
    for name, ref in said.get("inputs", {}).items():
        if not isinstance(ref, dict) or not isinstance(ref.get("from"), str):
            raise ValueError(f'node {id!r}: the input {name} must be {{"from": "node"}}')
        inputs[name] = _ref(ref)
    return Node(
        id, kind, said.get("name", ""), said.get("value"), said.get("params", {}), inputs, said.get("model", "")
    )


def _ref(said: Mapping[str, Any]) -> Ref:
    output = said.get("output", 0)
    if not isinstance(output, int) or isinstance(output, bool) or not 0 <= output < 100:
        raise ValueError(f"an output is a number from 0, not {output!r}")
    return Ref(said["from"], output, said.get("optional") is True)


def _drawn(ref: Ref) -> dict[str, Any]:
    return {"from": ref.node, "output": ref.output} | ({"optional": True} if ref.optional else {})


def _refs(value: Any) -> Iterator[Ref]:
    if isinstance(value, dict) and isinstance(value.get("from"), str):
        yield _ref(value)
    elif isinstance(value, dict) and set(value) == {"text"} and isinstance(value["text"], str):
        for id in _PLACE.findall(value["text"]):
            yield Ref(id)
    elif isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _refs(part)


def filled(value: Any, values: Mapping[str, Any]) -> Any:
    """A param with the primitives' values in the places of its references."""
    if isinstance(value, dict) and isinstance(value.get("from"), str):
        return values[value["from"]]
    if isinstance(value, dict) and set(value) == {"text"} and isinstance(value["text"], str):
        return _PLACE.sub(lambda place: str(values[place[1]]), value["text"])
    if isinstance(value, dict):
        return {name: filled(part, values) for name, part in value.items()}
    return [filled(part, values) for part in value] if isinstance(value, list) else value


def _ordered(nodes: Sequence[Node]) -> tuple[Node, ...]:
    """Each after what it needs, else as they were. Raises ValueError on a circle."""
    left, done = list(nodes), dict[str, Node]()
    while left:
        ready = [node for node in left if all(ref.node in done for _, ref in node.refs())]
        if not ready:
            raise ValueError(f"the nodes {', '.join(repr(node.id) for node in left)} wait for each other")
        done[ready[0].id] = ready[0]
        left.remove(ready[0])
    return tuple(done.values())
