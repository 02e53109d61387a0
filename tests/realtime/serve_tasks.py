"""Serve the offline half without a real live world: `python tests/realtime/serve_tasks.py --port 8800 --data DIR`.

Takes the flags of `worldstream serve`. There is no live world; tasks, blobs, webhooks and /v1 are the real ones, on the
kinds of `jobs/kinds.py` or, with WORLDSTREAM_TEST_KINDS=module (of `KINDS` and `job_of`), on a test's own. With
`--port 0` it prints the port that it got: one line, `listening on N`, when it may be asked.
"""

from __future__ import annotations

import importlib
import logging
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastapi import FastAPI

    from worldstream.realtime.offline import Offline

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))


@dataclass
class TaskServer:
    """A server in a process of its own."""

    process: subprocess.Popen[str]
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def kill(self) -> None:
        """As the kernel does: nothing is said, nothing is written."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """As an operator does; returns the exit status."""
        self.process.terminate()
        try:
            return self.process.wait(15.0)
        finally:
            self.kill()


@contextmanager
def task_server(
    data: Path, *flags: str, kinds: str = "", environment: Mapping[str, str] | None = None
) -> Iterator[TaskServer]:
    """A running server on a port of its own. `kinds` names the module of a test's jobs."""
    paths = os.pathsep.join([str(ROOT / ".links"), str(ROOT)])
    given = {**os.environ, "PYTHONPATH": paths, "WORLDSTREAM_TEST_KINDS": kinds, **(environment or {})}
    command = [sys.executable, __file__, "--port", "0", "--data", str(data), "--log-level", "warning", *flags]
    process = subprocess.Popen(command, env=given, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("listening on "), f"the server did not start: {line!r}"
        yield TaskServer(process, int(line.split()[-1]))
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def main(arguments: Sequence[str] | None = None) -> None:
    from worldstream.realtime.cli import _parser
    from worldstream.realtime.config import from_environment, override
    from worldstream.realtime.offline import Offline
    from worldstream.realtime.startup import listen, settle_heap

    options = vars(_parser().parse_args(["serve", *(sys.argv[1:] if arguments is None else arguments)]))
    del options["command"]
    options["data"] = options["data"] or Path(tempfile.mkdtemp(prefix="worldstream-"))
    config = override(from_environment(), options)
    changed = {name: float(value) if "." in value else int(value) for name, value in _settings().items()}
    config = replace(config, tasks=replace(config.tasks, **changed))  # type: ignore[arg-type]
    logging.basicConfig(level=config.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    listener = listen(config.host, config.port)
    port = listener.getsockname()[1]
    name = os.environ.get("WORLDSTREAM_TEST_KINDS")
    if name:
        kinds = importlib.import_module(name).KINDS
        offline = Offline(config, port, time.time, kinds, f"{name}:job_of")
    else:
        offline = Offline(config, port)
    print(f"listening on {port}", flush=True)  # the kernel keeps whoever comes before the server looks
    import uvicorn

    running = uvicorn.Config(_bare_app(offline), loop="uvloop", log_config=None, access_log=False)
    settle_heap()
    uvicorn.Server(running).run(sockets=[listener])


def forked(data: str, kinds: str, settings: str, output: Any) -> None:
    """The server in a process that was forked when everything was imported; what it says goes to a connection."""
    os.environ |= {
        "PYTHONPATH": os.pathsep.join([str(ROOT / ".links"), str(ROOT)]),
        "WORLDSTREAM_TEST_KINDS": kinds,
        "WORLDSTREAM_TEST_TASKS": settings,
    }
    os.dup2(output.fileno(), 1)
    sys.stdout = os.fdopen(1, "w")
    main(["--port", "0", "--data", data, "--log-level", "warning"])


def _bare_app(offline: Offline) -> FastAPI:
    """The application of realtime/serve.py without the live world, whose libraries take most of a second to load."""
    from fastapi import FastAPI

    from worldstream.realtime.guard import Guard, add_errors
    from worldstream.realtime.offline import add_offline
    from worldstream.realtime.task_routes import add_tasks

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await offline.open()
        yield
        await offline.close()
        await offline.finish()

    app = FastAPI(lifespan=lifespan, openapi_url=None)
    add_tasks(app, offline, lambda request: None)
    add_offline(app, offline)
    add_errors(app)
    app.add_middleware(Guard)
    return app


def _settings() -> dict[str, str]:
    """WORLDSTREAM_TEST_TASKS="attempts=50 poll_s=0.1": settings of TaskConfig."""
    pairs = os.environ.get("WORLDSTREAM_TEST_TASKS", "").split()
    return {name: value for name, _, value in (pair.partition("=") for pair in pairs)}


if __name__ == "__main__":
    main()
