"""Offline tasks of a server, from a program: order, watch, wait, download.

    with TaskClient("http://127.0.0.1:8800") as tasks:
        task = tasks.create("clip", {"prompt": "desert at dusk", "seconds": 5, "width": 1280, "height": 720, "seed": 7})
        tasks.download(tasks.wait(task["id"]), Path("clip.mp4"))

The kinds of tasks and their parameters are those of docs/tasks.md. For code that is written for the Runway SDKs, set
RUNWAYML_BASE_URL instead and keep the code.
"""

from __future__ import annotations

import base64
import json
import mimetypes
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

import httpx

ENDED = ("SUCCEEDED", "FAILED", "CANCELLED")
SMALL_BYTES = 3 * 2**20  # inline; larger files are uploaded first
VERSION = "2024-11-06"
Task = dict[str, Any]


class TaskError(Exception):
    """The server said no, or is not there, or the task failed. One line for a person."""


class TaskClient:
    """One server. Blocking; use one per thread."""

    def __init__(
        self, server: str = "http://127.0.0.1:8800", key: str = "", transport: httpx.BaseTransport | None = None
    ) -> None:
        """`key` is an API key, for a server that has some."""
        self._key = key
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        timeout = httpx.Timeout(60.0, connect=5.0)
        self._http = httpx.Client(
            base_url=server.rstrip("/") + "/", headers=headers, timeout=timeout, transport=transport
        )

    def __enter__(self) -> TaskClient:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def create(self, kind: str, params: Mapping[str, Any], inputs: Mapping[str, Path | str] | None = None) -> Task:
        """Order a task; files of `inputs` are sent, strings are https, runway:// or data: URIs. Raises TaskError."""
        media = {name: given if isinstance(given, str) else self.send(given) for name, given in (inputs or {}).items()}
        body = {"kind": kind, "params": dict(params), "inputs": media}
        task: Task = self._ask("POST", "api/tasks", json=body).json()
        return task

    def send(self, path: Path) -> str:
        """A URI by which the server knows a file of this machine. Raises TaskError."""
        try:
            data = path.read_bytes()
        except OSError as error:
            raise TaskError(f"{path} cannot be read: {error.strerror}") from None
        media_type = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        if len(data) <= SMALL_BYTES:
            return f"data:{media_type};base64,{base64.b64encode(data).decode()}"
        headers = {"Authorization": f"Bearer {self._key or 'anybody'}", "X-Runway-Version": VERSION}
        name = path.name[-120:] if len(path.name) >= 3 else f"file-{path.name}"
        begun = self._ask("POST", "v1/uploads", json={"filename": name, "type": "ephemeral"}, headers=headers).json()
        place = urlsplit(begun["uploadUrl"])  # its host is how others reach the server; we reached it already
        files = {"file": (name, data, media_type)}
        self._ask("POST", f"{place.path}?{place.query}".lstrip("/"), data=begun["fields"], files=files)
        uri: str = begun["runwayUri"]
        return uri

    def get(self, id: str) -> Task:
        task: Task = self._ask("GET", f"api/tasks/{id}").json()
        return task

    def remove(self, id: str) -> None:
        """Cancel a task that goes on; delete one that ended, its files too."""
        self._ask("DELETE", f"api/tasks/{id}")

    def listed(self, search: str = "", limit: int = 30) -> list[Task]:
        """The newest first."""
        found: list[Task] = self._ask("GET", "api/tasks", params={"search": search, "limit": limit}).json()["tasks"]
        return found

    def watch(self, id: str) -> Iterator[Task]:
        """The task as it is now, then every change until its end; comes back once where the connection breaks."""
        for attempt in (1, 2, 3):
            try:
                with self._http.stream("GET", f"api/tasks/{id}/events", timeout=None) as answer:
                    if answer.is_error:
                        answer.read()
                        raise TaskError(_said(answer))
                    for line in answer.iter_lines():
                        if line.startswith("data: "):
                            event: Task = json.loads(line[6:])
                            yield event
                            if event["state"] in ENDED:
                                return
            except httpx.HTTPError as error:
                if attempt == 3:
                    raise TaskError(f"the server is not reached ({type(error).__name__})") from None

    def wait(self, id: str, told: Callable[[Task], None] = lambda event: None) -> Task:
        """Until it succeeded; `told` hears of every change. Raises TaskError where it did not."""
        for event in self.watch(id):
            told(event)
        task = self.get(id)
        if task["state"] == "SUCCEEDED":
            return task
        raise TaskError(str(task["failure"]) or f"the task ended as {task['state']}")

    def download(self, task: Task, out: Path) -> list[Path]:
        """Write what a task made: to `out`, or, where there are several, to out-0.png, out-1.png and so on."""
        urls = task["outputs"]
        names = [out] if len(urls) == 1 else [out.with_name(f"{out.stem}-{i}{out.suffix}") for i in range(len(urls))]
        for url, path in zip(urls, names, strict=True):
            place = urlsplit(url)
            part = path.with_name(path.name + ".part")
            try:
                with self._http.stream("GET", f"{place.path}?{place.query}".lstrip("/")) as answer:
                    if answer.is_error:
                        answer.read()
                        raise TaskError(_said(answer))
                    with part.open("wb") as file:
                        for piece in answer.iter_bytes(2**18):
                            file.write(piece)
                part.replace(path)
            except httpx.HTTPError as error:
                raise TaskError(f"the download broke off ({type(error).__name__})") from None
            finally:
                part.unlink(missing_ok=True)
        return names

    def _ask(self, method: str, path: str, **more: Any) -> httpx.Response:
        try:
            answer = self._http.request(method, path, **more)
        except httpx.HTTPError:
            raise TaskError(f"no server answers at {self._http.base_url}; start one with `worldstream serve`") from None
        if answer.is_error:
            raise TaskError(_said(answer))
        return answer


def _said(answer: httpx.Response) -> str:
    """What an error says, in either of the server's shapes."""
    try:
        error = answer.json()["error"]
    except (ValueError, KeyError, TypeError):
        return f"the server answered {answer.status_code}"
    if isinstance(error, str):
        return error
    return (
        f"{error.get('message', '')} {error.get('remedy', '')}".strip() or f"the server answered {answer.status_code}"
    )
