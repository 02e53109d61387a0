"""Graphs: what is read, what is refused in one line, and which step comes when."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worldstream.realtime.runway.bodies import is_uuid
from worldstream.realtime.workflows.course import OVER, Course, begun
from worldstream.realtime.workflows.graph import filled, read_graph
from worldstream.realtime.workflows.shelf import read_workflow, read_workflows

CLIP = {"prompt": {"text": "{place} at {hour}"}, "seconds": 2, "width": 64, "height": 64, "seed": {"from": "seed"}}
HARBOUR: dict[str, Any] = {
    "version": 3,
    "nodes": [
        {"id": "film", "kind": "clip", "name": "Film", "params": CLIP, "inputs": {"first": {"from": "picture"}}},
        {"id": "picture", "kind": "still", "params": {"prompt": {"from": "place"}}},
        {"id": "place", "kind": "primitive", "value": "a harbour"},
        {"id": "hour", "kind": "primitive", "value": "dawn"},
        {"id": "seed", "kind": "primitive", "value": 7},
        {"id": "photo", "kind": "image"},
        {"id": "large", "kind": "upscale_image", "inputs": {"image": {"from": "photo", "optional": True}}},
    ],
    "outputs": ["film|picture", "large"],
}


def test_a_graph_is_read_and_written() -> None:
    graph = read_graph(HARBOUR)
    order = [node.id for node in graph.nodes]
    assert order.index("place") < order.index("picture") < order.index("film")
    written = json.loads(json.dumps(graph.as_json()))
    assert read_graph(written) == read_graph(read_graph(written).as_json())
    edges = {(e["source"], e["target"], e["targetInput"]) for e in written["edges"]}
    assert ("place", "film", "prompt") in edges
    assert ("picture", "film", "first") in edges
    assert len(edges) == 6
    values = {"place": "a harbour", "hour": "dusk", "seed": 7}
    assert filled(CLIP, values)["prompt"] == "a harbour at dusk"
    assert filled(CLIP, values)["seed"] == 7
    assert filled({"a": [{"text": "{place} {unknown"}, "{place}"]}, values) == {"a": ["a harbour {unknown", "{place}"]}


def broken(**change: Any) -> dict[str, Any]:
    return {"nodes": [{"id": "a", "kind": "still", **change}]}


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ([], "a graph is an object"),
        ({"nodes": []}, "1 to 60 nodes"),
        ({"nodes": [{"kind": "still"}]}, "node 0 has no id"),
        ({"nodes": [{"id": "a|b", "kind": "still"}]}, "node 0 has no id"),
        (broken(kind="painting"), "kind 'painting' is none of primitive"),
        (broken(kind=["still"]), "is none of primitive"),
        (broken(kind="workflow"), "kind 'workflow' is none"),
        (broken(parms={}), "there is no member 'parms'"),
        (broken(params=[]), "params must be an object"),
        (broken(inputs={"ref0": "b"}), 'must be {"from": "node"}'),
        (broken(inputs={"ref0": {"from": "b"}}), "refers to 'b', which is no node"),
        (broken(inputs={"ref0": {"from": "a"}}), "the nodes 'a' wait for each other"),
        (broken(params={"prompt": {"text": "{b}"}}), "prompt refers to 'b'"),
        (broken(params={"prompt": {"from": "a", "output": -1}}), "an output is a number from 0"),
        ({"nodes": [{"id": "a", "kind": "primitive", "value": {}}]}, "value must be a text"),
        ({"nodes": [{"id": "a", "kind": "image", "params": {"x": 1}}]}, "image has neither params nor inputs"),
        ({**broken(), "outputs": ["b"]}, "'b' is none"),
        ({**broken(), "outputs": "a"}, "outputs must be a list"),
        ({"nodes": [{"id": "a", "kind": "image"}]}, "outputs must be a list"),
        ({**broken(), "version": True}, "version must be a positive integer"),
        ({"nodes": [broken()["nodes"][0]] * 2}, "the same id"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(said: Any, words: str) -> None:
    with pytest.raises(ValueError, match=r"^[^\n]+$") as caught:
        read_graph(said)
    assert words in str(caught.value)


def test_a_value_is_no_file_and_a_file_no_value() -> None:
    nodes = [{"id": "p", "kind": "primitive", "value": "x"}, {"id": "s", "kind": "still"}]
    with pytest.raises(ValueError, match="needs a file"):
        read_graph({"nodes": [*nodes, {"id": "c", "kind": "clip", "inputs": {"first": {"from": "p"}}}]})
    with pytest.raises(ValueError, match="needs a value"):
        read_graph({"nodes": [*nodes, {"id": "c", "kind": "clip", "params": {"prompt": {"from": "s"}}}]})


def test_the_course_of_a_run() -> None:
    course = begun(read_graph(HARBOUR), {"hour": "noon"}, {})
    assert {node.id for node in course.ready()} == {"picture", "large"}
    assert course.progress == 0.0
    course = course.at("picture", state="done", outputs=("still.png",)).at("large", state="running", progress=0.5)
    assert course.progress == pytest.approx(0.5)
    (film,) = course.ready()
    params, inputs = course.order(film)
    assert (params["prompt"], inputs) == ("a harbour at noon", {"first": "still.png"})
    assert course.outputs == {}  # the film may still come: nothing stands in for it yet
    course = course.at("film", state="failed", error="No memory.", code="INTERNAL").at("large", state="failed")
    assert course.over
    assert course.outputs == {"picture": ["still.png"]}
    assert list(course.errors) == ["film", "large"]
    skipped = begun(read_graph(HARBOUR), {}, {}).at("picture", state="failed", error="x").settled()
    assert skipped.step("film").state == "skipped"
    assert "'picture', which failed" in skipped.step("film").error


def test_what_is_missing_is_named() -> None:
    nodes: list[dict[str, Any]] = [
        {"id": "photo", "kind": "image", "name": "Photo"},
        {"id": "words", "kind": "primitive"},
    ]
    graph = read_graph(
        {"nodes": [*nodes, {"id": "up", "kind": "upscale_image", "inputs": {"image": {"from": "photo"}}}]}
    )
    with pytest.raises(ValueError, match="'words' has no value"):
        begun(graph, {}, {"photo": ["p.png"]})
    with pytest.raises(ValueError, match="'Photo' needs image media"):
        begun(graph, {"words": "x"}, {})
    assert begun(graph, {"words": "x"}, {"photo": ["p.png"]}).ready()[0].id == "up"


@given(st.data())
def test_every_run_ends_whatever_fails(data: st.DataObject) -> None:
    """Any acyclic graph, any order, any failures: every node ends, none begins before what it needs has ended."""
    count = data.draw(st.integers(1, 8))
    nodes = []
    for index in range(count):
        needs = data.draw(st.lists(st.integers(0, index - 1), max_size=3)) if index else []
        given: dict[str, Any] = {f"i{n}": {"from": f"n{n}", "optional": data.draw(st.booleans())} for n in needs}
        nodes.append({"id": f"n{index}", "kind": "still", "inputs": given})
    graph = read_graph({"nodes": data.draw(st.permutations(nodes))})
    course, seen = begun(graph, {}, {}).settled(), 0.0
    for _ in range(count + 1):
        if not (ready := course.ready()):
            break
        node = data.draw(st.sampled_from(ready))
        assert all(course.step(ref.node).state in OVER for _, ref in node.refs())
        _, inputs = course.order(node)
        assert all(ref.optional or name in inputs for name, ref in node.inputs.items())
        good = data.draw(st.booleans())
        end: dict[str, Any] = {"state": "done", "outputs": (node.id,)} if good else {"state": "failed", "error": "x"}
        course = course.at(node.id, **end).settled()
        assert course.progress >= seen
        seen = course.progress
    assert course.over
    assert (course.progress, bool(course.outputs)) == (1.0, any(course.step(id).outputs for id in graph.outputs))
    assert isinstance(course, Course)


def test_files_of_the_operator(tmp_path: Path) -> None:
    folder = tmp_path / "workflows"
    folder.mkdir()
    assert read_workflows(tmp_path).all == ()
    versions = [{**HARBOUR, "version": 2}, {**HARBOUR, "version": 1}]
    (folder / "harbour.json").write_text(json.dumps({"name": "Harbours", "description": None, "versions": versions}))
    (folder / "other.json").write_text(json.dumps({"name": "Other", **HARBOUR}))
    found = read_workflows(tmp_path)
    assert [(w.name, [v.number for v in w.versions]) for w in found.all] == [("Harbours", [1, 2]), ("Other", [3])]
    id = found.all[0].versions[1].id
    assert is_uuid(id)
    assert found[id][1].number == 2
    assert read_workflows(tmp_path).all[0].versions[1].id == id  # the same after another start

    for text, words in (
        ("{", "harbour.json: Expecting"),
        ("[]", "harbour.json: a workflow is an object"),
        ('{"name": "x", "versions": []}', "versions must be a list"),
        ('{"name": "x", "nodes": [{}]}', "harbour.json: node 0 has no id"),
        (json.dumps({"name": "x", "versions": [HARBOUR, HARBOUR]}), "the same number"),
        ("[" * 100_000, "nested too deeply"),
    ):
        (folder / "harbour.json").write_text(text)
        with pytest.raises(ValueError, match=r"^[^\n]+$") as caught:
            read_workflow(folder / "harbour.json")
        assert words in str(caught.value)
