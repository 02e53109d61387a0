"""Where the time goes: per-stage times, action-to-photon, and counts; as Prometheus text and as the `stats` message.

The registry belongs to the object, not to the process, so that tests and a second server see only their own numbers.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from .mailbox import Drawn

_STAGE_BUCKETS_S = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.015, 0.02, 0.03, 0.04, 0.06, 0.1, 0.2, 0.5)
_LATENCY_BUCKETS_S = (0.02, 0.04, 0.06, 0.08, 0.1, 0.125, 0.15, 0.2, 0.3, 0.5, 1.0, 2.0)


@dataclass(frozen=True, slots=True)
class Recent:
    """Means over the last second."""

    fps: float
    model_ms: float  # everything of a frame that is neither decode nor encode
    decode_ms: float
    encode_ms: float


class Metrics:
    """Counts everything once. Used on the event loop only."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._stage = Histogram(
            "worldstream_stage_seconds",
            "Time per frame and stage",
            ["stage"],
            buckets=_STAGE_BUCKETS_S,
            registry=self.registry,
        )
        self._server = Histogram(
            "worldstream_server_seconds",
            "From the arrival of an input to the encoded frame that answers it",
            buckets=_LATENCY_BUCKETS_S,
            registry=self.registry,
        )
        self._photon = Histogram(
            "worldstream_action_to_photon_seconds",
            "From an input to the picture on the screen, as the page measured it",
            buckets=_LATENCY_BUCKETS_S,
            registry=self.registry,
        )
        self._frames = Counter("worldstream_frames", "Frames drawn", registry=self.registry)
        self._skipped = Counter("worldstream_frames_skipped", "Frames not drawn: late", registry=self.registry)
        self._stale = Counter("worldstream_inputs_stale", "Inputs dropped: out of order", registry=self.registry)
        self._malformed = Counter("worldstream_messages_malformed", "Messages refused", registry=self.registry)
        self._sessions = Gauge("worldstream_sessions", "Connected users by role", ["role"], registry=self.registry)
        self._bitrate = Gauge("worldstream_video_bitrate_bps", "Target of the H.264 encoder", registry=self.registry)
        self._steps = Gauge("worldstream_steps", "Denoising steps per frame", registry=self.registry)
        self._reanchored = Counter(
            "worldstream_reanchorings", "Walks brought back to the world that was asked for", registry=self.registry
        )
        self._strayed = Counter(
            "worldstream_frames_strayed", "Frames of walks that had strayed", registry=self.registry
        )
        self._brought_back = 0  # of the walk that is drawn now
        self._window: deque[tuple[float, dict[str, float]]] = deque()

    def frame(self, drawn: Drawn, now_s: float) -> None:
        """A picture was drawn."""
        self._frames.inc()
        self._skipped.inc(drawn.skipped)
        if drawn.fresh:
            self._server.observe(drawn.server_ms / 1e3)
        self._bitrate.set(drawn.bitrate_bps)
        self._steps.set(drawn.steps)
        self._strayed.inc(drawn.drift != "fine")
        self._reanchored.inc(max(0, drawn.reanchored - self._brought_back))
        self._brought_back = drawn.reanchored
        for stage, value_ms in drawn.stages_ms.items():
            self._stage.labels(stage).observe(value_ms / 1e3)
        self._window.append((now_s, drawn.stages_ms))

    def photon(self, latency_ms: float) -> None:
        """A page says how long an input took to the screen."""
        self._photon.observe(latency_ms / 1e3)

    def stale_input(self) -> None:
        self._stale.inc()

    def malformed_message(self) -> None:
        self._malformed.inc()

    def sessions(self, counts: dict[str, int]) -> None:
        """How many users there are in each role."""
        for role, count in counts.items():
            self._sessions.labels(role).set(count)

    def recent(self, now_s: float) -> Recent:
        """Means over the second before `now_s`; zeros where nothing was drawn."""
        while self._window and self._window[0][0] <= now_s - 1.0:
            self._window.popleft()
        count = max(len(self._window), 1)
        totals: dict[str, float] = {}
        for _, stages_ms in self._window:
            for stage, value_ms in stages_ms.items():
                totals[stage] = totals.get(stage, 0.0) + value_ms / count
        decode_ms, encode_ms = totals.pop("decode", 0.0), totals.pop("encode", 0.0)
        return Recent(float(len(self._window)), sum(totals.values()), decode_ms, encode_ms)

    def text(self) -> bytes:
        """The Prometheus exposition format, version 0.0.4."""
        return generate_latest(self.registry)
