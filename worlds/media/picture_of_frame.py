"""One decoded frame, made into the RGB picture that a viewer would see."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from av.sidedata.sidedata import Type
from av.video.reformatter import ColorRange, Colorspace, ColorTrc, Interpolation
from numpy.typing import NDArray

from .light import hlg_nits, pq_nits, sdr_signal

if TYPE_CHECKING:
    from av.sidedata.sidedata import SideDataContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

HD_LINES = 720  # untagged films of this height and more are Rec.709, smaller ones Rec.601: what players assume
_HOW = Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT | Interpolation.FULL_CHR_H_INP
_MATRICES = {1: Colorspace.ITU709, 4: Colorspace.FCC, 5: Colorspace.ITU601, 6: Colorspace.ITU601,
             7: Colorspace.SMPTE240M, 9: Colorspace.BT2020, 10: Colorspace.BT2020}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Shape:
    """How the frames of a film become pictures."""

    width: int  # as shown
    height: int
    turn: tuple[bool, bool, bool]  # swap x and y, then mirror x, then mirror y
    interlaced: bool
    transfer: int  # FFmpeg's number of it
    eight_bits: bool  # or fewer
    notes: tuple[str, ...] = ()


def shape_of(frame: VideoFrame, stream: VideoStream) -> Shape:
    """Read from the first frame of a film."""
    turn = _turn(frame)
    stretch = stream.sample_aspect_ratio or Fraction(1)
    if not Fraction(1, 8) <= stretch <= 8:
        stretch = Fraction(1)
    width, height = round(frame.width * stretch), frame.height
    notes = []
    if stretch != 1:
        notes.append(f"its pixels are not square ({stretch}): {frame.width} of them are shown {width} wide")
    if turn != (False, False, False):
        notes.append("it is turned as the file says")
    if frame.interlaced_frame:
        notes.append("it is interlaced: its fields are joined to whole frames")
    if frame.color_trc in (ColorTrc.SMPTE2084, ColorTrc.ARIB_STD_B67):
        notes.append("it is HDR: it is shown as Rec.709, highlights compressed")
    if _has_alpha(frame) and _see_through(frame):
        notes.append("it is transparent in places: they are black")
    if turn[0]:
        width, height = height, width
    return Shape(width, height, turn, frame.interlaced_frame, frame.color_trc, _eight_bits(frame), tuple(notes))


def picture(frame: VideoFrame, shape: Shape, format: str) -> NDArray[Any]:
    """`[H, W, 3]` of the film's size; `format` is rgb24 (uint8) or rgb48le (uint16)."""
    width, height = (shape.height, shape.width) if shape.turn[0] else (shape.width, shape.height)
    tagged = _MATRICES.get(frame.colorspace)
    matrix = tagged or (Colorspace.ITU709 if frame.height >= HD_LINES else Colorspace.ITU601)
    if shape.transfer in (ColorTrc.SMPTE2084, ColorTrc.ARIB_STD_B67):
        return _turned(_from_hdr(frame, shape, (width, height), matrix, format), shape.turn)
    alpha = _has_alpha(frame)
    wanted = {"rgb24": "rgba", "rgb48le": "rgba64le"}[format] if alpha else format
    whole = frame.reformat(
        width, height, wanted, src_colorspace=None if frame.format.is_rgb else matrix, interpolation=_HOW,
        dst_color_range=ColorRange.JPEG, threads=1,
    )  # fmt: skip
    rgb = cast(NDArray[Any], whole.to_ndarray())
    if rgb.dtype == np.uint16:
        rgb[..., :3] = _full(rgb[..., :3], frame)
    if alpha:
        top = np.iinfo(rgb.dtype).max
        rgb = (rgb[..., :3].astype(np.float32) * (rgb[..., 3:].astype(np.float32) / top)).round().astype(rgb.dtype)
    return _turned(rgb, shape.turn)


def _full(rgb: NDArray[Any], frame: VideoFrame) -> NDArray[Any]:
    """swscale makes of Y'CbCr's white 255 x 256, at sixteen bits as well: brought to 65535."""
    if frame.format.is_rgb:
        return rgb
    return np.rint(np.minimum(rgb.astype(np.float32) * np.float32(65535 / 65280), 65535)).astype(np.uint16)


def _from_hdr(frame: VideoFrame, shape: Shape, size: tuple[int, int], matrix: Colorspace, format: str) -> NDArray[Any]:
    """Rec.709 of PQ or HLG: back along the curve by which we make HDR of SDR."""
    deep = frame.reformat(
        *size, "rgb48le", src_colorspace=None if frame.format.is_rgb else matrix, interpolation=_HOW,
        dst_color_range=ColorRange.JPEG, threads=1,
    )  # fmt: skip
    signal = _full(deep.to_ndarray(), frame).astype(np.float32) * np.float32(1 / 65535)
    rgb = sdr_signal((pq_nits if shape.transfer == ColorTrc.SMPTE2084 else hlg_nits)(signal))
    return np.rint(rgb * 255).astype(np.uint8) if format == "rgb24" else np.rint(rgb * 65535).astype(np.uint16)


def _eight_bits(frame: VideoFrame) -> bool:
    return all(component.bits <= 8 for component in frame.format.components)


def _has_alpha(frame: VideoFrame) -> bool:
    return any(component.is_alpha for component in frame.format.components)


def _see_through(frame: VideoFrame) -> bool:
    return int(frame.to_ndarray(format="rgba")[..., 3].min()) < 255


def _turn(frame: VideoFrame) -> tuple[bool, bool, bool]:
    """Of the display matrix `[a b u; c d v; x y w]`: x' = a x + c y, y' = b x + d y. Only quarter turns and mirrors."""
    try:
        side = cast("SideDataContainer", frame.side_data)[Type.DISPLAYMATRIX]
    except KeyError:
        return (False, False, False)
    a, b, _, c, d = (int(value) for value in np.frombuffer(bytes(side), np.int32)[:5])
    if abs(a) + abs(d) >= abs(b) + abs(c):
        return (False, a < 0, d < 0)
    return (True, c < 0, b < 0)


def _turned(rgb: NDArray[Any], turn: tuple[bool, bool, bool]) -> NDArray[Any]:
    swap, mirror_x, mirror_y = turn
    if swap:
        rgb = rgb.swapaxes(0, 1)
    return np.ascontiguousarray(rgb[:: -1 if mirror_y else 1, :: -1 if mirror_x else 1])
