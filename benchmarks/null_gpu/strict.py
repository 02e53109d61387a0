"""That the stand-in refuses what it says it refuses, and nothing else.

python benchmarks/null_gpu/run.py PYTHON benchmarks/null_gpu/strict.py
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.null_gpu.counted import POISON
from benchmarks.null_gpu.inside import NullGpu

A = torch.ones(64, 64, device="cuda")
PINNED = torch.empty(64, 64, pin_memory=True)
OTHER = torch.cuda.Stream()
OUTSIDE, INSIDE = torch.cuda.Event(), torch.cuda.Event()


def elsewhere() -> None:
    with torch.cuda.stream(OTHER):
        A.add_(1)


def unjoined() -> None:
    INSIDE.record()
    OTHER.wait_event(INSIDE)
    elsewhere()


def joined() -> None:
    unjoined()
    torch.cuda.current_stream().wait_stream(OTHER)


FORBIDDEN: dict[str, Callable[[], object]] = {
    "a number is asked for": lambda: A.sum().item(),
    "the device is waited for": torch.cuda.synchronize,
    "an event is queried": OUTSIDE.query,
    "a copy from the host": lambda: A.copy_(PINNED, non_blocking=True),
    "a copy to ordinary memory": A.cpu,
    "work in another stream": elsewhere,
    "a fork that does not come back": unjoined,
    "an event from outside": lambda: torch.cuda.current_stream().wait_event(OUTSIDE),
}
ALLOWED: dict[str, Callable[[], object]] = {
    "a product": lambda: torch.mm(A, A),
    "memory": lambda: torch.empty(64 << 20, device="cuda"),
    "a fork that comes back": joined,
}


def refused(null: NullGpu, work: Callable[[], object]) -> bool:
    """Whether work cannot be captured, by torch's own word or the stand-in's."""
    before, raised = null.counts()["misuses"], False
    try:
        with torch.cuda.graph(torch.cuda.CUDAGraph(), capture_error_mode="thread_local"):
            work()
            A.add_(1)  # an empty graph is a warning
    except RuntimeError:
        raised = True
    gc.collect()
    return raised or null.counts()["misuses"] > before


def main() -> None:
    null = NullGpu()
    torch.mm(A, A)
    A.sum().item()
    OUTSIDE.record()
    for kinds, wanted in ((ALLOWED, False), (FORBIDDEN, True)):
        for name, work in kinds.items():
            assert refused(null, work) == wanted, f"{name}: {'not ' * wanted}refused"
            print(f"{name}: {'refused' if wanted else 'allowed'}")
    PINNED.copy_(A, non_blocking=True)
    assert bool((PINNED.view(torch.uint8) == POISON).all()), "what has not been waited for must not be there"
    before = null.counts()["misuses"]
    PINNED.copy_(A, non_blocking=True)
    assert null.counts()["misuses"] > before, "written twice"
    torch.cuda.synchronize()
    assert not PINNED.any()
    null.forget()
    print("all as it should be")


if __name__ == "__main__":
    main()
