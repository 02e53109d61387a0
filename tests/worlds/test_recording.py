"""Recording on a GPU, beside other threads. What a recording holds is tested without one where recordings are made."""

from __future__ import annotations

import threading

import pytest
import torch

from worldstream.worlds.recording import record


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch can use no GPU here")
def test_another_thread_may_use_the_gpu_while_one_records() -> None:
    """Another world is loaded while a walk goes on: its memory, its copies and its waits disturb no recording."""
    a = torch.eye(64, device="cuda")
    out, begun, done = torch.empty_like(a), threading.Event(), threading.Event()
    torch.mm(a, a, out=out)  # what has to be loaded is
    failed: list[RuntimeError] = []

    def loads() -> None:
        begun.wait()
        try:
            weights = torch.empty(300 << 20, device="cuda", dtype=torch.uint8)
            weights[:100].copy_(torch.ones(100, dtype=torch.uint8))
            torch.cuda.current_stream().synchronize()
        except RuntimeError as error:
            failed.append(error)
        finally:
            done.set()

    def work() -> None:
        begun.set()
        done.wait()
        torch.mm(a, a, out=out)

    beside = threading.Thread(target=loads)
    beside.start()
    recording = record(work, a.device, lambda: None)
    beside.join()
    out.zero_()
    recording.replay()
    assert not failed
    assert torch.equal(out, a)
