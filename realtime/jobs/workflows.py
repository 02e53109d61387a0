"""A whole workflow as one job: its nodes one after another in this process, each in a folder of its own."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..workflows.course import Course, begun
from ..workflows.graph import MEDIA, Node, read_graph
from .contract import Cancelled, Job, JobError, JobOrder, JobResult, Output, Tell, Workshop
from .kinds import job_of

log = logging.getLogger(__name__)


def workflow(order: JobOrder, workshop: Workshop, tell: Tell, find: Callable[[str], Job] = job_of) -> JobResult:
    """The kind `workflow`. An input with the id of a medium of the graph is that medium. What fails is told in the
    facts and the rest goes on; where no output node made anything, the whole fails as the first of them did."""
    try:
        graph = read_graph(order.params["graph"])
        media = {n.id: [str(order.inputs[n.id])] for n in graph.nodes if n.kind in MEDIA and n.id in order.inputs}
        course = begun(graph, order.params.get("values", {}), media)
    except ValueError as error:
        raise JobError("INPUT_PREPROCESSING.WORKFLOW", f"The workflow cannot run: {error}") from error
    made: dict[str, JobResult] = {}
    while ready := course.ready():
        course = _done(order, workshop, tell, course, ready[0], find, made).settled()
    return _result(course, made)


def _done(
    order: JobOrder,
    workshop: Workshop,
    tell: Tell,
    course: Course,
    node: Node,
    find: Callable[[str], Job],
    made: dict[str, JobResult],
) -> Course:
    """After one node has run."""
    before, share = course.progress, 1 / sum(n.is_job for n in course.graph.nodes)

    def told(fraction: float, preview: NDArray[np.uint8] | None = None) -> None:
        tell(min(0.99, before + share * fraction), preview)

    params, inputs = course.order(node)
    folder = order.folder / node.id
    folder.mkdir()
    part = JobOrder(order.id, node.kind, params, {name: Path(path) for name, path in inputs.items()}, folder)
    try:
        result = find(node.kind)(part, workshop, told)
    except JobError as error:
        return course.at(node.id, state="failed", error=error.message, code=error.code)
    except Cancelled:
        raise
    except Exception as error:  # a fault of ours in one node; what the others made is not lost
        log.exception("%s, node %s", order.id, node.id)
        broke = f"The job broke off ({type(error).__name__}). The server's log says more under {order.id}."
        return course.at(node.id, state="failed", error=broke, code="INTERNAL")
    made[node.id] = result
    return course.at(node.id, state="done", outputs=tuple(str(output.path) for output in result.outputs))


def _result(course: Course, made: dict[str, JobResult]) -> JobResult:
    outputs: list[Output] = []
    for id in course.outputs:
        outputs += made[id].outputs
    if not outputs:
        raise JobError(course.failure.code, course.failure.error)
    models = dict.fromkeys(result.model for result in made.values() if result.model != "none")
    facts: dict[str, Any] = {"nodes": {id: dict(result.facts) for id, result in made.items()}}
    if course.errors:
        facts["node_errors"] = {id: step.error for id, step in course.errors.items()}
    return JobResult(tuple(outputs), ", ".join(models) or "none", facts)
