"""Runs workflows over the task board: every node is a task of its own. All that is known of a run is in the database,
so that a server that was killed goes on where it was; a node whose task was created just before is found again by its
mark and never begun twice."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

from ..runway.errors import ApiError
from ..services import Caller, Services
from ..store import workflows as store
from ..store.workflows import Invocation
from ..tasks import FINAL, NewTask, Task
from .course import Course, Step
from .graph import Node, read_graph

log = logging.getLogger(__name__)

# the name of the API that a node's task is counted under, and its credits with these params
Price = Callable[[Node, dict[str, Any]], tuple[str, int]]


def course_of(run: Invocation) -> Course:
    """How far a kept run is."""
    steps = {id: Step(**{**step, "outputs": tuple(step["outputs"])}) for id, step in run.steps.items()}
    return Course(read_graph(run.graph), run.values, steps)


def kept(run: Invocation, course: Course, now: float) -> Invocation:
    """The row for a run that is this far. Progress never falls."""
    run = replace(run, steps={id: asdict(step) for id, step in course.steps.items()})
    if run.state in FINAL:
        return run
    run = replace(run, progress=max(run.progress, course.progress))
    if not course.over:
        begun = any(step.task and (step.state != "running" or step.progress > 0) for step in course.steps.values())
        return replace(run, state="RUNNING" if begun or run.state == "RUNNING" else "PENDING")
    if course.outputs:
        return replace(run, state="SUCCEEDED", progress=1.0, ended_s=now)
    first = course.failure
    return replace(run, state="FAILED", failure=first.error, failure_code=first.code, ended_s=now)


class Runner:
    """The server calls `tick` every second or so, and may call `step` when it hears that a task has ended."""

    def __init__(self, services: Services, price: Price) -> None:
        self._services, self._price = services, price

    async def tick(self) -> None:
        for run in await self._services.database.read(store.open_invocations):
            try:
                await self.step(run)
            except Exception:  # one broken run must not hold up the others
                log.exception("workflow invocation %s", run.id)

    async def step(self, run: Invocation) -> Invocation:
        """Look at the tasks of a run, begin what can begin, and keep what is known then."""
        course = course_of(run)
        for id, step in course.steps.items():
            if step.state == "running":
                course = course.at(id, **await self._seen(run, step))
        course = course.settled()
        while ready := course.ready():
            for node in ready:
                course = (await self._begin(run, course, node)).settled()
        found = kept(run, course, round(self._services.clock(), 3))
        return run if found == run else await self._keep(found)

    async def cancel(self, run: Invocation) -> None:
        """End it, and the tasks that still run for it."""
        ended = replace(run, state="CANCELLED", ended_s=round(self._services.clock(), 3))
        await self._keep(ended)
        for step in course_of(run).steps.values():
            if step.state == "running":
                await self._drop(run.owner, step.task)

    async def _seen(self, run: Invocation, step: Step) -> dict[str, Any]:
        try:
            task = await self._services.tasks.get(run.owner, step.task)
        except KeyError:
            return {"state": "failed", "error": "Its task was deleted.", "code": "CANCELLED"}
        return seen(task)

    async def _begin(self, run: Invocation, course: Course, node: Node) -> Course:
        params, inputs = course.order(node)
        model, credits = self._price(node, params)
        mark = hashlib.sha256(f"{run.id}/{node.id}".encode()).hexdigest()
        new = NewTask(
            node.kind,
            params,
            inputs,
            owner=run.owner,
            endpoint="/v1/workflows",
            model=model,
            credits=credits,
            retry_of=mark,
            again=True,  # if the server died right after it was created, it is there
            parent=run.id,
        )
        try:
            await self._services.authority.charge(Caller(run.owner), model, credits)
            task = await self._services.tasks.create(new)
        except ApiError as error:
            return course.at(node.id, state="failed", error=error.error, code="QUOTA")
        return course.at(node.id, task=task.id, credits=task.credits, **seen(task))

    async def _keep(self, run: Invocation) -> Invocation:
        """Unless somebody has cancelled it meanwhile."""

        def work(connection: Any) -> Invocation:
            now = store.invocations.get(connection, None, run.id, hold=True)
            return now if now.state in FINAL else store.invocations.replace(connection, run)

        return await self._services.database.write(work)

    async def _drop(self, owner: str, id: str) -> None:
        try:
            await self._services.tasks.remove(owner, id)
        except KeyError:
            log.debug("task %s was gone already", id)


def seen(task: Task) -> dict[str, Any]:
    """What a step becomes when its task looks like this."""
    if task.state == "SUCCEEDED":
        return {"state": "done", "outputs": task.outputs, "progress": 1.0}
    if task.state == "FAILED":
        return {"state": "failed", "error": task.failure, "code": task.failure_code}
    if task.state == "CANCELLED":
        return {"state": "failed", "error": "Its task was cancelled.", "code": "CANCELLED"}
    return {"state": "running", "progress": task.progress}
