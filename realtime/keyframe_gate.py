"""What a viewer of H.264 can decode: after a gap nothing, until a key frame comes."""

from __future__ import annotations

from collections.abc import Callable


class KeyframeGate:
    """Stands before one viewer's queue of access units. Closed at first, and whenever pictures were left out."""

    def __init__(self, want_keyframe: Callable[[], None]) -> None:
        self._want_keyframe = want_keyframe
        self._open = False
        self._asked = False  # for the key frame that opens it

    def lets(self, keyframe: bool) -> bool:
        """Whether the next picture may pass. The first that may not asks for a key frame, the others wait for it."""
        if not self._open and not keyframe:
            if not self._asked:
                self._want_keyframe()
            self._asked = True
            return False
        self._open = True
        return True

    def close(self) -> None:
        """Pictures were left out: the next one must be a key frame."""
        self._open = self._asked = False
