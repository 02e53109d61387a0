"""Who plays, who waits, who watches. One worker draws one live world, so there is one player at a time.

Everything here runs on the event loop, takes its time from the clock it was given, and talks to the worker only through
commands. The line is honest: first come, first served; nobody is promoted while their tab is hidden, and a player whose
tab is hidden for too long while somebody waits goes to the end of it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

from . import announcements, mailbox
from .bitrate import shared_bitrate
from .config import SessionConfig, VideoConfig
from .errors import ServerStopping, SessionFailed, TooManySessions, TurnLost
from .images import StartImage
from .mailbox import (
    Broke,
    Command,
    Drawn,
    Event,
    LogTaken,
    Noticed,
    Refused,
    StepsChanged,
    TimelineChanged,
    WorldReady,
)
from .metrics import Metrics
from .protocol import Hello, Notice, State, Stats, Welcome, WorldChanged, WorldInfo
from .session import Link, Role, Session

logger = logging.getLogger(__name__)


class Lobby:
    """All sessions of the server."""

    def __init__(
        self,
        submit: Callable[[Command], None],
        world: WorldInfo,
        sessions: SessionConfig,
        video: VideoConfig,
        metrics: Metrics,
        clock: Callable[[], float],
        find_image: Callable[[str], StartImage | None] = lambda _: None,
    ) -> None:
        self.submit = submit
        self.world = world
        self.config = sessions
        self.metrics = metrics
        self.clock = clock
        self._find_image = find_image
        self.player: Session | None = None
        self.line: list[Session] = []
        self.sessions: dict[str, Session] = {}
        self._video = video
        self._turn = 0
        self._steps = world.steps
        self._world_message: WorldChanged | None = None
        self._formats = mailbox.WantFormats(h264=False, jpeg=False)
        self._bitrate_bps = video.start_bps
        self._last_frame: Drawn | None = None
        self._next_stats_s = clock()
        self._stopping = False
        self.on_log: Callable[[LogTaken], None] = lambda event: None  # who keeps the logs of walks

    # -- coming and going

    def admit(self, hello: Hello, link: Link) -> Session:
        """A session that is still connecting. Raises TooManySessions or ServerStopping."""
        if self._stopping:
            raise ServerStopping("The server is stopping.")
        if len(self.sessions) >= self.config.max_sessions:
            raise TooManySessions(f"All {self.config.max_sessions} places are taken.")
        session = Session(hello, link)
        self.sessions[session.id] = session
        self._count()
        return session

    def enter(self, session: Session) -> None:
        """The line stands: welcome the user and give them a role."""
        if session.role is not Role.CONNECTING:
            return
        if session.watch:
            session.role = Role.VIEWER
        else:
            free = self.player is None and not any(not other.hidden for other in self.line)
            session.role = Role.PLAYER if free and not session.hidden else Role.QUEUED
        session.link.send(Welcome(session=session.id, role=session.role.value, world=self.world))
        self.ask(session, session.seed, session.prompt, session.image_id)
        if session.role is Role.PLAYER:
            self._give_turn(session)
            return
        if session.role is Role.QUEUED:
            self.line.append(session)
            self._tell_places()
        else:
            self._tell_state(session)
        if self._world_message is not None:
            session.link.send(self._world_message)
        self._audience_changed(joined=session)

    def ask(self, session: Session, seed: int, prompt: str, image_id: str | None) -> None:
        """What the session's next world is to be. Without words, a picture's caption is its prompt; a picture that is
        not here is said, and the world begins without it."""
        image = None if image_id is None else self._find_image(image_id)
        if image_id is not None and image is None:
            session.link.send(announcements.IMAGE_GONE)
        session.seed, session.prompt, session.image = seed, prompt, image
        if image is not None and not prompt.strip():
            session.prompt = image.sight.caption

    def leave(self, session: Session) -> None:
        """The user is gone, from whatever state. Twice is harmless."""
        if session.role is Role.CLOSED:
            return
        was_player = session is self.player
        session.role = Role.CLOSED
        self.sessions.pop(session.id, None)
        if session in self.line:
            self.line.remove(session)
        if was_player:
            self.player = None
            self._next_turn()
        self._tell_places()
        self._audience_changed()

    def stop(self) -> None:
        """The server goes down: say so to everyone."""
        self._stopping = True
        self.player = None
        self.line.clear()  # nobody is promoted any more
        self.submit(mailbox.Stop())
        for session in list(self.sessions.values()):
            session.fail(ServerStopping("The server is stopping."), fatal=True)
            self.leave(session)

    def want_keyframe(self) -> None:
        """Somebody's decoder lost its place."""
        self.submit(mailbox.WantKeyframe())

    # -- visibility

    def hide(self, session: Session) -> None:
        """The tab is hidden; also before the line stands: a tab opened in the background is given no turn."""
        if session.hidden or session.role is Role.CLOSED:
            return
        session.hidden_since_s = self.clock()
        session.link.skip()
        if session is self.player:
            self.submit(mailbox.Hold())
            self._tell_all_states()
        self._audience_changed()

    def unhide(self, session: Session) -> None:
        """The tab is visible again."""
        if not session.hidden:
            return
        session.hidden_since_s = None
        if session is self.player:
            self.submit(mailbox.Continue(session.newest))
            self._tell_all_states()
        elif session.role is Role.VIEWER:
            self._tell_state(session)  # it may have changed behind their back
        elif session.role is Role.QUEUED and self.player is None:
            self._next_turn()
        self._audience_changed(joined=session)

    # -- turns

    def _give_turn(self, session: Session) -> None:
        self.player = session
        session.role = Role.PLAYER
        session.place = None
        self._turn += 1
        self._audience_changed(joined=session)
        self.submit(self._play(session))
        self._tell_all_states()

    def _play(self, session: Session) -> mailbox.Play:
        replay, session.replay = session.replay, ""  # once: a turn that is lost and found again is their own walk
        return mailbox.Play(self._turn, session.seed, session.prompt, session.newest, session.id, replay, session.image)

    def _next_turn(self) -> None:
        following = next((session for session in self.line if not session.hidden), None)
        if following is None:
            self.submit(mailbox.Stop())
            self._tell_all_states()
            return
        self.line.remove(following)
        self._give_turn(following)
        self._tell_places()

    def _end_idle_turn(self, now_s: float) -> None:
        player = self.player
        if player is None or player.hidden_since_s is None:
            return
        waiting = any(not session.hidden for session in self.line)
        if not waiting or now_s - player.hidden_since_s <= self.config.hidden_limit_s:
            return
        self.player = None
        player.role = Role.QUEUED
        self.line.append(player)
        player.fail(TurnLost("Your tab was hidden for a minute while somebody waited."), fatal=False)
        self._next_turn()

    # -- time

    def tick(self) -> None:
        """Look at the time limits; call every `tick_s`."""
        now_s = self.clock()
        self._end_idle_turn(now_s)
        self._adapt_bitrate()
        if now_s >= self._next_stats_s:
            self._next_stats_s = now_s + 1.0
            self._send_stats(now_s)

    def _send_stats(self, now_s: float) -> None:
        recent, last = self.metrics.recent(now_s), self._last_frame
        viewers = sum(session.role is Role.VIEWER for session in self.sessions.values())
        for session in self._watching():
            session.link.send(
                Stats(
                    fps=recent.fps,
                    model_ms=recent.model_ms,
                    decode_ms=recent.decode_ms,
                    encode_ms=recent.encode_ms,
                    engine=self.world.engine,
                    steps=self._steps,
                    bitrate_bps=self._bitrate_bps,
                    viewers=viewers,
                    queue=len(self.line),
                    frame=last.frame if last is not None else 0,
                    seed=self._world_message.seed if self._world_message is not None else 0,
                    dropped=session.link.dropped,
                    drift=last.drift if last is not None else "fine",
                )
            )

    def _adapt_bitrate(self) -> None:
        def rates(sessions: Iterable[Session]) -> list[int]:
            return [s.link.bandwidth_bps for s in sessions if s.link.bandwidth_bps is not None]

        player = rates([self.player]) if self.player is not None else []
        others = rates(session for session in self._watching() if session is not self.player)
        wanted = shared_bitrate(player, others, self._video)
        if wanted != self._bitrate_bps:
            self._bitrate_bps = wanted
            self.submit(mailbox.WantBitrate(wanted))

    # -- events of the worker

    def on_event(self, event: Event) -> None:
        """What the worker has to say. Events of an earlier turn are stale and dropped."""
        if isinstance(event, StepsChanged):
            self._steps = event.steps
            self._broadcast(announcements.steps_changed(event))
        elif isinstance(event, LogTaken):
            self.on_log(event)
        elif event.turn != self._turn:
            return
        elif isinstance(event, Drawn):
            self._last_frame = event
            self.metrics.frame(event, self.clock())
            for session in self._watching():
                session.link.show(event, event.input_id if session is self.player else 0)
        elif isinstance(event, WorldReady):
            self._world_message = announcements.world_changed(event)
            self._broadcast(self._world_message)
        elif isinstance(event, Broke):
            self._turn_broke(event.error)
        elif self.player is not None:
            self._tell_player(self.player, event)

    def _tell_player(self, player: Session, event: TimelineChanged | Noticed | Refused) -> None:
        """What is about their walk and nobody else's."""
        if isinstance(event, TimelineChanged):
            player.link.send(announcements.timeline(event, self.world.fps / self.world.chunk))
        elif isinstance(event, Noticed):
            player.link.send(Notice(code=event.code, message=event.message))
        else:
            player.fail(event.error, fatal=False)

    def _turn_broke(self, error: SessionFailed) -> None:
        session = self.player
        if session is not None:
            session.fail(error, fatal=True)
            self.leave(session)

    # -- telling people

    def _watching(self) -> list[Session]:
        return [session for session in self.sessions.values() if session.present and not session.hidden]

    def _broadcast(self, message: WorldChanged | Notice) -> None:
        for session in self.sessions.values():
            if session.present:
                session.link.send(message)

    def _tell_all_states(self) -> None:
        for session in self.sessions.values():
            if session.role in (Role.PLAYER, Role.VIEWER):
                self._tell_state(session)

    def _tell_state(self, session: Session) -> None:
        if self.player is None:
            session.link.send(State(state="paused", reason="Nobody plays at the moment."))
        elif self.player.hidden:
            mine = session is self.player
            session.link.send(State(state="paused", reason=None if mine else "The player is away for a moment."))
        else:
            session.link.send(State(state="live"))

    def _tell_places(self) -> None:
        for place, session in enumerate(self.line, start=1):
            if session.place != place:
                session.place = place
                session.link.send(State(state="queued", place=place))

    def _audience_changed(self, joined: Session | None = None) -> None:
        codecs = {session.link.codec for session in self._watching()}
        formats = mailbox.WantFormats(h264=bool(codecs & {"rtp", "h264"}), jpeg="jpeg" in codecs)
        if formats != self._formats:
            self._formats = formats
            self.submit(formats)
        if joined is not None and joined.link.codec != "jpeg":
            self.want_keyframe()
        self._count()

    def _count(self) -> None:
        counts = {role.value: 0 for role in Role if role is not Role.CLOSED}
        for session in self.sessions.values():
            counts[session.role.value] += 1
        self.metrics.sessions(counts)
