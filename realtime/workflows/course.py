"""A run of a graph: which nodes are done, which can start, and what came of the whole. Pure; both who runs it over the
task board and who runs it inside one job ask here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from .graph import MEDIA, Graph, Node, filled

OVER = ("done", "failed", "skipped")


@dataclass(frozen=True, slots=True)
class Step:
    """Where a node is. `outputs` are keys of blobs, or paths."""

    state: str = "waiting"  # running, done, failed or skipped
    task: str = ""
    outputs: tuple[str, ...] = ()
    progress: float = 0.0
    error: str = ""
    code: str = ""
    credits: int = 0


@dataclass(frozen=True, slots=True)
class Course:
    """Immutable; each change gives another. `values` are those of primitives."""

    graph: Graph
    values: Mapping[str, Any]
    steps: Mapping[str, Step] = field(default_factory=dict)

    def step(self, id: str) -> Step:
        return self.steps.get(id, Step())

    def at(self, id: str, **change: Any) -> Course:
        """With one step changed."""
        return replace(self, steps={**self.steps, id: replace(self.step(id), **change)})

    def ready(self) -> list[Node]:
        """Jobs that can start now."""
        return [n for n in self.graph.nodes if n.is_job and self.step(n.id).state == "waiting" and self._has_all(n)]

    def settled(self) -> Course:
        """With every node skipped that needs what will never come."""
        course = self
        for node in self.graph.nodes:  # in order, so one pass is enough
            if node.is_job and course.step(node.id).state == "waiting":
                broken = [
                    ref.node for _, ref in node.refs() if not ref.optional and course._never(ref.node, ref.output)
                ]
                if broken:
                    name = self.graph[broken[0]].name or broken[0]
                    course = course.at(
                        node.id, state="skipped", error=f"It was not begun: it needs {name!r}, which failed."
                    )
        return course

    def order(self, node: Node) -> tuple[dict[str, Any], dict[str, str]]:
        """(params, inputs) of a job that is ready."""
        params = {name: filled(value, self.values) for name, value in node.params.items()}
        inputs = {}
        for name, ref in node.inputs.items():
            outputs = self.step(ref.node).outputs
            if ref.output < len(outputs):
                inputs[name] = outputs[ref.output]
        return params, inputs

    @property
    def over(self) -> bool:
        return all(self.step(node.id).state in OVER for node in self.graph.nodes if node.is_job)

    @property
    def progress(self) -> float:
        """In [0, 1]: the mean of all jobs."""
        jobs = [self.step(node.id) for node in self.graph.nodes if node.is_job]
        return sum(1.0 if step.state in OVER else step.progress for step in jobs) / len(jobs)

    @property
    def outputs(self) -> dict[str, list[str]]:
        """What the output nodes have made so far, or those that stand in for the ones that failed."""
        made: dict[str, list[str]] = {}
        for either in self.graph.outputs:
            for id in either.split("|"):
                step = self.step(id)
                if step.outputs:
                    made[id] = list(step.outputs)
                if step.outputs or step.state not in OVER:
                    break
        return made

    @property
    def errors(self) -> dict[str, Step]:
        """The nodes that did not do what they should."""
        jobs = [node.id for node in self.graph.nodes if node.is_job]
        return {id: self.step(id) for id in jobs if self.step(id).state in ("failed", "skipped")}

    @property
    def failure(self) -> Step:
        """The first that failed, for a run that made nothing."""
        failed = (step for step in self.errors.values() if step.state == "failed")
        return next(failed, Step("failed", error="It made nothing.", code="INTERNAL.BAD_OUTPUT"))

    @property
    def credits(self) -> int:
        return sum(step.credits for step in self.steps.values())

    def _has_all(self, node: Node) -> bool:
        for _, ref in node.refs():
            needed = self.graph[ref.node]
            if needed.is_job or needed.kind in MEDIA:
                step = self.step(ref.node)
                if ref.optional and step.state in OVER:
                    continue
                if step.state != "done" or ref.output >= len(step.outputs):
                    return False
        return True

    def _never(self, id: str, output: int) -> bool:
        """Whether that output will never be there."""
        step = self.step(id)
        return step.state in ("failed", "skipped") or (
            step.state == "done" and output >= len(step.outputs) and self.graph[id].kind != "primitive"
        )


def _needed(graph: Graph, id: str) -> bool:
    return any(not ref.optional for other in graph.nodes for _, ref in other.refs() if ref.node == id)


def begun(graph: Graph, values: Mapping[str, Any], media: Mapping[str, list[str]]) -> Course:
    """A run with these values of primitives and these files of media or of jobs that need not run. Raises ValueError
    where a value or a file is missing."""
    for node in graph.nodes:
        if node.kind == "primitive" and values.get(node.id, node.value) is None:
            raise ValueError(f"the node {node.name or node.id!r} has no value; give one")
        if node.kind in MEDIA and not media.get(node.id) and _needed(graph, node.id):
            raise ValueError(f"the node {node.name or node.id!r} needs {node.kind} media; give it")
    all_values = {node.id: values.get(node.id, node.value) for node in graph.nodes if node.kind == "primitive"}
    steps = {id: Step("done", outputs=tuple(files), progress=1.0) for id, files in media.items() if files}
    missing = {n.id: Step("skipped") for n in graph.nodes if n.kind in MEDIA and n.id not in steps}
    return Course(graph, all_values, {**steps, **missing}).settled()
