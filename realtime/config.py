"""Every setting of the server: frozen, with its default and the reason for it.

Three sources, the later wins: the defaults here, `WORLDSTREAM_*` environment variables, command-line flags.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib import metadata
from pathlib import Path

from ..worlds.options import DECODERS, ENGINES, PRECISIONS
from .errors import StartupError

LOG_LEVELS = ("debug", "info", "warning", "error")
_OF_TASKS = {  # flags and environment variables that are settings of TaskConfig
    "task_processes": "heavy",
    "keep_outputs": "keep_outputs_days",
    "webhooks_private": "webhooks_private",
}
_OF_LIMITS = {"credits": "credits", "monthly_cap": "monthly_cap", "daily_generations": "daily"}


@dataclass(frozen=True, slots=True)
class InputConfig:
    """How far keys move, per frame. The world's own limits clip on top of these."""

    walk_m: float = 0.30  # the pace the training walkers kept; faster ones leave the data
    turn_rad: float = math.radians(3.0)  # 72°/s at 24 fps: brisk, and an eighth of a turn per half second
    look_rad: float = math.radians(2.0)  # up and down is the smaller range
    carry_frames: float = 4.0  # a flick of the mouse is finished within 4 frames; what is more is forgotten


@dataclass(frozen=True, slots=True)
class VideoConfig:
    """H.264 and JPEG."""

    start_bps: int = 1_500_000  # 320x192 at 24 fps looks clean from the first second
    floor_bps: int = 180_000  # below aiortc's 500 kb/s, under which slow links never showed a frame
    ceiling_bps: int = 4_000_000  # above it the picture no longer gets better
    viewer_floor_bps: int = 500_000  # a slow onlooker may not spoil the player's picture below this
    buffer_bits: int = 240_000  # the rate control's bucket: bounds a key frame to about 26 kB
    keyframe_gap_s: float = 0.3  # requests in between share one key frame; a storm of them would starve the link
    keyframe_spread_s: float = 0.020  # a key frame leaves over this long, so that a narrow queue does not overflow
    queue_frames: int = 8  # a third of a second; a viewer who is further behind jumps to the next key frame
    jpeg_quality: int = 80  # 22 kB at 320x192 in 0.2 ms


@dataclass(frozen=True, slots=True)
class PacingConfig:
    """The speed ladder: fewer denoising steps when the machine cannot keep up, more when it can."""

    window_s: float = 2.0  # judge over this long, so that one hiccup changes nothing
    late_load: float = 0.97  # share of the frame period that drawing may use before it counts as late
    headroom_load: float = 0.70  # step up only where the costlier rung would stay under this
    patience_s: float = 8.0  # headroom must last this long; doubles each time a step up was taken back
    max_patience_s: float = 120.0


@dataclass(frozen=True, slots=True)
class SessionConfig:
    """Who may come in, and for how long."""

    max_sessions: int = 32  # 16 viewers saturate one event loop; the rest can still wait in line
    hello_timeout_s: float = 5.0  # docs/protocol.md
    hidden_limit_s: float = 60.0  # docs/protocol.md
    connect_timeout_s: float = 15.0  # ICE and DTLS take 0.2 s here and a few seconds on bad links
    silence_limit_s: float = 10.0  # browsers send RTCP every second; ICE alone notices a loss only after 30 s
    max_malformed: int = 10  # docs/protocol.md
    tick_s: float = 0.25  # how often the time limits are looked at


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """The pictures that worlds may start from, in memory. Sizes of a file are in worlds/first_image.py."""

    max_kept: int = 64  # the oldest goes first
    max_kept_bytes: int = 32 * 2**20  # at 256x160 a picture takes 123 kB
    keep_s: float = 3600.0  # long enough to wait in line and to reconnect
    max_uploads: int = 4  # at once: bounds the memory that files take while they arrive
    upload_timeout_s: float = 60.0  # 24 MiB at 3.4 Mb/s
    decode_timeout_s: float = 20.0  # the largest take 3 s on a busy core


@dataclass(frozen=True, slots=True)
class TimelineConfig:
    """What is kept of walks, so that one can go back, and come back."""

    every_s: float = 1.0  # between snapshots while there is room; a second is drawn again in about half of one
    snapshot_bytes: int = 256 * 2**20  # some 85 snapshots of the shipped world: the last minute, then ever thinner
    branches: int = 8  # ways that were left; more would not be found again
    log_bytes: int = 32 * 2**20  # of one walk: four hours of ordinary walking; all branches together twice that
    redraw_slice_s: float = 0.03  # the worker listens in between
    archive_bytes: int = 256 * 2**20  # on disk, of all kept logs
    archive_logs: int = 2000  # so that a folder of tiny ones stays quick to look through
    archive_days: float = 7.0


@dataclass(frozen=True, slots=True)
class TaskConfig:
    """Offline tasks: clips, edits, sounds."""

    heavy: int = 1  # processes that hold a model: each takes its memory, and all cores while it works
    light: int = 1  # processes for quick work, so that a sound never waits for a film
    per_model: int = 2  # tasks of one model that have a place at once; more are THROTTLED
    models: Mapping[str, int] = field(default_factory=dict)  # places of single models, by the client's name
    attempts: int = 3  # at a task that fails by our fault
    backoff_s: float = 1.0  # before the second attempt; four times as long before each further one
    lease_s: float = 15.0  # a server that is silent for so long is dead, and another takes its tasks
    heartbeat_s: float = 3.0  # several may be missed
    poll_s: float = 1.0  # how soon another server's tasks and changes are seen; our own at once
    progress_gap_s: float = 0.25  # progress is written at most so often; whoever watches hears at once
    cancel_grace_s: float = 5.0  # a chunk takes 0.2 s; a job that does not hear is ended with its process
    limit_s: float = 3600.0  # of one attempt: 180 s of film at a twentieth of real time
    retry_window_s: float = 600.0  # a client's second try of one request is known as such for so long
    keep_outputs_days: float | None = None  # None: for ever
    sweep_s: float = 3600.0  # how often it is looked for outputs that are too old
    webhooks_private: bool = False  # may webhooks go to private addresses

    def __post_init__(self) -> None:
        if not 0 <= self.heavy <= 64:
            raise StartupError(
                f"there may be 0 to 64 task processes, got {self.heavy}; 0 leaves tasks to other servers"
            )
        if self.keep_outputs_days is not None and not 0.0 < self.keep_outputs_days < 1e5:
            raise StartupError(f"outputs are kept for more than 0 days, got {self.keep_outputs_days:g}")


@dataclass(frozen=True, slots=True)
class LimitsConfig:
    """What clients may use. All off: a machine of one's own has no credits to buy."""

    credits: bool = False  # True: only what `worldstream keys grant` gave
    monthly_cap: int | None = None  # credits in a calendar month, UTC, of all keys together
    daily: Mapping[str, int] = field(default_factory=dict)  # generations of a model in 24 hours; "*": of any other


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """All of it."""

    host: str = "127.0.0.1"  # loopback: nobody else reaches a fresh install
    port: int = 8800
    data: Path = field(default_factory=lambda: Path.home() / ".local" / "share" / "worldstream")
    world: str = ""  # empty: the catalogue's default
    engine: str = "auto"
    steps: int | None = None  # None: as the world was trained for
    size: str = ""  # of an open checkpoint's picture, e.g. 832x480; empty: the checkpoint's own
    window: int | None = None  # latent frames that an open checkpoint attends to; None: its own
    precision: str = "auto"  # of an open checkpoint's weights
    decoder: str = "auto"  # of an open checkpoint's pictures
    lora: tuple[Path, ...] = ()  # files that an open checkpoint's words can ask for
    stamp: bool = False  # barcode for the latency benchmark
    log_level: str = "info"
    origins: tuple[str, ...] = ()  # other sites whose pages may connect, e.g. https://example.org
    inputs: InputConfig = InputConfig()
    video: VideoConfig = VideoConfig()
    pacing: PacingConfig = PacingConfig()
    database: str = ""  # URL of the database of tasks; empty: SQLite in the data folder, which one server needs no more
    blobs: str = ""  # s3://bucket/prefix for what tasks make; empty: the data folder
    public_url: str = ""  # how clients reach this server, e.g. https://worlds.example.org; empty: as they asked
    local_http: bool = False  # may media also be named by http and private addresses: for tests and closed networks
    webhook_secret: str = ""  # whsec_… that webhooks are signed with; empty: one made at the first start
    sessions: SessionConfig = SessionConfig()
    images: ImageConfig = ImageConfig()
    timeline: TimelineConfig = TimelineConfig()
    tasks: TaskConfig = TaskConfig()
    limits: LimitsConfig = LimitsConfig()

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise StartupError(f"the port must be from 0 to 65535, got {self.port}")
        if self.steps is not None and not 1 <= self.steps <= 64:
            raise StartupError(f"steps must be from 1 to 64, got {self.steps}")
        if self.engine not in ENGINES:
            raise StartupError(f"the engine must be one of {', '.join(ENGINES)}, got {self.engine!r}")
        if self.size and not re.fullmatch(r"[1-9]\d{1,4}x[1-9]\d{1,4}", self.size):
            raise StartupError(f"the size must be like 832x480, got {self.size!r}")
        if self.window is not None and not 1 <= self.window <= 1024:
            raise StartupError(f"the window must be from 1 to 1024 latent frames, got {self.window}")
        for name, known in (("precision", PRECISIONS), ("decoder", DECODERS)):
            if getattr(self, name) not in known:
                raise StartupError(f"the {name} must be one of {', '.join(known)}, got {getattr(self, name)!r}")
        if self.public_url and not re.fullmatch(r"https?://[^\s/?#@]+(/[^\s?#]*[^\s?#/])?", self.public_url):
            raise StartupError(f"the public URL must be like https://worlds.example.org, got {self.public_url!r}")
        if self.log_level not in LOG_LEVELS:
            raise StartupError(f"the log level must be one of {', '.join(LOG_LEVELS)}, got {self.log_level!r}")


def version() -> str:
    """Of the installed package; "0" in a bare checkout."""
    try:
        return metadata.version("worldstream")
    except metadata.PackageNotFoundError:
        return "0"


def from_environment(environment: Mapping[str, str] = os.environ) -> ServerConfig:
    """Defaults overridden by `WORLDSTREAM_HOST`, `_PORT`, `_DATA`, `_WORLD`, `_ENGINE`, `_STEPS`, `_SIZE`, `_WINDOW`,
    `_PRECISION`, `_DECODER`, `_STAMP`, `_LOG_LEVEL`, `_ORIGINS` (comma separated), `_DATABASE`, `_BLOBS`,
    `_PUBLIC_URL`, `_LOCAL_HTTP`, `_TASK_PROCESSES`, `_KEEP_OUTPUTS`, `_WEBHOOK_SECRET`, `_WEBHOOKS_PRIVATE`,
    `_CREDITS`, `_MONTHLY_CAP`, `_DAILY_GENERATIONS` (model=number, comma separated). Raises StartupError
    that names the variable."""
    changes: dict[str, object] = {}
    for name in (
        "host", "port", "data", "world", "engine", "steps", "size", "window", "precision", "decoder", "stamp",
        "log_level", "origins", "database", "blobs", "public_url", "webhook_secret", "local_http",
        *_OF_TASKS, *_OF_LIMITS,
    ):  # fmt: skip
        raw = environment.get(f"WORLDSTREAM_{name.upper()}", "")
        if not raw:
            continue
        try:
            changes[name] = _parse(name, raw)
        except ValueError as error:
            raise StartupError(f"WORLDSTREAM_{name.upper()}={raw!r}: {error}") from None
    return override(ServerConfig(), changes)


def override(config: ServerConfig, changes: Mapping[str, object]) -> ServerConfig:
    """`config` with every value of `changes` that is not None. Raises StartupError."""
    given = {name: value for name, value in changes.items() if value is not None}
    for part, names in (("tasks", _OF_TASKS), ("limits", _OF_LIMITS)):
        inner = {names[name]: given.pop(name) for name in list(given) if name in names}
        if inner:
            given[part] = replace(getattr(config, part), **inner)
    if "public_url" in given:
        given["public_url"] = str(given["public_url"]).rstrip("/")
    return replace(config, **given)  # type: ignore[arg-type]  # __post_init__ checks the values


def _parse(name: str, raw: str) -> object:
    if name in ("port", "steps", "window", "task_processes", "monthly_cap"):
        if not raw.isdecimal():
            raise ValueError("must be a whole number")
        return int(raw)
    if name == "data":
        return Path(raw).expanduser()
    if name == "keep_outputs":
        return float(raw)
    if name == "daily_generations":
        pairs = [part.strip().rpartition("=") for part in raw.split(",") if part.strip()]
        if not all(model and count.isdecimal() for model, _, count in pairs):
            raise ValueError("must be like gen4.5=50,*=200")
        return {model: int(count) for model, _, count in pairs}
    if name in ("stamp", "webhooks_private", "credits", "local_http"):
        if raw.lower() not in ("0", "1", "true", "false"):
            raise ValueError("must be 0 or 1")
        return raw.lower() in ("1", "true")
    if name == "origins":
        return tuple(part.strip().rstrip("/") for part in raw.split(",") if part.strip())
    return raw
