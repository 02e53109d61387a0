"""The forms in which a film is delivered: one row per `format` of the task API."""

from __future__ import annotations

from dataclasses import dataclass, replace

from .light import EXPANSION
from .limits import DeliveryError

# prores_profile of the API -> (the encoder's name, pixel format)
PRORES = {
    "422 Proxy": ("proxy", "yuv422p10le"),
    "422 LT": ("lt", "yuv422p10le"),
    "422": ("standard", "yuv422p10le"),
    "422 HQ": ("hq", "yuv422p10le"),
    "4444": ("4444", "yuv444p10le"),
    "4444 XQ": ("4444xq", "yuv444p10le"),
}
# FFmpeg's numbers of what ITU-T H.273 calls colour primaries, transfer characteristics and matrix coefficients
BT709, BT2020, PQ, HLG, BT2020_NCL = 1, 9, 16, 18, 9


@dataclass(frozen=True, slots=True)
class FilmFormat:
    """How a film is written. `codec` is "" for sequences of pictures, which arrive as a ZIP."""

    name: str
    suffix: str = ".mp4"
    media_type: str = "video/mp4"
    container: str = "mp4"
    codec: str = ""
    pixels: str = ""  # the codec's pixel format
    light: str = "sdr"  # or pq, hlg, linear, aces 1.3, aces 2.0: what the numbers mean
    sound: str = "aac"  # codec of the sound track
    options: tuple[tuple[str, str], ...] = ()
    profile: str = ""  # of ProRes, where none is asked for

    @property
    def tags(self) -> tuple[int, int, int]:
        """(primaries, transfer, matrix) of H.273."""
        return {
            "sdr": (BT709, BT709, BT709), "pq": (BT2020, PQ, BT2020_NCL), "hlg": (BT2020, HLG, BT2020_NCL),
        }[self.light]  # fmt: skip


# without macroblock trees: x264's read memory that nobody wrote; see worlds/film.py
_X264 = (("crf", "16"), ("preset", "medium"), ("profile", "high"), ("mbtree", "0"))
# What CTA-861.3 calls static metadata: a display of P3-D65, 0.0001 to 1000 cd/m² (the usual one of a grading suite),
# and the brightest pixel that `light.Expansion` can make. The brightest frame average is not known before the end,
# and 0 says so.
MASTERING = (
    "hdr10=1:master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,1)"
    f":max-cll={round(EXPANSION.peak_nits)},0"
)


def _x265(parameters: str = "", crf: str = "14") -> tuple[tuple[str, str], ...]:
    more = f":{parameters}" if parameters else ""
    # without B frames: of films of two or three frames x265 sometimes states decoding times that were never set
    return ("crf", crf), ("preset", "medium"), ("x265-params", f"log-level=none:bframes=0{more}")


def _prores(name: str, light: str = "sdr") -> FilmFormat:
    return FilmFormat(
        name, ".mov", "video/quicktime", "mov", "prores_ks", light=light, sound="pcm_s24le", profile="422 HQ"
    )


def _sequence(name: str, light: str = "sdr") -> FilmFormat:
    return FilmFormat(name, ".zip", "application/zip", "zip", light=light, sound="pcm_s16le")


FORMATS = {
    format.name: format
    for format in (
        FilmFormat("mp4", codec="libx264", pixels="yuv420p", options=_X264),
        _prores("prores"),
        _sequence("png_sequence"),
        FilmFormat("sdr_rec709_10bit", codec="libx265", pixels="yuv420p10le", options=_x265()),
        FilmFormat("hdr10", codec="libx265", pixels="yuv420p10le", light="pq", options=_x265(MASTERING)),
        FilmFormat("hlg", codec="libx265", pixels="yuv420p10le", light="hlg", options=_x265()),
        FilmFormat(  # HEVC Main 4:4:4 12: all twelve bits, all colours, near lossless
            "hdr_pq_12bit_master", codec="libx265", pixels="yuv444p12le", light="pq", options=_x265(MASTERING, "4")
        ),
        _prores("hdr_prores", "pq"),
        _sequence("hdr_png_sequence", "pq"),
        _sequence("hdr_exr_sequence", "linear"),
        _sequence("hdr_exr_acescg_sequence_1_3", "aces 1.3"),
        _sequence("hdr_exr_acescg_sequence_2_0", "aces 2.0"),
    )
}


def film_format(name: str, prores_profile: str | None = None) -> FilmFormat:
    """The row of a name. The profile belongs to ProRes; other formats have no use for it, and leave it out.

    Raises DeliveryError on an unknown format or profile.
    """
    if name not in FORMATS:
        raise DeliveryError(f"there is no film format {name!r}; there are {', '.join(FORMATS)}")
    if prores_profile is not None and prores_profile not in PRORES:
        raise DeliveryError(f"there is no ProRes profile {prores_profile!r}; there are {', '.join(PRORES)}")
    format = FORMATS[name]
    return replace(format, profile=prores_profile) if prores_profile and format.profile else format
