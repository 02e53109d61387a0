"""A session as data: what was asked of a world, frame by frame. Played again on the same engine it is the same session.

JSON lines. The first line is the header; every further line is one of

    [right_m, up_m, forward_m, yaw_rad, pitch_rad]            one frame's action, numbers written so that they are read
    [right_m, up_m, forward_m, yaw_rad, pitch_rad, "prompt"]  back exactly; the prompt where it changes
    {"steps": 3}                                              from the next frame on, that many denoising steps

A log without lines of the last kind is of version 1, one with them of version 2; both are read.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .core import Action

VERSION = 2
PLAIN = 1  # the version of logs without event lines, which older programs read
MOST_ACTIONS = 25 * 3600 * 4  # four hours: longer files are refused before they fill the memory
MOST_BYTES = 64 * 2**20  # of a file; four hours of the longest numbers are 46 MB
MOST_STEPS = 1000  # of denoising, in one frame
SLICE_LINES = 200  # about a millisecond of parsing


class ActionLogError(ValueError):
    """A log cannot be used. The message says which line, why, and what to do."""


@dataclass(frozen=True, slots=True)
class LogHeader:
    """What the actions were done to."""

    world: str
    sha256: str  # of the world's weights
    engine: str
    steps: int  # of the first frame, and of the others until an event line says otherwise
    fps: float
    seed: int  # in [0, 2^63)
    prompt: str
    version: int = PLAIN
    image_sha256: str | None = None  # of the pixels that the world began from, `FirstImage.sha256`; None: from words
    image_png: str | None = None  # those pixels as a PNG in base 64, so that the log is all that a replay needs


# What the header's fields must be. A field that may be missing needs a default in LogHeader and stands in OPTIONAL.
REQUIRED: dict[str, type | tuple[type, ...]] = {
    "world": str, "sha256": str, "engine": str, "steps": int, "fps": (int, float), "seed": int, "prompt": str,
    "version": int,
}  # fmt: skip
OPTIONAL: dict[str, type | tuple[type, ...]] = {"image_sha256": (str, type(None)), "image_png": (str, type(None))}


@dataclass(frozen=True, slots=True)
class ActionLog:
    """A header, one action a frame, where the number of steps changed, and what was found amiss in reading it."""

    header: LogHeader
    actions: tuple[Action, ...]
    notes: tuple[str, ...] = ()
    changes: tuple[tuple[int, int], ...] = ()  # (frame, steps from that frame on), frames rising


def write(path: Path, header: LogHeader, actions: Iterable[Action], changes: Iterable[tuple[int, int]] = ()) -> None:
    """Replace the file at once, whole or not at all. `changes` are as in ActionLog."""
    events = dict(changes)
    lines = [encoded_header(header, PLAIN if not events else VERSION)]
    for frame, action in enumerate(actions):
        if frame in events:
            lines.append(encoded_steps(events[frame]))
        lines.append(encoded(action))
    temporary = path.with_name(path.name + ".part")
    temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
    temporary.replace(path)


def encoded_header(header: LogHeader, version: int) -> str:
    """The first line, without its end."""
    return json.dumps({"worldstream": "action log", **asdict(header), "version": version})


def encoded_steps(steps: int) -> str:
    """An event line, without its end."""
    return json.dumps({"steps": steps})


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
    size = path.stat().st_size
    if size > MOST_BYTES:  # before reading: a film given by mistake would fill the memory
        raise ActionLogError(f"{path} holds {size} bytes, more than {MOST_BYTES}; it is not an action log, or cut it")
    return parse(path.read_bytes(), str(path))


def parse(content: bytes, name: str) -> ActionLog:
    """A log from the bytes of its file; `name` stands in messages. Raises ActionLogError as `read`."""
    lines = text_lines(content, name)
    header = parse_header(lines[0] if lines else "", name)
    actions: list[Action] = []
    changes: dict[int, int] = {}
    notes: list[str] = []
    for entry in entries(lines, header.version, name, notes):
        if isinstance(entry, Action):
            actions.append(entry)
        else:
            changes[len(actions)] = entry
    return ActionLog(header, tuple(actions), tuple(notes), tuple(changes.items()))


def entries(
    lines: list[str], version: int, name: str, notes: list[str], breathe: Callable[[], None] = lambda: None
) -> Iterator[Action | int]:
    """What the lines after the header say, one by one; what is amiss but not fatal is added to `notes`.

    `breathe` is called every SLICE_LINES lines, so that reading a long log need not starve other threads.
    Raises ActionLogError as `read`.
    """
    actions = 0
    for number, line in enumerate(lines[1:], 2):
        if number % SLICE_LINES == 0:
            breathe()
        try:
            entry = parse_line(line, version)
        except (ValueError, TypeError, RecursionError) as error:
            if number == len(lines) and not line.endswith("\n"):
                notes.append(f"{name} ends within line {number}; the {actions} frames before it are played")
                return
            raise ActionLogError(f"{name}, line {number}: {_short(error)}; the log is damaged") from error
        actions += isinstance(entry, Action)
        if actions > MOST_ACTIONS:
            raise ActionLogError(f"{name} holds more than {MOST_ACTIONS} actions; cut it into parts")
        yield entry


def text_lines(content: bytes, name: str) -> list[str]:
    """The lines of a file with their ends. Raises ActionLogError where it is too large or not text."""
    if len(content) > MOST_BYTES:
        raise ActionLogError(f"{name} holds {len(content)} bytes, more than {MOST_BYTES}; cut it into parts")
    try:
        return _lines(content.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise ActionLogError(f"{name} is not an action log: it is not text") from error


def _lines(text: str) -> list[str]:
    r"""Split at \n alone: a prompt may hold the other characters that `str.splitlines` takes for line ends."""
    parts = text.split("\n")
    whole = [part + "\n" for part in parts[:-1]]
    return [*whole, parts[-1]] if parts[-1] else whole


def parse_header(line: str, name: str) -> LogHeader:
    """The header from the first line. Raises ActionLogError that begins with `name`."""
    try:
        raw = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ActionLogError(f"{name} is not an action log: its first line is not a header") from error
    if not isinstance(raw, dict) or raw.pop("worldstream", None) != "action log":
        raise ActionLogError(f"{name} is not an action log: its first line is not a header")
    if raw.get("version") not in range(PLAIN, VERSION + 1):
        said = _short(repr(raw.get("version")))
        raise ActionLogError(f"{name} is of version {said}; this worldstream reads versions {PLAIN} to {VERSION}")
    given = [field for field in OPTIONAL if field in raw]
    for field, kind in {**REQUIRED, **{name: OPTIONAL[name] for name in given}}.items():
        if not isinstance(raw.get(field), kind) or isinstance(raw.get(field), bool):
            raise ActionLogError(f"{name}: the header's {field} is {_short(repr(raw.get(field)))}; the log is damaged")
    _check_ranges(raw, name)
    return LogHeader(**{field: raw[field] for field in [*REQUIRED, *given]})


def _check_ranges(raw: dict[str, Any], name: str) -> None:
    in_range = {
        "fps": 0.0 < raw["fps"] <= 1000.0,
        "steps": 1 <= raw["steps"] <= MOST_STEPS,
        "seed": 0 <= raw["seed"] < 1 << 63,
    }
    for field, good in in_range.items():
        if not good:
            raise ActionLogError(f"{name}: the header's {field} is {_short(repr(raw[field]))}; the log is damaged")


def parse_line(line: str, version: int = VERSION) -> Action | int:
    """One line after the header: an action, or the number of steps from the next action on.

    Raises ValueError, TypeError or RecursionError with what is wrong.
    """
    row = json.loads(line)
    if isinstance(row, dict) and version >= VERSION:
        return _steps(row)
    if not isinstance(row, list) or not 5 <= len(row) <= 6:
        raise ValueError("an action is five numbers and perhaps a prompt")
    if any(isinstance(x, bool) or not isinstance(x, int | float) for x in row[:5]):
        raise ValueError(f"an action's first five values are numbers, not {row[:5]}")
    if len(row) == 6 and not isinstance(row[5], str):
        raise ValueError(f"a prompt is text, not {row[5]!r}")
    try:
        right, up, forward, yaw, pitch = (float(x) for x in row[:5])
    except OverflowError as error:
        raise ValueError("an action's numbers must be finite") from error
    return Action(right, up, forward, yaw, pitch, prompt=row[5] if len(row) == 6 else None)


def _steps(row: dict[str, Any]) -> int:
    steps = row.get("steps")
    if set(row) != {"steps"} or type(steps) is not int or not 1 <= steps <= MOST_STEPS:
        raise ValueError(f"an event is the number of steps from 1 to {MOST_STEPS}, not {row}")
    return steps


def stepped(log: ActionLog) -> Iterator[tuple[Action, int]]:
    """Every action with the number of denoising steps that its frame was drawn with."""
    changes, steps = dict(log.changes), log.header.steps
    for frame, action in enumerate(log.actions):
        steps = changes.get(frame, steps)
        yield action, steps


def _short(said: object, most: int = 160) -> str:
    """A message is one line that a person reads, whatever the file holds."""
    text = str(said)
    return text if len(text) <= most else text[:most] + "…"
