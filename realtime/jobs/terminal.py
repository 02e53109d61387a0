"""Orders of the command line, done in this process or by a server, with a progress bar."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .commands import Asked, OrderError

if TYPE_CHECKING:
    from ...clients.tasks import TaskClient


@contextmanager
def progress_bar(what: str) -> Iterator[Callable[[float], None]]:
    """A bar on standard error; nothing where that is not a terminal."""
    from tqdm import tqdm

    form = "{desc} {percentage:3.0f} % |{bar}| {elapsed}, {remaining} left"
    with tqdm(total=1.0, desc=what, bar_format=form, file=sys.stderr, disable=None, leave=False) as bar:

        def show(fraction: float) -> None:
            bar.n = min(1.0, max(bar.n, fraction))
            bar.refresh()

        yield show


def run_here(asked: Asked, out: Path, data: Path, world: str, engine: str) -> tuple[list[Path], dict[str, Any]]:
    """Do it in this process; (files, facts). Raises JobError, ValueError or OSError; then nothing is written."""
    from .contract import JobOrder
    from .governed import governed_job_of
    from .workshop import OneWorkshop

    if not out.parent.is_dir():
        raise OrderError(f"{out} cannot be written: there is no folder {out.parent}; make it first")
    job = governed_job_of(asked.kind)
    params = asked.params | ({"model": world} if world else {})
    with (
        tempfile.TemporaryDirectory(dir=out.parent, prefix=".worldstream-") as folder,
        progress_bar(asked.kind) as show,
    ):
        order = JobOrder(str(uuid.uuid4()), asked.kind, params, asked.inputs, Path(folder))
        result = job(order, OneWorkshop(data, engine), lambda fraction, preview=None: show(fraction))
        paths = [output.path for output in result.outputs]
        names = _named(out, [path.suffix for path in paths])
        for path, name in zip(paths, names, strict=True):
            shutil.move(path, name)
    return names, {"model": result.model, **result.facts}


def _named(out: Path, suffixes: list[str]) -> list[Path]:
    """What the files are called; where the job made another kind than the name says, the kind wins."""
    if len(suffixes) == 1:
        return [out if out.suffix.lower() == suffixes[0].lower() or suffixes[0] == "" else out.with_suffix(suffixes[0])]
    return [out.with_name(f"{out.stem}-{i}{suffix}") for i, suffix in enumerate(suffixes)]


def run_there(asked: Asked, out: Path, server: str, key: str) -> tuple[list[Path], dict[str, Any]]:
    """Have a server do it; Ctrl-C cancels it there. Raises TaskError."""
    with _client(server, key) as tasks, progress_bar(asked.kind) as show:
        task = tasks.create(asked.kind, asked.params, asked.inputs)
        try:
            done = tasks.wait(task["id"], lambda event: show(float(event["progress"])))
        except KeyboardInterrupt:
            tasks.remove(task["id"])
            raise
        return tasks.download(done, out), dict(done["facts"])


def run_tasks(options: argparse.Namespace, tell: Callable[[str], None]) -> int:
    """`worldstream tasks`. Raises TaskError."""
    with _client(options.server or "http://127.0.0.1:8800", options.key) as tasks:
        if options.action == "list":
            found = tasks.listed(options.search)
            for task in found:
                tell(_line(task))
            return 0 if found else 1
        if options.action == "show":
            task = tasks.get(options.id)
            tell(_line(task))
            for name, value in {**task["params"], **task["facts"]}.items():
                tell(f"  {name}: {value}")
            for url in task["outputs"]:
                tell(f"  {url}")
        elif options.action == "cancel":
            tasks.remove(options.id)
            tell(f"{options.id[:8]} is cancelled or deleted")
        else:
            with progress_bar(options.id[:8]) as show:
                task = tasks.wait(options.id, lambda event: show(float(event["progress"])))
            for path in tasks.download(task, options.out):
                tell(f"wrote {path}")
    return 0


def _line(task: dict[str, Any]) -> str:
    share = f" {task['progress']:.0%}" if task["state"] == "RUNNING" else ""
    words = str(task["params"].get("prompt") or task["params"].get("text") or "")[:60]
    return f"{task['id']}  {task['state']}{share}  {task['kind']}  {words} {task['failure']}".rstrip()


def _client(server: str, key: str) -> TaskClient:
    from ...clients.tasks import TaskClient

    return TaskClient(server, key)
