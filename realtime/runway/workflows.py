"""Workflows of the operator, and their runs. There is no route that makes one: they are files, see
realtime/workflows/shelf.py. A run's replies have no cost until it has ended."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import FastAPI, Request
from pydantic import Field

from ..store import workflows as store
from ..store.workflows import Invocation
from ..workflows.course import Course, begun
from ..workflows.graph import MEDIA, Node
from ..workflows.runner import course_of, kept
from ..workflows.shelf import Version, Workflow, Workflows
from .bodies import AUD, IMG, VID, Body, option
from .desk import At, Desk, checked, new_id
from .errors import invalid, not_found
from .links import link
from .pages import stamp

# members have types that functions make
# mypy: disable-error-code="valid-type"
# pyright: reportInvalidTypeForm=false

RETRY_WINDOW_S = 600.0
_WHAT, _RUN = "A workflow with this id", "A workflow invocation with this id"


class Primitive(Body):
    type: Literal["primitive"]
    value: str | float | bool


class ImageOutput(Body):
    type: Literal["image"]
    uri: IMG


class VideoOutput(Body):
    type: Literal["video"]
    uri: VID


class AudioOutput(Body):
    type: Literal["audio"]
    uri: AUD


Given = Annotated[Primitive | ImageOutput | VideoOutput | AudioOutput, Field(discriminator="type")]


class RunOrder(Body):
    """`nodeOutputs`: node -> output -> what stands there instead of what the node would make."""

    nodeOutputs: dict[str, Annotated[dict[str, Given], Field(min_length=1, max_length=20)]] = option({}, max_length=60)


def add(app: FastAPI) -> None:
    if not hasattr(app.state, "workflows"):
        app.state.workflows = Workflows()
    app.get("/workflows")(listed)
    app.get("/workflows/{id}")(retrieve)
    app.post("/workflows/{id}")(run)
    app.get("/workflow_invocations/{id}")(invocation)


def workflows_of(request: Request) -> Workflows:
    found: Workflows = request.app.state.workflows
    return found


async def listed(at: At) -> dict[str, Any]:
    """Not in pages."""
    return {
        "data": [
            {
                "name": workflow.name,
                "versions": [
                    {"id": version.id, "version": version.number, "createdAt": stamp(version.created_s)}
                    for version in workflow.versions
                ],
            }
            for workflow in workflows_of(at.request).all
        ]
    }


async def retrieve(id: str, at: At) -> dict[str, Any]:
    workflow, version = _found(at, id)
    return {
        "id": version.id,
        "name": workflow.name,
        "description": workflow.description,
        "version": version.number,
        "createdAt": stamp(version.created_s),
        "updatedAt": stamp(version.updated_s),
        "graph": version.graph.as_json(),
    }


async def run(id: str, at: At, body: RunOrder | None = None) -> dict[str, Any]:
    """A client's blind second try of a request gives the run of the first."""
    workflow, version = _found(at, id)
    mark, again = await at.retry()
    if again:
        before = await at.read(lambda c: store.marked(c, at.owner, mark, at.now() - RETRY_WINDOW_S))
        if before is not None:
            return {"id": before.id}
    given = body.nodeOutputs if body is not None else {}
    nodes = {node.id: node for node in version.graph.nodes}
    values: dict[str, Any] = {}
    media: dict[str, list[str]] = {}
    for node_id, outputs in given.items():
        path = ["nodeOutputs", node_id]
        if node_id not in nodes:
            raise invalid(path, f"This workflow has no such node; it has {', '.join(nodes)}."[:300])
        if nodes[node_id].kind == "primitive":
            values[node_id] = _value(nodes[node_id], outputs, path)
        else:
            media[node_id] = await _files(at, nodes[node_id], outputs, path)
    try:
        course = begun(version.graph, values, media)
    except ValueError as error:
        raise invalid(["nodeOutputs"], f"{str(error).capitalize()}.") from error
    begun_now = await _keep(at, workflow, version, course, mark)
    await at.note("workflow.run", "workflow", version.id)
    return {"id": begun_now.id}


async def invocation(id: str, at: At) -> dict[str, Any]:
    checked(id, _RUN)
    found = await at.read(lambda c: store.invocations.get(c, at.owner, id), _RUN)
    return shown(at, found)


def shown(at: Desk, run: Invocation) -> dict[str, Any]:
    course = course_of(run)
    reply: dict[str, Any] = {"id": run.id, "createdAt": stamp(run.created_s), "status": run.state}
    if run.state == "RUNNING":
        reply["progress"] = run.progress
    if run.state in ("RUNNING", "SUCCEEDED"):
        reply["output"] = {node: [link(at, key) for key in keys] for node, keys in course.outputs.items()}
    if run.state in ("SUCCEEDED", "FAILED"):
        reply["cost"] = {"credits": course.credits}
    if run.state == "FAILED":
        reply["failure"] = run.failure
        reply |= {"failureCode": run.failure_code} if run.failure_code else {}
    if run.state in ("RUNNING", "SUCCEEDED", "FAILED") and course.errors:
        reply["nodeErrors"] = {
            id: {"nodeName": course.graph[id].name or id, "message": step.error}
            | ({"failureCode": step.code} if step.code else {})
            for id, step in course.errors.items()
        }
    return reply


def _found(at: Desk, id: str) -> tuple[Workflow, Version]:
    try:
        return workflows_of(at.request)[checked(id, _WHAT)]
    except KeyError:
        raise not_found(_WHAT) from None


def _value(node: Node, outputs: dict[str, Any], path: list[str]) -> Any:
    if len(outputs) != 1:
        raise invalid(path, "A primitive has one output.")
    ((name, given),) = outputs.items()
    if not isinstance(given, Primitive):
        raise invalid([*path, name, "type"], "This node is a primitive.", "invalid_literal")
    wanted = type(node.value)
    if node.value is not None and isinstance(given.value, str) is not (wanted is str):
        raise invalid([*path, name, "value"], f"This node is a {wanted.__name__}.", "invalid_type")
    return int(given.value) if wanted is int and isinstance(given.value, float) else given.value


async def _files(at: Desk, node: Node, outputs: dict[str, Any], path: list[str]) -> list[str]:
    """Keys of blobs. A medium has one output of any name; a job's are numbered from 0, without gaps."""
    names = sorted(outputs, key=lambda name: (len(name), name))
    if node.kind in MEDIA and len(names) != 1:
        raise invalid(path, "This node has one output.")
    if node.is_job and names != [str(index) for index in range(len(names))]:
        raise invalid(path, 'The outputs of a job are named "0", "1" and so on.')
    keys = []
    for name in names:
        given = outputs[name]
        if isinstance(given, Primitive) or (node.kind in MEDIA and given.type != node.kind):
            wanted = node.kind if node.kind in MEDIA else "image, video or audio"
            raise invalid([*path, name, "type"], f"This node gives {wanted}.", "invalid_literal")
        asset = await at.gather(given.uri, given.type, (*path, name, "uri"))
        keys.append(asset.blob)
    return keys


async def _keep(at: Desk, workflow: Workflow, version: Version, course: Course, mark: str) -> Invocation:
    graph, now = version.graph.as_json(), at.now()
    fresh = Invocation(new_id(), at.owner, now, version.id, workflow.name, graph, dict(course.values), mark=mark)
    run = kept(fresh, course, now)
    await at.write(lambda c: store.invocations.put(c, run))
    return run
