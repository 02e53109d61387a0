"""The walk of the player whose turn it is: its timeline, the replay that it may begin with, the way back to a moment.

The worker asks it what to draw next and tells it what was drawn. Owned by the worker thread.
"""

from __future__ import annotations

from collections.abc import Callable

from ..worlds.action_log import ActionLogError, LogHeader
from ..worlds.core import Action, Player, World
from ..worlds.first_image import FirstImage
from ..worlds.log_image import to_text, whole_image
from .archive import Archive
from .config import TimelineConfig
from .errors import NoSuchLog, NoSuchMoment
from .images import StartImage
from .mailbox import Event, GoToBranch, LogTaken, Noticed, Refused, Rewind, TimelineChanged
from .redraw import Redraw
from .replay import Replay
from .timeline import Timeline

BeganFrom = StartImage | FirstImage
Beginning = tuple[int, str, BeganFrom | None]
"""Seed, prompt, and perhaps a picture."""

TELL_EVERY = 0.1  # share of the way to a moment between two words about it


class Walk:
    """From one Play to the next. Between `finish` and `begin` there is none, and most calls do nothing."""

    def __init__(self, config: TimelineConfig, archive: Archive | None, emit: Callable[[Event], None]) -> None:
        self._config, self._archive, self._emit = config, archive, emit
        self._turn, self._session = 0, ""
        self._timeline: Timeline | None = None
        self._rate = 1.0  # moments of a walk in a second
        self.replay: Replay | None = None
        self.redraw: Redraw | None = None
        self._told = 0.0
        self._said_full = False

    # -- beginning and end

    def open(self, turn: int, session: str, replay: str, world: World, wish: Beginning) -> Beginning:
        """What to begin with: as the kept walk `replay` began where it can be played, else as wished."""
        self._turn, self._session = turn, session
        if not replay:
            return wish
        fallback = "A fresh world of the same seed and words begins instead."
        try:
            if self._archive is None:
                raise NoSuchLog("No walks are kept here.")
            opened = Replay(self._archive.load(replay))
            differs = opened.differences(world)
            image = whole_image(opened.header, world)
        except NoSuchLog as error:
            self._notice("replay_missing", f"{error.message} {fallback}")
        except ActionLogError as error:
            self._notice("replay_refused", f"The walk cannot be shown again: {error}. {fallback}")
        else:
            self.replay = opened
            if differs is not None:
                self._notice("replay_differs", differs)
            return opened.header.seed, opened.header.prompt, image
        return wish

    def begin(self, world: World, seed: int, prompt: str, image: BeganFrom | None) -> None:
        """A world was reset."""
        steps = world.steps
        if self.replay is not None and _runs_at(world, self.replay.header.steps):
            steps = self.replay.header.steps
        png = None if image is None else to_text(image.rgb)
        header = LogHeader(
            world.name, world.sha256, world.engine, steps, world.fps, seed, prompt,
            image_sha256=None if image is None else image.sha256, image_png=png,
        )  # fmt: skip
        self._rate = world.fps / world.frames_per_step
        self._timeline, self.redraw, self._said_full = Timeline(header, self._config, self._rate), None, False
        self._tell()

    def finish(self) -> None:
        """The walk is over; its log goes where it is kept."""
        content = self.log()
        if content is not None and self._session:
            self._emit(LogTaken(self._session, content))
        self._timeline = self.replay = self.redraw = None

    def log(self) -> bytes | None:
        """The file of the walk as it is now; None where nothing was drawn."""
        timeline = self._timeline
        return timeline.path.recording.content() if timeline is not None and timeline.now else None

    # -- frame by frame

    def replayed(self, world: World) -> tuple[Action, int] | None:
        """What the replay wants drawn next, at steps that the world can run at; None where the player walks."""
        if self.replay is None:
            return None
        try:
            entry = self.replay.next()
        except ActionLogError as error:
            self._notice("replay_damaged", f"The walk's log is damaged from here on ({error}). Walk on as you like.")
            entry = None
        else:
            if entry is None:
                self._notice("replay_ended", "The walk ends here. Walk on as you like.")
        if entry is None:
            self.replay = None
            self._tell()
            return None
        action, steps = entry
        return (action, steps) if _runs_at(world, steps) else (action, world.steps)

    def record(self, action: Action, steps: int, player: Player) -> None:
        """A frame was drawn."""
        timeline = self._timeline
        if timeline is None:
            return
        if timeline.record(action, steps, player):
            self._tell()
        if timeline.path.recording.full and not self._said_full:
            self._said_full = True
            self._notice("log_full", "This walk is as long as a log may be: what follows is not kept.")

    @property
    def lost_s(self) -> float:
        """What media time must be ahead of the walk's own, so that it never goes back."""
        return self._timeline.lost / self._rate if self._timeline is not None else 0.0

    @property
    def prompt(self) -> str:
        """That holds at the newest moment."""
        timeline = self._timeline
        return timeline.path.recording.prompt(timeline.now) if timeline is not None else ""

    # -- going elsewhere

    def take_over(self) -> None:
        """The replay, if there is one, ends here."""
        if self.replay is not None:
            self.replay = None
            self._tell()

    def steered(self, busy: bool) -> None:
        """The player's hands: whoever presses a key during a replay takes over."""
        if busy:
            self.take_over()

    def travel(self, command: Rewind | GoToBranch, world: World, player: Player) -> None:
        """Set out for a moment; `redraw` leads there. What cannot be is refused, and nothing changes."""
        timeline = self._timeline
        if timeline is None:
            return
        tip = player if self.redraw is None else None
        try:
            if isinstance(command, Rewind):
                timeline.rewind(command.moment, tip)
            else:
                timeline.enter(command.branch, tip)
        except NoSuchMoment as error:
            self._emit(Refused(self._turn, error))
            return
        self.redraw, self._told = Redraw(world, timeline), 0.0
        self._tell()

    def reach(self, clock: Callable[[], float]) -> tuple[World, Player] | None:
        """Draw a slice of the way; (world, player) at the moment once it is reached."""
        redraw = self.redraw
        assert redraw is not None
        if redraw.slice(clock, self._config.redraw_slice_s):
            self.redraw = None
            self._tell()
            return redraw.world, redraw.player
        if redraw.share - self._told >= TELL_EVERY:
            self._told = redraw.share
            self._tell()
        return None

    # -- telling

    def _tell(self) -> None:
        timeline = self._timeline
        if timeline is None:
            return
        self._emit(
            TimelineChanged(
                turn=self._turn,
                now=timeline.now,
                moments=tuple(sorted(timeline.path.moments)),
                branches=timeline.branches(),
                replay=self.replay.frames if self.replay is not None else None,
                progress=self.redraw.share if self.redraw is not None else None,
            )
        )

    def _notice(self, code: str, message: str) -> None:
        self._emit(Noticed(self._turn, code, message))


def _runs_at(world: World, steps: int) -> bool:
    """Whether the world can draw with that many denoising steps."""
    try:
        world.with_steps(steps)
    except ValueError:
        return False
    return True
