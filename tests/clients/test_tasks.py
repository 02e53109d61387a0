"""The client of tasks, against a server that says what a test wants."""

import base64
import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from worldstream.clients.tasks import SMALL_BYTES, TaskClient, TaskError

OUTPUT = "http://elsewhere.test/v1/outputs/a.mp4?expires=9&signature=ab"
TASK = {"id": "t1", "kind": "clip", "params": {"prompt": "sea"}, "state": "SUCCEEDED", "progress": 1.0, "failure": "",
        "facts": {"model": "nano"}, "outputs": [OUTPUT]}  # fmt: skip


class Server:
    """Answers by path; keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[httpx.Request] = []
        self.events: list[list[dict[str, Any]]] = []
        self.task: dict[str, Any] = TASK
        self.broken = 0

    def __call__(self, request: httpx.Request) -> httpx.Response:
        request.read()
        self.asked.append(request)
        path = request.url.path
        if path == "/api/tasks" and request.method == "POST":
            return httpx.Response(201, json={**TASK, "state": "PENDING", "outputs": []})
        if path == "/api/tasks":
            return httpx.Response(200, json={"tasks": [TASK], "next": None})
        if path.endswith("/events"):
            if self.broken:
                self.broken -= 1
                raise httpx.ReadError("gone", request=request)
            lines = "".join(f"data: {json.dumps(event)}\n\n" for event in self.events.pop(0))
            return httpx.Response(200, text=":\n\n" + lines)
        if path == "/v1/uploads":
            url = "http://elsewhere.test/v1/uploads/u1?x=1"
            return httpx.Response(200, json={"uploadUrl": url, "fields": {"policy": "p"}, "runwayUri": "runway://u1"})
        if path == "/v1/uploads/u1":
            return httpx.Response(204)
        if path == "/v1/outputs/a.mp4":
            return httpx.Response(200, content=b"film")
        if path == "/api/tasks/t1":
            return httpx.Response(204) if request.method == "DELETE" else httpx.Response(200, json=self.task)
        error = {"code": "no_such_task", "message": "There is no such task.", "remedy": "Choose another.", "id": "x"}
        return httpx.Response(404, json={"error": error})


@pytest.fixture
def server() -> Server:
    return Server()


def client(server: Server, key: str = "") -> TaskClient:
    return TaskClient("http://here.test/base/".replace("/base", ""), key, httpx.MockTransport(server))


def event(state: str, progress: float) -> dict[str, Any]:
    return {"id": "t1", "state": state, "progress": progress}


def test_an_order_with_its_files(server: Server, tmp_path: Path) -> None:
    small, large = tmp_path / "a.png", tmp_path / "b.mp4"
    small.write_bytes(b"PNG")
    large.write_bytes(bytes(SMALL_BYTES + 1))
    with client(server, "key_1") as tasks:
        task = tasks.create(
            "edit", {"prompt": "night"}, {"key0": small, "video": large, "ref0": "https://a.test/x.png"}
        )
    assert task["state"] == "PENDING"
    body = json.loads(server.asked[-1].content)
    assert body["inputs"] == {
        "key0": "data:image/png;base64," + base64.b64encode(b"PNG").decode(),
        "video": "runway://u1",
        "ref0": "https://a.test/x.png",
    }
    begun, sent = server.asked[0], server.asked[1]
    assert begun.headers["x-runway-version"] == "2024-11-06"
    assert begun.headers["authorization"] == "Bearer key_1"
    assert sent.url.host == "here.test"  # where we reached the server, whatever it calls itself
    assert b'name="policy"' in sent.content
    assert sent.content.index(b'name="policy"') < sent.content.index(b'name="file"')


def test_waiting_and_downloading(server: Server, tmp_path: Path) -> None:
    server.events = [[event("RUNNING", 0.5), event("SUCCEEDED", 1.0)]]
    heard: list[float] = []
    with client(server) as tasks:
        done = tasks.wait("t1", lambda e: heard.append(e["progress"]))
        assert tasks.download(done, tmp_path / "out.mp4") == [tmp_path / "out.mp4"]
    assert heard == [0.5, 1.0]
    assert (tmp_path / "out.mp4").read_bytes() == b"film"
    assert [p.name for p in tmp_path.iterdir()] == ["out.mp4"]


def test_several_files_get_numbers(server: Server, tmp_path: Path) -> None:
    with client(server) as tasks:
        paths = tasks.download({**TASK, "outputs": [OUTPUT, OUTPUT]}, tmp_path / "out.mp4")
    assert [path.name for path in paths] == ["out-0.mp4", "out-1.mp4"]


def test_a_broken_line_is_taken_up_again(server: Server) -> None:
    server.broken = 2
    server.events = [[event("SUCCEEDED", 1.0)]]
    with client(server) as tasks:
        assert tasks.wait("t1")["id"] == "t1"
        server.broken = 3
        with pytest.raises(TaskError, match="not reached"):
            tasks.wait("t1")


def test_what_went_wrong_is_said(server: Server, tmp_path: Path) -> None:
    server.events = [[event("FAILED", 0.2)]]
    server.task = {**TASK, "state": "FAILED", "failure": "The video is too short."}
    with client(server) as tasks:
        with pytest.raises(TaskError, match=r"The video is too short\."):
            tasks.wait("t1")
        with pytest.raises(TaskError, match=r"no such task\. Choose another"):
            tasks.get("t9")
        with pytest.raises(TaskError, match="cannot be read"):
            tasks.send(tmp_path / "missing.png")
        tasks.remove("t1")
        assert [task["id"] for task in tasks.listed("sea", 5)] == ["t1"]
    assert server.asked[-1].url.query == b"search=sea&limit=5"


def test_no_server(tmp_path: Path) -> None:
    with TaskClient("http://127.0.0.1:9") as tasks, pytest.raises(TaskError, match="worldstream serve"):
        tasks.listed()
