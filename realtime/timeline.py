"""Where a walk has been: its log, kept moments to go back to, and the ways that were left.

A *moment* n is the world after n steps of the walk, of one frame each in most worlds; moment 0 is the fresh world.
Snapshots of some moments are kept, within a budget of bytes: one a second while there is room, then thinner the
longer ago, as (age + one minute), so that any exact moment is the nearest snapshot and a few frames drawn again.
Whoever goes back leaves a *branch*: the way that was gone until then, which can be returned to at its end at once,
because the snapshot of its end is kept as long as it is. Owned by the worker thread.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from ..worlds.action_log import LogHeader
from ..worlds.core import Action, Player
from ..worlds.footprint import Held, footprint
from .config import TimelineConfig
from .errors import NoSuchMoment
from .protocol import Branch
from .recording import Recording

DENSE_S = 60.0  # the newest minute is kept as dense as the budget allows


@dataclass(frozen=True, slots=True)
class Snapshot:
    state: Any  # of the player: opaque
    serial: int  # no other snapshot of the timeline has it, or had it
    parts: dict[int, int]  # bytes of what it keeps alive, see worlds/footprint.py


@dataclass(slots=True)
class Path:
    """One way through the world, from its first frame on."""

    recording: Recording
    lineage: list[tuple[int, int]]  # (id of a stretch, the moment where it ends); the last one is this path's own
    moments: dict[int, Snapshot] = field(default_factory=dict)
    touched: bool = False  # somebody did something on the last stretch: worth keeping

    @property
    def id(self) -> int:
        return self.lineage[-1][0]

    @property
    def end(self) -> int:
        return len(self.recording)

    def stretches(self) -> list[tuple[int, int]]:
        """The lineage with the last stretch's end as it is now."""
        return [*self.lineage[:-1], (self.id, self.end)]

    def common(self, other: Path) -> int:
        """The last moment that both paths went through."""
        shared = 0
        for (a, a_end), (b, b_end) in zip(self.stretches(), other.stretches(), strict=False):
            if a != b:
                break
            shared = min(a_end, b_end)
            if a_end != b_end:
                break
        return shared


class Timeline:
    """The current path and those that were left."""

    def __init__(self, header: LogHeader, config: TimelineConfig, rate: float | None = None) -> None:
        """`rate` is how many moments pass in a second: the frame rate, where a step draws one frame."""
        rate = header.fps if rate is None else rate
        self._config = config
        self._every = max(1, round(config.every_s * rate))
        self._dense = DENSE_S * rate
        self._next_id = 1
        self.path = Path(Recording(header, config.log_bytes), [(0, 0)])
        self.left: list[Path] = []  # oldest first
        self._counted = Held()
        self._serials = count()
        self.unrecorded = 0  # frames drawn after the log was full
        self.lost = 0  # frames by which media time is ahead of the path's own: it never goes back

    @property
    def now(self) -> int:
        """The newest moment of the current path."""
        return self.path.end

    def record(self, action: Action, steps: int, player: Player) -> bool:
        """A frame was drawn. True where a moment was kept or the log became full: worth telling the page."""
        recording = self.path.recording
        if recording.full:
            self.unrecorded += 1
            return False
        recording.add(action, steps)
        self.path.touched |= action.prompt is not None or any(
            (action.right_m, action.up_m, action.forward_m, action.yaw_rad, action.pitch_rad)
        )
        if self.now % self._every == 0:
            self._keep(player)
            return True
        return recording.full

    def rewind(self, moment: int, tip: Player | None) -> None:
        """Make the path end at `moment`; what it was becomes a branch where somebody did something on it.

        `tip` is the player if it stands at `now`, None while a moment is being reached. Raises NoSuchMoment.
        """
        if not 0 <= moment <= self.now:
            raise NoSuchMoment(f"This walk has the moments 0 to {self.now}; {moment} is not one of them.")
        if moment == self.now:
            self.lost, self.unrecorded = self.lost + self.unrecorded, 0
            return
        old = self.path
        lineage = [stretch for stretch in old.stretches() if stretch[1] < moment]
        through = next((id for id, end in old.stretches() if end >= moment), None)
        lineage += [] if through is None or moment == 0 else [(through, moment)]
        kept = {at: snapshot for at, snapshot in old.moments.items() if at <= moment}
        self._leave(tip, moment)
        self.path = Path(old.recording.cut(moment), [*lineage, (self._next_id, moment)], kept)
        self._next_id += 1
        self._bound()

    def enter(self, branch: int, tip: Player | None) -> None:
        """Go to the end of a way that was left. Raises NoSuchMoment."""
        found = next((path for path in self.left if path.id == branch), None)
        if found is None:
            ids = ", ".join(str(path.id) for path in self.left) or "none"
            raise NoSuchMoment(f"This walk has the branches {ids}; {branch} is not one of them.")
        self.left.remove(found)
        self._leave(tip, found.end)
        self.path = found
        self._bound(arriving=True)  # at its end, whose snapshot is needed now

    def nearest(self) -> tuple[int, Any]:
        """(moment, state) of the newest snapshot on the path; (0, None) where only a reset leads there."""
        at = max(self.path.moments, default=0)
        return at, self.path.moments[at].state if at else None

    def branches(self) -> tuple[Branch, ...]:
        return tuple(Branch(path.id, path.common(self.path), path.end) for path in self.left)

    # -- what is kept

    def _keep(self, player: Player) -> None:
        state = player.snapshot()
        self.path.moments[self.now] = Snapshot(state, next(self._serials), footprint(state))
        self._bound()

    def _leave(self, tip: Player | None, to: int) -> None:
        """The current path becomes a branch, unless nothing was done on it."""
        path = self.path
        self.lost += path.end + self.unrecorded - to
        if path.touched and path.end > (path.lineage[-2][1] if len(path.lineage) > 1 else 0):
            if tip is not None and not self.unrecorded and path.end not in path.moments:
                state = tip.snapshot()
                path.moments[path.end] = Snapshot(state, next(self._serials), footprint(state))
            self.left.append(path)
        self.unrecorded = 0

    def _bound(self, arriving: bool = False) -> None:
        """Keep the budgets: branches by number and by the bytes of their logs, snapshots by theirs."""
        while len(self.left) > self._config.branches or (self.left and self._log_bytes() > 2 * self._config.log_bytes):
            del self.left[0]
        while self._held_bytes() > self._config.snapshot_bytes:
            if not self._thin(arriving):
                if not self.left:
                    return
                del self.left[0]

    def _held_bytes(self) -> int:
        """Of all kept snapshots together: they share most of the places that they remember."""
        self._counted.keep_only({item.serial: item.parts for item in self._held().values()})
        return self._counted.bytes

    def _log_bytes(self) -> int:
        return sum(path.recording.size_bytes for path in (self.path, *self.left))

    def _held(self) -> dict[int, Snapshot]:
        """Every kept snapshot once; paths share those before they part."""
        return {id(item): item for path in (self.path, *self.left) for item in path.moments.values()}

    def _thin(self, arriving: bool) -> bool:
        """Let the snapshot go that is missed least. False where only the ends of branches are left."""
        kept = (self.path, *self.left) if arriving else self.left
        ends = {id(path.moments.get(path.end)) for path in kept}
        ours = {id(item) for item in self.path.moments.values()}
        for path in self.left:  # first what only a branch leads to, the longest left first
            for item in path.moments.values():
                if id(item) not in ends | ours:
                    return self._forget(item)
        found = min(((cost, at) for cost, at in self._costs() if id(self.path.moments[at]) not in ends), default=None)
        return found is not None and self._forget(self.path.moments[found[1]])

    def _costs(self) -> Iterator[tuple[float, int]]:
        """(how much each moment of the path is missed, moment): the gap it would leave, by its age."""
        kept = sorted(self.path.moments)
        for before, at, after in zip([0, *kept], kept, [*kept[1:], self.now], strict=False):
            yield (after - before) / (self.now - at + self._dense), at

    def _forget(self, snapshot: Snapshot) -> bool:
        for path in (self.path, *self.left):
            for at in [at for at, item in path.moments.items() if item is snapshot]:
                del path.moments[at]
        return True
