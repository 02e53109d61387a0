"""The commands of the offline half: `generate`, `edit`, `upscale`, `speak`, `sound`, `tasks`, `keys` and `inspect`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .config import from_environment, override
from .jobs.contract import JobError

KEPT = ("keys", "inspect")  # what needs the server's packages


def main(arguments: Sequence[str]) -> int:
    """Returns the exit code. Raises ValueError, OSError or ImportError in one line."""
    options = _parser(arguments[0]).parse_args(arguments)
    if options.command in KEPT:
        return _kept(options)
    from ..clients.tasks import TaskError

    try:
        return _made(options)
    except (JobError, TaskError) as error:
        raise ValueError(str(error)) from None


def _parser(command: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="worldstream")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    if command in KEPT:
        from .governance.commands import add_parsers as add_kept

        add_kept(commands)
    else:
        from .jobs.commands import add_parsers as add_made

        add_made(commands)
    return parser


def _kept(options: argparse.Namespace) -> int:
    from .governance.commands import run_inspect, run_keys
    from .store.database import Database

    config = override(from_environment(), {"data": options.data, "database": getattr(options, "database", None)})
    if options.command == "inspect":
        return run_inspect(options, config.data, _tell)
    config.data.mkdir(parents=True, exist_ok=True)
    database = Database(config.database or config.data / "worldstream.db")
    try:
        return run_keys(options, database, _tell)
    finally:
        database.close()


def _made(options: argparse.Namespace) -> int:
    from .jobs import terminal
    from .jobs.commands import asked_of

    if options.command == "tasks":
        return terminal.run_tasks(options, _tell)
    asked = asked_of(options)
    if options.server:
        paths, facts = terminal.run_there(asked, options.out, options.server, options.key)
    else:
        data = override(from_environment(), {"data": options.data}).data
        paths, facts = terminal.run_here(asked, options.out, data, options.world, options.engine)
    for path in paths:
        _tell(f"wrote {path}")
    for note in _notes(facts):
        sys.stderr.write(f"worldstream: {note}\n")
    return 0


def _notes(facts: dict[str, Any]) -> list[str]:
    notes = facts.get("notes", [])
    return [str(note) for note in notes] if isinstance(notes, list | tuple) else [str(notes)]


def _tell(line: str | Path) -> None:
    sys.stdout.write(f"{line}\n")
