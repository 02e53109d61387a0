"""A kept walk, drawn again line by line for somebody who opened its link, until they take over or it ends."""

from __future__ import annotations

from collections.abc import Callable

from ..worlds.action_log import (
    ActionLogError,
    LogHeader,
    entries,
    parse_header,
    parse_line,
    text_lines,
)
from ..worlds.core import Action, World
from ..worlds.log_image import whole_image
from .errors import BadLog
from .protocol import MAX_PROMPT_CHARS, MAX_SEED


class Replay:
    """The lines of a log that was looked through when it was kept; parsed one by one, so that no frame waits."""

    def __init__(self, content: bytes) -> None:
        """Raises ActionLogError where the bytes are no log."""
        lines = text_lines(content, "The log")
        self.header: LogHeader = parse_header(lines[0] if lines else "", "The log")
        self._lines = lines
        self._at = 1
        self._steps = self.header.steps
        self.frames = sum(line.startswith("[") for line in lines)
        self.prompt = self.header.prompt

    def next(self) -> tuple[Action, int] | None:
        """(action, denoising steps) of the next frame; None after the last one. Raises ActionLogError on damage."""
        while self._at < len(self._lines):
            line, self._at = self._lines[self._at], self._at + 1
            try:
                entry = parse_line(line, self.header.version)
            except (ValueError, TypeError, RecursionError) as error:
                if self._at == len(self._lines) and not line.endswith("\n"):
                    return None  # cut off: played up to there
                raise ActionLogError(f"line {self._at} is damaged") from error
            if isinstance(entry, Action):
                return entry, self._steps
            self._steps = entry
        return None

    def differences(self, world: World) -> str | None:
        """What will not be as it was, in one sentence; None where every frame is the same again.

        Raises ActionLogError when the log was made with other weights.
        """
        header = self.header
        if header.sha256 != world.sha256:
            raise ActionLogError(
                f"it was made with the world {header.world[:80]} {header.sha256[:12]}, this is another"
            )
        if header.engine != world.engine:
            return f"The walk was drawn by {header.engine[:80]}, this is {world.engine}: pictures may differ in places."
        return None


def accepted(content: bytes, breathe: Callable[[], None]) -> tuple[LogHeader, int, tuple[str, ...]]:
    """(header, frames, notes) of a log that somebody brings. Raises BadLog that says what is wrong with it.

    Keeps none of the actions: a heap that grows by them would be searched for garbage while the live walk waits.
    """
    frames, notes = 0, list[str]()
    try:
        lines = text_lines(content, "The file")
        header = parse_header(lines[0] if lines else "", "The file")
        _check_prompt(header.prompt)
        for entry in entries(lines, header.version, "The file", notes, breathe):
            if isinstance(entry, Action):
                frames += 1
                _check_prompt(entry.prompt or "")
    except ActionLogError as error:
        raise BadLog(f"{error}.") from None
    if header.seed > MAX_SEED:
        raise BadLog(f"The walk's seed is {header.seed}; the page goes up to {MAX_SEED}.")
    if not frames:
        raise BadLog("The walk has no frames.")
    return header, frames, tuple(notes)


def check_image(header: LogHeader, world: World) -> None:
    """Raises BadLog where the walk began from a picture that the log does not hold whole."""
    try:
        whole_image(header, world)
    except ActionLogError as error:
        raise BadLog(f"The walk cannot be opened: {error}.") from None


def _check_prompt(prompt: str) -> None:
    if len(prompt) > MAX_PROMPT_CHARS:
        raise BadLog(f"The walk holds a prompt of {len(prompt)} characters; the page goes up to {MAX_PROMPT_CHARS}.")
    if any("\ud800" <= char <= "\udfff" for char in prompt):
        raise BadLog("The walk holds a prompt that is not valid Unicode.")
