"""What may be decoded: pictures, films and sounds come from strangers, and some claim to be larger than any machine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import av.error


class MediaError(ValueError):
    """A file that cannot be used. The text is one line: what is wrong with it, and what to do."""


class DeliveryError(ValueError):
    """What is asked for cannot be made: an unknown format, a size that is too large. One line."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one file may hold. All of it is checked while decoding, before memory is spent; nothing is cut short."""

    pixels: int = 36_000_000  # of one picture or frame: 8K is 8192 x 4320
    side_px: int = 16_384  # of either side: no picture of 1 x 36 million
    frames: int = 36_000  # ten minutes at 60 per second
    seconds: float = 600.0
    total_pixels: int = 64_000_000_000  # of all frames together: about two minutes of 4K at 60 per second
    sound_seconds: float = 3600.0
    channels: int = 8
    samples: int = 60_000_000  # of all channels together: ten minutes of stereo at 48 kHz, 240 MB when decoded

    def check_size(self, width: int, height: int) -> None:
        """Raises MediaError."""
        if width < 1 or height < 1:
            raise MediaError(f"it has no pixels ({width} x {height})")
        if max(width, height) > self.side_px or width * height > self.pixels:
            raise MediaError(
                f"{width} x {height} is too large: a side may have {self.side_px} pixels, "
                f"a picture {self.pixels / 1e6:g} million; make it smaller"
            )

    def check_length(self, frames: int, width: int, height: int, seconds: float) -> None:
        """Raises MediaError once `frames` of this size, `seconds` long, are too many."""
        if seconds > self.seconds:
            raise MediaError(f"it is longer than {self.seconds:g} s; send a shorter part")
        if frames > self.frames:
            raise MediaError(f"it has more than {self.frames} frames; send a shorter part")
        if frames * width * height > self.total_pixels:
            raise MediaError(
                f"{frames} frames of {width} x {height} are too much to decode "
                f"(at most {self.total_pixels / 1e9:g} billion pixels); send a shorter or smaller one"
            )


LIMITS = Limits()


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Whatever a decoder says of a damaged file becomes one line that names the file. OSError passes as it is."""
    try:
        yield
    except MediaError as error:
        if str(error).startswith(path.name):
            raise
        raise MediaError(f"{path.name}: {error}") from None
    except av.error.FileNotFoundError:
        raise FileNotFoundError(f"{path} does not exist") from None
    except MemoryError:
        raise MediaError(f"{path.name}: it takes too much memory to decode; make it smaller") from None
    except (av.error.FFmpegError, ValueError, EOFError, IndexError, OverflowError, ZeroDivisionError) as error:
        said = " ".join(str(getattr(error, "strerror", "") or str(error) or type(error).__name__).split())
        raise MediaError(f"{path.name}: it cannot be decoded ({said[:120]}); save it again in a usual format") from None
