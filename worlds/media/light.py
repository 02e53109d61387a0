"""From Rec.709 video to light in cd/m² (nits) and from there to the HDR signals.

The expansion of highlights is our own curve on the framework of ITU-R BT.2408: the display light of BT.1886 is scaled
so that SDR's 100 % signal would be HDR Reference White, 203 cd/m² (BT.2408-7, section 5.1), which leaves shadows, greys
and skin exactly where the standard's direct mapping puts them. Above a signal of 80 %, where SDR has compressed what
was bright, the curve bends away upwards, always rising, passes reference white at 90 % and reaches the peak at 100 %.
It acts on luminance: hues stay.

Sources: BT.1886 (gamma 2.4), BT.2087-0 (Rec.709 to BT.2020), SMPTE ST 2084 = BT.2100-3 table 4 (PQ), BT.2100-3 table 5
(HLG with its OOTF), BT.2408-7 (203 cd/m²).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
GAMMA = 2.4
WHITE_NITS = 203.0  # HDR Reference White
LUMINANCE_709 = np.array([0.2126, 0.7152, 0.0722], np.float32)
LUMINANCE_2020 = np.array([0.2627, 0.6780, 0.0593], np.float32)
BT2020_OF_709 = np.array(
    [[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]], np.float32
)  # BT.2087-0, 3.3
_M1, _M2 = 2610 / 16384, 2523 / 4096 * 128
_C1, _C2, _C3 = 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32
_A, _B, _C = 0.17883277, 1 - 4 * 0.17883277, 0.5 - 0.17883277 * float(np.log(4 * 0.17883277))
HLG_PEAK_NITS, HLG_GAMMA = 1000.0, 1.2


@dataclass(frozen=True, slots=True)
class Expansion:
    """The curve from SDR signal to nits: `white_nits` x signal^2.4 up to `knee`, then upwards to `peak_nits` at 1."""

    white_nits: float = WHITE_NITS
    knee: float = 0.8
    peak_nits: float = 600.0  # three times reference white: a bright sky glows and does not glare

    def nits(self, signal: Floats) -> Floats:
        """Of a luminance signal in [0, 1]; strictly rising, with a continuous slope."""
        above = np.clip((signal - np.float32(self.knee)) / np.float32(1 - self.knee), 0, None)
        # in the logarithm, so that it never falls and adds in stops: + 0 at the knee with slope 0, + all of it at 1
        stops = np.float32(np.log(self.peak_nits / self.white_nits)) * above * above
        return cast(Floats, np.float32(self.white_nits) * signal ** np.float32(GAMMA) * np.exp(stops))

    def signal(self, nits: Floats) -> Floats:
        """The way back; what is brighter than the peak is 1."""
        table = np.linspace(0, 1, 4097, dtype=np.float32)
        return np.interp(nits, self.nits(table), table).astype(np.float32)


EXPANSION = Expansion()


def display_light(rgb: Floats) -> Floats:
    """Rec.709 R'G'B' `[H, W, 3]` in [0, 1] to linear BT.2020 in nits, `[H, W, 3]`, never above the peak."""
    linear = np.clip(rgb, 0, 1) ** np.float32(GAMMA)
    luminance = linear @ LUMINANCE_709
    signal = cast(Floats, luminance ** np.float32(1 / GAMMA))
    gain = EXPANSION.nits(signal) / np.maximum(luminance, np.float32(1e-9))
    # the gain is never above the peak's, and no component of linear light is above 1: nothing can clip
    return cast(Floats, (linear * gain[..., None]) @ BT2020_OF_709.T)


def sdr_signal(nits: Floats) -> Floats:
    """The way back: linear BT.2020 in nits to Rec.709 R'G'B' in [0, 1]; brighter and purer colours are clipped."""
    linear = nits @ np.linalg.inv(BT2020_OF_709.astype(np.float64)).T.astype(np.float32)
    luminance = np.maximum(linear @ LUMINANCE_709, np.float32(1e-6))
    scaled = linear * (EXPANSION.signal(luminance) ** np.float32(GAMMA) / luminance)[..., None]
    return cast(Floats, np.clip(scaled, 0, 1) ** np.float32(1 / GAMMA))


def pq(nits: Floats) -> Floats:
    """The PQ signal in [0, 1] of light in nits, [0, 10000]."""
    y = (np.clip(nits, 0, 10_000) / np.float32(10_000)) ** np.float32(_M1)
    return cast(Floats, ((np.float32(_C1) + np.float32(_C2) * y) / (1 + np.float32(_C3) * y)) ** np.float32(_M2))


def pq_nits(signal: Floats) -> Floats:
    """The light in nits that a PQ signal in [0, 1] stands for."""
    e = np.clip(signal, 0, 1) ** np.float32(1 / _M2)
    y = np.maximum(e - np.float32(_C1), 0) / (np.float32(_C2) - np.float32(_C3) * e)
    return cast(Floats, np.float32(10_000) * y ** np.float32(1 / _M1))


def hlg(nits: Floats) -> Floats:
    """The HLG signal of linear BT.2020 `[..., 3]` in nits, as a display of 1000 nits shows it."""
    light = np.clip(nits / np.float32(HLG_PEAK_NITS), 0, 1)
    luminance = np.maximum(light @ LUMINANCE_2020, np.float32(1e-9))
    scene = np.clip(light * luminance[..., None] ** np.float32(1 / HLG_GAMMA - 1), 0, 1)
    high = _A * np.log(np.maximum(12 * scene - np.float32(_B), np.float32(1e-9))) + np.float32(_C)
    return np.where(scene <= 1 / 12, np.sqrt(3 * scene), high).astype(np.float32)


def hlg_nits(signal: Floats) -> Floats:
    """The light in nits, `[..., 3]` linear BT.2020, that a display of 1000 nits makes of an HLG signal."""
    e = np.clip(signal, 0, 1)
    scene = np.where(e <= 0.5, e * e / 3, (np.exp((e - np.float32(_C)) / np.float32(_A)) + np.float32(_B)) / 12)
    luminance = np.maximum(scene @ LUMINANCE_2020, np.float32(1e-9))
    return (HLG_PEAK_NITS * scene * luminance[..., None] ** np.float32(HLG_GAMMA - 1)).astype(np.float32)
