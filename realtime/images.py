"""The pictures that worlds start from: received, read in a process of their own, looked at, kept for a while.

Nothing here runs on the event loop but the counting of bytes. One thread at a time reads and looks, so that a crowd of
uploads takes one core from whoever walks and not all of them.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import threading
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..worlds.core import Sight, Viewer, World
from ..worlds.first_image import MAX_BYTES, ImageError
from ..worlds.image_process import decoded_apart
from .config import ImageConfig
from .errors import BadImage, ImagesBusy, ImageTooLarge

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StartImage:
    """A picture that a world may start from."""

    id: str
    rgb: NDArray[np.uint8]  # [H, W, 3] at the world's size
    sha256: str  # of these pixels
    sight: Sight
    understood: tuple[str, ...]  # of the caption
    notes: tuple[str, ...]  # what was done to it, for the person who sent it

    def as_dict(self) -> dict[str, Any]:
        """The answer to `POST /api/image`."""
        return {
            "image": self.id,
            "caption": self.sight.caption,
            "confidence": round(self.sight.confidence, 3),
            "understood": list(self.understood),
            "familiar": self.sight.familiar,
            "distance": round(self.sight.distance, 3),
            "notes": list(self.notes),
        }


class ImageStore:
    """The newest pictures, up to a number, a size and an age. Any thread."""

    def __init__(self, config: ImageConfig, clock: Callable[[], float]) -> None:
        self._config = config
        self._clock = clock
        self._kept: OrderedDict[str, tuple[float, StartImage]] = OrderedDict()  # oldest first
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._kept)

    def add(self, image: StartImage) -> None:
        """Keep it; the oldest ones go where there is no room."""
        with self._lock:
            self._kept[image.id] = (self._clock(), image)
            while len(self._kept) > 1 and self._full():
                self._kept.popitem(last=False)

    def _full(self) -> bool:
        size = sum(image.rgb.nbytes for _, image in self._kept.values())
        return len(self._kept) > self._config.max_kept or size > self._config.max_kept_bytes

    def find(self, image_id: str) -> StartImage | None:
        """The picture of an id; None when it is unknown or too old."""
        with self._lock:
            oldest = self._clock() - self._config.keep_s
            while self._kept and next(iter(self._kept.values()))[0] < oldest:
                self._kept.popitem(last=False)
            found = self._kept.get(image_id)
        return None if found is None else found[1]


class Images:
    """From the bytes of an upload to a picture that is kept."""

    def __init__(self, world: World, config: ImageConfig, clock: Callable[[], float]) -> None:
        self._world = world
        self._config = config
        self._store = ImageStore(config, clock)
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="worldstream-images")
        self._viewer: Viewer | None = None  # made by the thread that uses it
        self._uploads = 0

    @property
    def find(self) -> Callable[[str], StartImage | None]:
        return self._store.find

    def __len__(self) -> int:
        return len(self._store)

    async def receive(self, chunks: AsyncIterator[bytes]) -> StartImage:
        """Read an upload and keep its picture. Raises BadImage, ImageTooLarge or ImagesBusy."""
        if self._uploads >= self._config.max_uploads:
            raise ImagesBusy(f"{self._uploads} pictures are arriving at this moment, which is the limit.")
        self._uploads += 1
        try:
            data = await self._read(chunks)
            return await asyncio.get_running_loop().run_in_executor(self._executor, self._make, data)
        except RuntimeError:  # the executor has been shut down
            raise ImagesBusy("The server is stopping.") from None
        finally:
            self._uploads -= 1

    async def _read(self, chunks: AsyncIterator[bytes]) -> bytes:
        parts: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(self._config.upload_timeout_s):
                async for chunk in chunks:
                    size += len(chunk)
                    if size > MAX_BYTES:
                        raise ImageTooLarge(
                            f"The file has more than {MAX_BYTES // 2**20} MiB, which is the limit.",
                            "Make the picture smaller.",
                        )
                    parts.append(chunk)
        except TimeoutError:
            limit = f"{self._config.upload_timeout_s:g} s"
            raise BadImage(f"The picture did not arrive within {limit}.", "Choose a smaller one.") from None
        return b"".join(parts)

    def _make(self, data: bytes) -> StartImage:
        """On the thread. Raises BadImage or ImagesBusy."""
        world = self._world
        try:
            image = decoded_apart(data, world.width_px, world.height_px, self._config.decode_timeout_s)
        except ImageError as error:
            raise BadImage(error.problem, error.remedy) from None
        try:
            if self._viewer is None:
                self._viewer = world.viewer()
            sight = self._viewer.look(image.rgb)
        except Exception:
            busy = ImagesBusy("This server cannot look at pictures at the moment.")
            logger.exception("looking at a picture failed, id %s", busy.id)
            raise busy from None
        understood = world.understood(sight.caption)
        made = StartImage(secrets.token_urlsafe(9), image.rgb, image.sha256, sight, understood, image.notes)
        self._store.add(made)
        return made

    def stop(self) -> None:
        """End the thread; a picture that is being read is finished first. Blocks."""
        self._executor.shutdown(cancel_futures=True)
