"""Decode somebody's picture in a process of its own, with limits on its memory and its time.

Decoders are written in C, hold the interpreter's lock while they work, and read bytes from strangers. Here they can
neither delay a frame nor take the server down. One process takes about 0.3 s.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np

from .first_image import MAX_BYTES, FirstImage, ImageError, checked, decoded

MEMORY_BYTES = 2 * 2**30  # address space: MAX_PIXELS of a WebP with alpha take 1.1 GB
TIMEOUT_S = 20.0  # the largest pictures take 3 s on a busy core
_REFUSED = 3  # exit code; standard output says why


def decoded_apart(data: bytes, width_px: int, height_px: int, timeout_s: float = TIMEOUT_S) -> FirstImage:
    """What `decoded` gives. Blocks until it is done: call it from a thread. Raises ImageError and nothing else."""
    checked(data)  # no process for what its header gives away
    command = [sys.executable, "-P", "-m", f"{__package__}.image_process", str(width_px), str(height_px)]
    try:
        done = subprocess.run(command, input=data, capture_output=True, timeout=timeout_s, check=False)
    except subprocess.TimeoutExpired:
        raise ImageError(f"This picture took longer than {timeout_s:g} s to read.", "Make it smaller.") from None
    except OSError as error:
        raise ImageError(f"The server could not start reading it ({error.strerror}).", "Try again.") from None
    head, _, pixels = done.stdout.partition(b"\n")
    if done.returncode == _REFUSED:
        said = json.loads(head)
        raise ImageError(said["problem"], said["remedy"])
    if done.returncode != 0 or len(pixels) != width_px * height_px * 3:
        raise ImageError("This file is damaged: reading it broke off.", "Save it again as PNG or JPEG.")
    rgb = np.frombuffer(pixels, np.uint8).reshape(height_px, width_px, 3)
    return FirstImage(rgb, tuple(json.loads(head)["notes"]))


def main(width_px: int, height_px: int) -> int:
    """Standard input to standard output: a line of JSON, then the pixels."""
    _limit_memory()
    os.nice(5)  # the frames of whoever walks come first
    try:
        image = decoded(sys.stdin.buffer.read(MAX_BYTES + 1), width_px, height_px)
    except ImageError as error:
        sys.stdout.write(json.dumps({"problem": error.problem, "remedy": error.remedy}))
        return _REFUSED
    sys.stdout.buffer.write(json.dumps({"notes": image.notes}).encode() + b"\n" + image.rgb.tobytes())
    return 0


def _limit_memory() -> None:
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    except (ImportError, ValueError, OSError):  # this system has no such limit
        pass


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2])))
