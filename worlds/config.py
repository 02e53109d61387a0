"""What differs between one world model and the next, as data. The engine itself is the same for all of them."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields, replace
from itertools import pairwise
from typing import Any

from .autoencoder import CELL_PX, UPSCALE, AutoencoderConfig

# Noise levels visited when a frame is drawn, crowded towards pure noise: that is where unseen places are invented.
STEPS_8 = (1.0, 0.95, 0.88, 0.8, 0.7, 0.55, 0.35, 0.15)
STEPS_16 = (1.0, 0.98, 0.95, 0.92, 0.88, 0.84, 0.8, 0.75, 0.7, 0.63, 0.55, 0.45, 0.35, 0.25, 0.15, 0.07)
STEPS_4 = (1.0, 0.88, 0.7, 0.35)
STEPS_3 = (1.0, 0.8, 0.45)
STEPS_2 = (1.0, 0.7)


@dataclass(frozen=True, slots=True)
class NetworkConfig:
    """Shapes of the transformer. Tokens per frame = latent rows x columns / patch squared."""

    width: int = 192
    blocks: int = 6
    heads: int = 3
    ffn: int = 768
    channels: int = 8  # of a latent cell
    rows: int = 10  # latent cells
    columns: int = 16
    patch: int = 2
    stack: int = 4  # newest clean latents given on the channel axis of every token
    anchor: bool = True  # and before them one that stays: see history.py
    reproject: bool = True  # and the newest of them as seen from where the action leads: see reprojection.py
    recall: bool = True  # and remembered frames of the place, where there are any: see memory.py
    view_rad: float = math.radians(78.0)  # horizontal field of view of the frames
    window: int = 7  # frames whose keys and values are kept
    action_size: int = 7
    text_width: int = 96
    text_buckets: int = 4096
    cross_attention: bool = False  # attend to the prompt's words, as Wan does; else its pooled vector alone modulates

    def __post_init__(self) -> None:
        if self.recall and not self.reproject:
            raise ValueError("a network that recalls places needs reprojection: set reproject, or recall=False")

    @property
    def given(self) -> int:
        """Clean latents on the channel axis: the newest and the anchor."""
        return self.stack + int(self.anchor)

    @property
    def seen(self) -> int:
        """Frames on the channel axis: those given, the newest one moved, the recalled one and its cover."""
        return self.given + int(self.reproject) + 2 * int(self.recall)

    @property
    def tokens(self) -> int:
        return self.rows * self.columns // self.patch**2

    @property
    def head_width(self) -> int:
        return self.width // self.heads


@dataclass(frozen=True, slots=True)
class DriftConfig:
    """When a walk counts as strayed (`drift.py`) and how it is brought back (`reanchor.py`).

    Distances are in units of what one true walk of 300 frames in a hundred reaches: `worldstream train drift`.
    """

    on: bool = True
    every: int = 8  # frames between two looks
    looks: float = 6.0  # that the running mean remembers
    straying: float = 1.0
    lost: float = 1.4
    calm: float = 0.8  # of a threshold, below which its verdict goes
    repaint_from: float = 0.8  # noise level from which the newest frame is drawn again by the prompt alone
    lost_from: float = 0.8  # the same for a lost walk; from 1 on it would be another place
    fade: int = 24  # frames in which the walk takes the new picture over
    rest: int = 96  # frames before the next time
    doubt: float = 0.2  # noise on the newest frames meanwhile


@dataclass(frozen=True, slots=True)
class PainterConfig:
    """The network of its own that draws first frames (`painter.py`), where a world has one."""

    width: int = 192
    blocks: int = 6
    heads: int = 3
    ffn: int = 768
    steps: tuple[float, ...] = (1.0, 0.96, 0.91, 0.85, 0.78, 0.7, 0.6, 0.48, 0.34, 0.18)
    guidance: float = 4.0  # classifier-free; 1 is off
    guided: tuple[float, float] = (0.3, 0.93)  # noise levels between which it acts; above, it saturates colours

    def __post_init__(self) -> None:
        if not self.steps or self.steps[0] != 1.0 or not all(a > b > 0 for a, b in pairwise(self.steps)):
            raise ValueError(f"a painter's steps must fall from 1.0 and stay above 0, got {self.steps}")

    def network(self, world: NetworkConfig) -> NetworkConfig:
        """The painter's shapes: its own blocks over the world's latents and words, without history or motion."""
        return replace(
            world, width=self.width, blocks=self.blocks, heads=self.heads, ffn=self.ffn, stack=0, anchor=False,
            reproject=False, recall=False, cross_attention=True,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class WorldConfig:
    """One model: shapes, schedule, cache policy, motion range."""

    name: str = "nano"
    network: NetworkConfig = NetworkConfig()
    autoencoder: AutoencoderConfig = AutoencoderConfig()
    drift: DriftConfig = DriftConfig()
    step_lists: tuple[tuple[float, ...], ...] = (STEPS_4,)  # best first; shorter ones are the ladder for slow machines
    first_steps: tuple[float, ...] = STEPS_16  # the first frame has nothing to go by but the prompt
    # Noise on the newest frames, its label the same number. Low: they are believed, and the controls are sharp. High:
    # they may be wrong, and the frame is pulled back to the anchor and the prompt.
    context_noise: float = 0.04
    doubt_noise: float = 0.16
    doubt_from: float = 0.6  # `history.strayed` above which frames are doubted
    detail_kept: float = 1.1  # of the anchor's detail, asked of the newest frames (`history.detailed`)
    detail_gain: tuple[float, float] = (0.95, 1.22)  # and how far their own is turned down or up for it
    # The picture that the action moves is moved further by steps: the network goes a part of the way it is shown.
    step_gain: float = 1.25
    places: int = 512  # frames of places that are remembered, 5 kB each (memory.py); 0: none
    first_guidance: float = 2.0  # classifier-free guidance on the first frame; 1 is off
    painter: PainterConfig | None = None  # draws first frames instead, where there is one; steps and guidance its own
    fps: float = 25.0
    max_step_m: float = 0.45
    max_turn_rad: float = math.radians(6.0)
    max_pitch_rad: float = math.radians(22.0)

    @property
    def width_px(self) -> int:
        return self.network.columns * CELL_PX * UPSCALE

    @property
    def height_px(self) -> int:
        return self.network.rows * CELL_PX * UPSCALE

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> WorldConfig:
        """The inverse of `to_json`. Raises ValueError on a field that this version does not know."""
        values = _known(cls, raw)
        values["network"] = NetworkConfig(**_known(NetworkConfig, values.get("network", {})))
        values["drift"] = DriftConfig(**_known(DriftConfig, values.get("drift", {})))
        if values.get("painter") is not None:
            values["painter"] = PainterConfig(**_known(PainterConfig, values["painter"]))
        values["autoencoder"] = AutoencoderConfig(**_known(AutoencoderConfig, values.get("autoencoder", {})))
        return cls(**values)


def _known(of: type, raw: dict[str, Any]) -> dict[str, Any]:
    """The fields of a dataclass from JSON, lists as tuples. Raises ValueError on a field that it does not have."""
    known = {f.name for f in fields(of)}
    if not set(raw) <= known:
        raise ValueError(f"unknown fields in the world's card: {sorted(set(raw) - known)}; update worldstream")
    return {k: _tuples(v) for k, v in raw.items()}


def _tuples(value: Any) -> Any:
    return tuple(_tuples(v) for v in value) if isinstance(value, list) else value


PRESETS = {
    "tiny": WorldConfig(  # for tests: every stage of the training in a second or two
        name="tiny",
        network=NetworkConfig(width=32, blocks=2, heads=2, ffn=64, rows=6, columns=8, window=3, text_buckets=64),
        autoencoder=AutoencoderConfig(decoder_widths=(8, 8, 8), decoder_blocks=(1, 1, 1)),
    ),
    "nano": WorldConfig(),
    "base": WorldConfig(
        name="base",
        network=NetworkConfig(width=320, blocks=8, heads=5, ffn=1280, rows=20, columns=32, cross_attention=True),
        autoencoder=AutoencoderConfig(decoder_widths=(192, 96, 48)),
    ),
}
