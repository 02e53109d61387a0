"""A session as data: what was asked of a world, frame by frame. Played again on the same engine it is the same session.

JSON lines. The first line is the header; every further line is one frame's action: `[right_m, up_m, forward_m, yaw_rad,
pitch_rad]`, followed by the prompt where it changes. Numbers are written so that they are read back exactly.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .core import Action

VERSION = 1
MOST_ACTIONS = 25 * 3600 * 4  # four hours: longer files are refused before they fill the memory


class ActionLogError(ValueError):
    """A log cannot be used. The message says which line, why, and what to do."""


@dataclass(frozen=True, slots=True)
class LogHeader:
    """What the actions were done to."""

    world: str
    sha256: str  # of the world's weights
    engine: str
    steps: int
    fps: float
    seed: int
    prompt: str
    version: int = VERSION
    image_sha256: str | None = None  # of the pixels that the world began from, `FirstImage.sha256`; None: from words


@dataclass(frozen=True, slots=True)
class ActionLog:
    """A header, one action a frame, and what was found amiss in reading it."""

    header: LogHeader
    actions: tuple[Action, ...]
    notes: tuple[str, ...] = ()


def write(path: Path, header: LogHeader, actions: Iterable[Action]) -> None:
    """Replace the file at once, whole or not at all."""
    lines = [json.dumps({"worldstream": "action log", **asdict(header)})]
    lines += [encoded(action) for action in actions]
    temporary = path.with_name(path.name + ".part")
    temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
    temporary.replace(path)


def encoded(action: Action) -> str:
    """One line, without its end."""
    row: list[float | str] = [
        action.right_m, action.up_m, action.forward_m, action.yaw_rad, action.pitch_rad
    ]  # fmt: skip
    if action.prompt is not None:
        row.append(action.prompt)
    return json.dumps(row)


def read(path: Path) -> ActionLog:
    """Read a log. A last line that is cut off is left out, and said.

    Raises ActionLogError when the file is not a log, is of another version, is too long, or is damaged before its end;
    OSError when it cannot be read.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    except UnicodeDecodeError as error:
        raise ActionLogError(f"{path} is not an action log: it is not text") from error
    if len(lines) - 1 > MOST_ACTIONS:
        raise ActionLogError(f"{path} holds {len(lines) - 1} actions, more than {MOST_ACTIONS}; cut it into parts")
    header = _header(path, lines[0] if lines else "")
    actions: list[Action] = []
    notes: list[str] = []
    for number, line in enumerate(lines[1:], 2):
        try:
            actions.append(_action(line))
        except (ValueError, TypeError) as error:
            if number == len(lines) and not line.endswith("\n"):
                notes.append(f"{path} ends within line {number}; the {len(actions)} frames before it are played")
                break
            raise ActionLogError(f"{path}, line {number}: {error}; the log is damaged") from error
    return ActionLog(header, tuple(actions), tuple(notes))


def _header(path: Path, line: str) -> LogHeader:
    try:
        raw = json.loads(line)
    except ValueError as error:
        raise ActionLogError(f"{path} is not an action log: its first line is not a header") from error
    if not isinstance(raw, dict) or raw.pop("worldstream", None) != "action log":
        raise ActionLogError(f"{path} is not an action log: its first line is not a header")
    if raw.get("version") != VERSION:
        raise ActionLogError(f"{path} is of version {raw.get('version')!r}; this worldstream reads version {VERSION}")
    types: dict[str, Any] = {
        "world": str, "sha256": str, "engine": str, "steps": int, "fps": (int, float), "seed": int, "prompt": str,
        "version": int,
    }  # fmt: skip
    for name, kind in types.items():
        if not isinstance(raw.get(name), kind) or isinstance(raw.get(name), bool):
            raise ActionLogError(f"{path}: the header's {name} is {raw.get(name)!r}; the log is damaged")
    if not 0.0 < raw["fps"] <= 1000.0:
        raise ActionLogError(f"{path}: the header's fps is {raw['fps']!r}; the log is damaged")
    image = raw.get("image_sha256")  # logs from before pictures do not have it
    if image is not None and not isinstance(image, str):
        raise ActionLogError(f"{path}: the header's image_sha256 is {image!r}; the log is damaged")
    return LogHeader(**{name: raw[name] for name in types}, image_sha256=image)


def _action(line: str) -> Action:
    """Raises ValueError or TypeError with what is wrong."""
    row = json.loads(line)
    if not isinstance(row, list) or not 5 <= len(row) <= 6:
        raise ValueError("an action is five numbers and perhaps a prompt")
    if any(isinstance(x, bool) or not isinstance(x, int | float) for x in row[:5]):
        raise ValueError(f"an action's first five values are numbers, not {row[:5]}")
    if len(row) == 6 and not isinstance(row[5], str):
        raise ValueError(f"a prompt is text, not {row[5]!r}")
    right, up, forward, yaw, pitch = (float(x) for x in row[:5])
    return Action(right, up, forward, yaw, pitch, prompt=row[5] if len(row) == 6 else None)
