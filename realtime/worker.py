"""The one thread that runs the model. It owns Player, inputs and encoder; the event loop never waits for it.

Commands come in through a queue and are read at the last moment before a frame is drawn; events go out through one
callback, which the server points at `loop.call_soon_threadsafe`. `turn(now)` does whatever is due and says when it
wants to be called again: the tests call it on a virtual clock, the thread calls it on the real one.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace

from ..worlds.core import Action, Frame, Player, World
from . import pacing, stamp
from .archive import Archive
from .config import ServerConfig
from .encoder import H264Encoder, encode_jpeg
from .errors import SessionFailed
from .images import StartImage
from .inputs import InputState
from .mailbox import (
    Broke,
    Command,
    Continue,
    Drawn,
    Event,
    GoToBranch,
    Hold,
    LogTaken,
    Noticed,
    Play,
    Renew,
    Rewind,
    Say,
    Steer,
    StepsChanged,
    Stop,
    TakeLog,
    TakeOver,
    WantBitrate,
    WantFormats,
    WantKeyframe,
    WorldReady,
)
from .protocol import MAX_U32
from .redraw import at_steps
from .walk import BeganFrom, Walk

logger = logging.getLogger(__name__)


class Worker:
    """Whose turn it is, and the next frame of it."""

    def __init__(
        self, world: World, config: ServerConfig, clock: Callable[[], float], archive: Archive | None = None
    ) -> None:
        self._config = config
        self._clock = clock
        self._commands: queue.SimpleQueue[Command | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self.emit: Callable[[Event], None] = lambda event: None

        self._world = world
        self._player: Player = world.rollout()
        self._encoder = H264Encoder(config.video, world.width_px, world.height_px, world.fps)
        self._inputs = InputState(config.inputs, world.max_step_m, world.max_turn_rad, world.frames_per_step)
        self._ladder = pacing.ladder(_rungs(world), config.pacing)
        self._formats = WantFormats(h264=False, jpeg=False)
        self._walk = Walk(config.timeline, archive, lambda event: self.emit(event))
        self._period_s = world.frames_per_step / world.fps

        self._turn = 0
        self._playing = False
        self._held = False
        self._seed = 0
        self._image: BeganFrom | None = None  # that the world began from
        self._prompt: str | None = None  # set where the next action must carry it
        self._slot: pacing.Slot | None = None  # of the frame drawn last; None starts a new grid
        self._picture = 0
        self._scene = 0  # counts cuts: what follows one displaces what was drawn before it

    # -- the thread

    def submit(self, command: Command) -> None:
        """From any thread; never blocks."""
        self._commands.put(command)

    def start(self, emit: Callable[[Event], None]) -> Future[None]:
        """Warm up, then serve, on a thread of its own. The result is set when it is warm, or why it cannot be."""
        self.emit = emit
        ready: Future[None] = Future()
        self._thread = threading.Thread(target=self._live, args=(ready,), name="worldstream-worker", daemon=True)
        self._thread.start()
        return ready

    def stop(self, timeout_s: float = 10.0) -> None:
        """Ends the thread after the frame it is drawing."""
        if self._thread is not None:
            self._commands.put(None)
            self._thread.join(timeout_s)
            self._thread = None

    def _live(self, ready: Future[None]) -> None:
        try:
            self._warm_up()  # here, because OpenMP's threads belong to the thread that first asked for them
        except Exception as error:
            ready.set_exception(error)
            return
        ready.set_result(None)
        self._run()

    def _warm_up(self, frames: int = 3) -> None:
        """Draw and encode a little, so that the first visitor does not pay for lazy set-up."""
        self._player.reset(0, "")
        for _ in range(frames):
            for frame in self._player.step(Action()):
                self._encoder.encode(frame.rgb, self._clock())
                encode_jpeg(frame.rgb, self._config.video.jpeg_quality)

    def _run(self) -> None:
        wait_s: float | None = 0.0
        while True:
            try:
                command = self._commands.get(timeout=wait_s) if wait_s != 0.0 else self._commands.get_nowait()
            except queue.Empty:
                pass
            else:
                if command is None:
                    return
                self._attempt(command)
            wait_s = self.turn(self._clock())

    # -- one turn

    def turn(self, now_s: float) -> float | None:
        """Do what is due. Returns seconds until the next frame is due; None: nothing is, until a command comes."""
        self._drain()
        if not self._playing or self._held:
            return None
        if self._walk.redraw is not None:
            self._guarded(self._reach)
            return 0.0
        slot = pacing.first_slot(now_s) if self._slot is None else pacing.next_slot(self._slot, self._period_s, now_s)
        if slot.start_s <= now_s:
            self._slot = slot
            self._guarded(lambda: self._draw(slot, now_s))
            return 0.0
        return slot.start_s - now_s

    def _drain(self) -> None:
        """Obey what has come in. Of several new worlds or prompts only the last is made: a client that asks for a
        thousand a second holds up nobody else."""
        commands: list[Command] = []
        for _ in range(self._commands.qsize()):
            command = self._commands.get_nowait()  # nobody else takes
            if command is None:  # `stop`: leave it for the loop
                self._commands.put(None)
                break
            commands.append(command)
        last = {type(command): command for command in commands}
        for command in commands:
            if not isinstance(command, Renew | Say | Rewind | GoToBranch) or command is last[type(command)]:
                self._attempt(command)

    def _attempt(self, command: Command) -> None:
        self._guarded(lambda: self._obey(command))

    def _guarded(self, action: Callable[[], None]) -> None:
        """One session's trouble ends that session, never the thread."""
        try:
            action()
        except Exception:
            error = SessionFailed("The world model failed on this session.")
            logger.exception("session failed, id %s", error.id)
            self._playing = False
            self._slot = None
            self._walk.finish()
            self._player = self._world.rollout()  # the old one's state cannot be trusted
            self.emit(Broke(self._turn, error))

    def _obey(self, command: Command) -> None:
        match command:
            case Steer(message, arrived_s):
                self._inputs.receive(message, arrived_s)
                self._walk.steered(self._inputs.busy)
            case Play(turn, seed, prompt, baseline, session, replay, image):
                self._walk.finish()
                self._turn, self._playing, self._held = turn, True, False
                self._inputs.begin(baseline)
                self._encoder.request_keyframe(at_once=True)
                self._reset(*self._walk.open(turn, session, replay, self._world, (seed, prompt, image)))
            case Renew(seed, prompt, image):
                self._walk.replay = None
                self._reset(seed, prompt, image)
            case Rewind() | GoToBranch() | TakeOver():
                self._go_elsewhere(command)
            case TakeLog(ticket):
                self.emit(LogTaken(ticket, self._walk.log()))
            case Say(prompt):
                self._say(prompt)
            case Stop():
                self._playing, self._slot = False, None
                self._walk.finish()
            case Hold():
                self._held, self._slot = True, None
            case Continue(baseline):
                self._held, self._slot = False, None
                self._inputs.begin(baseline)
                self._encoder.request_keyframe()
            case WantKeyframe():
                self._encoder.request_keyframe()
            case WantBitrate(bps):
                self._encoder.set_bitrate(bps)
            case WantFormats(h264, _):
                if h264 and not self._formats.h264:
                    self._encoder.request_keyframe(at_once=True)  # nobody has seen the last one
                self._formats = command

    def _say(self, prompt: str) -> None:
        if "words" not in self._world.controls:
            self.emit(Noticed(self._turn, "no_words", f"{self._world.name} takes no new words on the way."))
            return
        self._walk.take_over()
        self._prompt = prompt
        self._announce(prompt)

    def _go_elsewhere(self, command: Rewind | GoToBranch | TakeOver) -> None:
        self._walk.take_over()
        if self._playing and not isinstance(command, TakeOver):
            self._prompt = None  # it was for the way that is left
            self._walk.travel(command, self._world, self._player)

    def _reset(self, seed: int, prompt: str, image: BeganFrom | None) -> None:
        self._seed, self._image, self._prompt, self._slot = seed, image, None, None
        self._scene += 1
        self._world, self._player = at_steps(self._world, self._player, self._ladder.steps)
        self._player.reset(seed, prompt, None if image is None else image.rgb)
        self._encoder.request_keyframe()
        self._announce(prompt)
        self._walk.begin(self._world, seed, prompt, image)

    def _announce(self, prompt: str) -> None:
        image = self._image if isinstance(self._image, StartImage) else None
        self.emit(WorldReady(self._turn, self._seed, prompt, self._world.understood(prompt), image))

    def _draw(self, slot: pacing.Slot, start_s: float) -> None:
        recorded = self._walk.replayed(self._world)
        if recorded is not None:
            action, fresh = recorded[0], False
            self._world, self._player = at_steps(self._world, self._player, recorded[1])
            if action.prompt is not None:
                self._announce(action.prompt)
        else:
            self._world, self._player = at_steps(self._world, self._player, self._ladder.steps)
            action, fresh = self._inputs.compose()
        if self._prompt is not None:
            action, self._prompt = replace(action, prompt=self._prompt), None
        since_s = action.input_time_s if fresh else start_s
        for frame in self._player.step(action):
            self._publish(frame, since_s, fresh, slot)
            fresh = False
        self._walk.record(action, self._world.steps, self._player)
        if recorded is None:  # a replay keeps to the steps of its log
            now_s = self._clock()
            self._climb(now_s - start_s, now_s)

    def _reach(self) -> None:
        """Draw a little on the way to a moment; from there the player walks on."""
        reached = self._walk.reach(self._clock)
        if reached is not None:
            self._world, self._player = reached
            self._slot = None
            self._scene += 1
            self._encoder.request_keyframe()
            self._announce(self._walk.prompt if self._prompt is None else self._prompt)

    def _publish(self, frame: Frame, since_s: float, fresh: bool, slot: pacing.Slot) -> None:
        self._picture = (self._picture + 1) & MAX_U32
        rgb = stamp.draw(frame.rgb, self._picture, frame.input_id) if self._config.stamp else frame.rgb
        before_s = self._clock()
        planes = None if self._config.stamp else frame.i420
        h264 = self._encoder.encode(rgb, before_s, planes) if self._formats.h264 else None
        jpeg = encode_jpeg(rgb, self._config.video.jpeg_quality) if self._formats.jpeg else None
        now_s = self._clock()
        self.emit(
            Drawn(
                turn=self._turn,
                frame=self._picture,
                input_id=frame.input_id,
                media_time_s=frame.media_time_s + self._walk.lost_s,
                server_ms=max(0.0, (now_s - since_s) * 1e3),
                fresh=fresh,
                h264=h264,
                jpeg=jpeg,
                stages_ms={**frame.stages_ms, "encode": (now_s - before_s) * 1e3},
                skipped=slot.skipped,
                steps=self._world.steps,
                bitrate_bps=self._encoder.bitrate_bps,
                drift=frame.drift,
                reanchored=frame.reanchored,
                scene=self._scene,
            )
        )

    def _climb(self, busy_s: float, now_s: float) -> None:
        """Move on the speed ladder where it is time."""
        before = self._ladder.steps
        self._ladder = pacing.observe(self._ladder, busy_s, self._period_s, now_s, self._config.pacing)
        if self._ladder.steps == before:
            return
        self._world, self._player = at_steps(self._world, self._player, self._ladder.steps)
        self.emit(StepsChanged(self._ladder.steps, lower=self._ladder.steps < before))


def _rungs(world: World) -> tuple[int, ...]:
    """The numbers of steps up to the world's own that it was trained for, fewest first."""

    def runs_at(steps: int) -> bool:
        try:
            world.with_steps(steps)
        except ValueError:
            return False
        return True

    return (*(steps for steps in range(1, world.steps) if runs_at(steps)), world.steps)
