"""The bytes of somebody's picture, made into the first frame of a world: `uint8[H, W, 3]`, sRGB, at the world's size.

Formats: PNG, JPEG and WebP of any kind (palette, grey, 16 bits, CMYK, alpha, ICC profile, EXIF orientation, animation).
A file that claims too much is refused from its header, before anything is decoded. `image_process.py` does the same in
a process of its own.
"""

from __future__ import annotations

import hashlib
import io
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from .image_header import Header, other_format, read_header

MAX_BYTES = 24 * 2**20  # the largest pictures of today's phones are about 20 MiB
MAX_PIXELS = 40_000_000  # above an 8K screen; 160 MB when decoded, and some copies of that on the way
MIN_SIDE_PX = 16  # two latent cells: less holds nothing to go on from
GROUND = 128  # grey behind transparent places
FORMATS = ("PNG", "JPEG", "WEBP")
REMEDY = "Choose a PNG, JPEG or WebP picture."
_TURNED = {
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # fmt: skip
_ORIENTATION = 0x0112  # EXIF tag


class ImageError(ValueError):
    """A file cannot start a world. `problem` says what is wrong with it, `remedy` what to do; both are sentences."""

    def __init__(self, problem: str, remedy: str = REMEDY) -> None:
        super().__init__(f"{problem} {remedy}")
        self.problem, self.remedy = problem, remedy


@dataclass(frozen=True, slots=True)
class FirstImage:
    """A picture at the world's size, and what was done to it that a person should know."""

    rgb: NDArray[np.uint8]  # [H, W, 3], sRGB
    notes: tuple[str, ...] = ()

    @property
    def sha256(self) -> str:
        """Of the pixels: the same whether they come from the original file or from a PNG of this size."""
        return hashlib.sha256(repr(self.rgb.shape).encode() + self.rgb.tobytes()).hexdigest()


def read_file(path: Path, width_px: int, height_px: int) -> FirstImage:
    """The picture in a file. Raises ImageError, which names the file; OSError when it cannot be read."""
    with path.open("rb") as file:
        data = file.read(MAX_BYTES + 1)
    try:
        return decoded(data, width_px, height_px)
    except ImageError as error:
        raise ImageError(f"{path}: {error.problem}", error.remedy) from error


def decoded(data: bytes, width_px: int, height_px: int) -> FirstImage:
    """The picture in `data` at the world's size, cropped to its aspect. Raises ImageError and nothing else."""
    header = checked(data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about odd metadata, which does not matter here
        try:
            return _picture(data, width_px, height_px)
        except ImageError:
            raise
        except MemoryError:
            raise ImageError(
                f"This picture of {header.width_px} x {header.height_px} pixels takes too much memory to read.",
                "Make it smaller.",
            ) from None
        except Exception as error:  # Pillow's plugins raise nearly anything on damaged files
            reason = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
            raise ImageError(
                f"This {_name(header.format)} file is damaged or cut off ({reason}).", "Save or download it again."
            ) from None


def shown(data: bytes) -> NDArray[np.uint8]:
    """The picture in `data` at its own size, upright, in sRGB, on grey where it is transparent: `[H, W, 3]`.

    The caller has looked at its header. Raises ImageError and nothing else.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                image.load()
                profile = image.info.get("icc_profile")
                return np.asarray(_flattened(_srgb(_upright(image), profile, [])), np.uint8).copy()
        except MemoryError:
            raise ImageError("This picture takes too much memory to read.", "Make it smaller.") from None
        except Exception as error:
            reason = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
            raise ImageError(f"This file is damaged or cut off ({reason}).", "Save or download it again.") from None


def checked(data: bytes) -> Header:
    """The header of a file that may be decoded. Raises ImageError on too many bytes or pixels, too few pixels, and on
    what is not a PNG, JPEG or WebP."""
    if not data:
        raise ImageError("The file is empty.")
    if len(data) > MAX_BYTES:
        raise ImageError(
            f"The file has more than {MAX_BYTES // 2**20} MiB, which is the limit.", "Make the picture smaller."
        )
    header = read_header(data)
    if header is None:
        other = other_format(data)
        if other is not None:
            raise ImageError(f"This is {other}, which cannot be read here.", "Save it as PNG, JPEG or WebP.")
        if data.startswith((b"\x89PNG", b"\xff\xd8", b"RIFF")):
            raise ImageError("This file is damaged or cut off within its header.", "Save or download it again.")
        raise ImageError("This file is not a picture that can be read here.")
    width, height = header.width_px, header.height_px
    if width * height > MAX_PIXELS:
        raise ImageError(
            f"This picture has {width} x {height} pixels, {width * height / 1e6:.0f} million; "
            f"{MAX_PIXELS / 1e6:.0f} million is the limit.",
            "Make it smaller.",
        )
    if min(width, height) < MIN_SIDE_PX:
        raise ImageError(
            f"This picture has {width} x {height} pixels; each side must have at least {MIN_SIDE_PX}.",
            "Choose a larger one.",
        )
    return header


def _name(format_name: str) -> str:
    return "WebP" if format_name == "WEBP" else format_name


def _picture(data: bytes, width_px: int, height_px: int) -> FirstImage:
    notes: list[str] = []
    with Image.open(io.BytesIO(data), formats=FORMATS) as image:
        if image.width * image.height > MAX_PIXELS:  # where the plugin finds another size than the header said
            raise ImageError(f"This picture has {image.width} x {image.height} pixels, too many.", "Make it smaller.")
        frames = int(getattr(image, "n_frames", 1))
        if frames > 1 and image.format != "MPO":  # the other pictures of an MPO are previews and depth
            notes.append(f"It is animated: the first of its {frames} frames is used.")
        side = 2 * max(width_px, height_px)
        image.draft(None, (side, side))  # JPEG: decode no larger than needed
        image.load()
        upright = _upright(image)
        coloured = _srgb(_cropped(upright, width_px / height_px, notes), image.info.get("icc_profile"), notes)
        if min(coloured.width / width_px, coloured.height / height_px) < 0.5:
            notes.append(f"It is small ({coloured.width} x {coloured.height} pixels): the world begins soft.")
        rgb = _flattened(_resized(coloured, width_px, height_px))
    return FirstImage(np.asarray(rgb, np.uint8).copy(), tuple(notes))


def _upright(image: Image.Image) -> Image.Image:
    """As the camera's EXIF says that it was held."""
    try:
        turn = _TURNED.get(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # damaged EXIF raises nearly anything, and is no reason to refuse the picture
        turn = None
    return image if turn is None else image.transpose(turn)


def _cropped(image: Image.Image, aspect: float, notes: list[str]) -> Image.Image:
    """The largest part of the world's aspect around the middle."""
    width = min(image.width, max(1, round(image.height * aspect)))
    height = min(image.height, max(1, round(image.width / aspect)))
    if width * height < 0.5 * image.width * image.height:
        notes.append("Its shape is far from the world's: only the middle is used.")
    if (width, height) == image.size:
        return image
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height))


def _srgb(image: Image.Image, profile: bytes | None, notes: list[str]) -> Image.Image:
    """RGB or RGBA in sRGB, 8 bits. A profile that cannot be used is left out, and said."""
    if image.mode.startswith(("I", "F")):  # 16 bits and more, grey: Pillow would clip, not scale
        deep = np.asarray(image)
        top = 65535.0 if float(deep.max(initial=0)) > 255 or image.mode.startswith("I;16") else 255.0
        image = Image.fromarray((deep.astype(np.float32) * (255.0 / top)).clip(0, 255).round().astype(np.uint8))
        profile = None  # made for the mode that is gone
    if image.mode in ("P", "PA", "LA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
    if profile:
        image = _from_profile(image, profile, notes)
    return image if image.mode in ("RGB", "RGBA") else image.convert("RGB")


def _from_profile(image: Image.Image, profile: bytes, notes: list[str]) -> Image.Image:
    """With the colours that the profile means."""
    alpha = image.getchannel("A") if image.mode == "RGBA" else None
    colours = image.convert("RGB") if alpha is not None else image
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        converted = ImageCms.profileToProfile(colours, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        notes.append("Its colour profile cannot be used: colours may differ.")
        return image
    assert converted is not None
    if alpha is not None:
        converted.putalpha(alpha)
    return converted


def _resized(image: Image.Image, width_px: int, height_px: int) -> Image.Image:
    if image.size == (width_px, height_px):
        return image  # as it is, bit for bit: a frame that was saved comes back
    return image.resize((width_px, height_px), Image.Resampling.LANCZOS, reducing_gap=3.0)


def _flattened(image: Image.Image) -> Image.Image:
    """Without alpha, over grey."""
    if image.mode != "RGBA":
        return image
    ground = Image.new("RGBA", image.size, (GROUND, GROUND, GROUND, 255))
    return Image.alpha_composite(ground, image).convert("RGB")
