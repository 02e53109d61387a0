"""The embedded worlds on a GPU: look, step and decode as one CUDA graph each, over fixed tensors.

The rollout stays on the host, as for every engine; the cache lies on the device, and so does what a frame sees. What a
frame's passes share is handed over once a frame; each further pass takes the noisy latent and its level, and gives the
clean one back. So the host waits once a pass and once for the picture.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from .painter import Paint, Painter, example_painting
from .recording import record


class RecordedModule:
    """A module without state, recorded for inputs of one shape."""

    def __init__(
        self, module: nn.Module, example: Sequence[Tensor], device: torch.device, fetched: Sequence[bool] = (True,)
    ) -> None:
        """`module` lies on `device`; `example` are inputs of the right shapes, anywhere. `fetched`: the outputs that
        come to the host; the others stay on the device."""
        self._inputs = [tensor.to(device, copy=True) for tensor in example]
        with torch.inference_mode(False), torch.no_grad():
            made = module(*self._inputs)  # also warms up what must not be made while a graph is recorded
            self._outputs = [out.clone() for out in ((made,) if isinstance(made, Tensor) else made)]

            def work() -> None:
                results = module(*self._inputs)
                for kept, new in zip(
                    self._outputs, (results,) if isinstance(results, Tensor) else results, strict=True
                ):
                    kept.copy_(new)

            self.recording = record(work, device, lambda: None)
        pinned = device.type == "cuda"  # else nothing is copied without the host waiting for it
        self._sent = [torch.empty(x.shape, dtype=x.dtype, pin_memory=pinned) for x in self._inputs]
        self._landed = [
            torch.empty(x.shape, dtype=x.dtype, pin_memory=pinned) if here else None
            for x, here in zip(self._outputs, fetched, strict=True)
        ]
        self._device = device
        self._read = torch.cuda.Event() if pinned else None  # when what was sent last has been read
        self._waited = True  # for that, or for something later

    def __call__(self, inputs: Sequence[Tensor], unchanged: Sequence[bool] | None = None) -> list[Tensor]:
        """Outputs, copies of their own. Inputs may lie on the host or on the device; those that are `unchanged` since
        the last call are not copied."""
        with torch.no_grad():
            self._send(inputs, unchanged)
            self.recording.replay()
            return self._taken()

    def _send(self, inputs: Sequence[Tensor], unchanged: Sequence[bool] | None) -> None:
        if self._read is not None and not self._waited:
            self._read.synchronize()  # pinned memory may be written again; as a rule it has long been read
        for i, (kept, new) in enumerate(zip(self._inputs, inputs, strict=True)):
            if unchanged is not None and unchanged[i]:
                continue
            if new.device == kept.device:
                kept.copy_(new)
            else:
                self._sent[i].copy_(new)
                kept.copy_(self._sent[i], non_blocking=True)
        if self._read is not None:
            self._read.record(torch.cuda.current_stream(self._device))
            self._waited = False

    def _taken(self) -> list[Tensor]:
        waiting = False
        for out, landed in zip(self._outputs, self._landed, strict=True):
            if landed is not None:
                landed.copy_(out, non_blocking=True)
                waiting = True
        taken = [out.clone() for out, landed in zip(self._outputs, self._landed, strict=True) if landed is None]
        if waiting and self._read is not None:
            torch.cuda.current_stream(self._device).synchronize()
            self._waited = True
        rest = iter(taken)
        return [next(rest) if landed is None else landed.clone() for landed in self._landed]


class GraphEngine:
    """Satisfies `engines.Engine`."""

    torch_threads = 1

    def __init__(
        self,
        graphs: tuple[nn.Module | None, nn.Module, nn.Module],
        examples: tuple[Sequence[Tensor], Sequence[Tensor], Sequence[Tensor]],
        device: torch.device,
        plain_look: Callable[[Tensor, Tensor], Tensor],
    ) -> None:
        """`graphs` of look, step and decode, and inputs of their shapes. Where nothing is recalled there is no graph of
        look: `plain_look` runs on the host."""
        self.name, self.device = f"graph {device.type}", device
        look, step, decode = (None if graph is None else graph.eval().to(device) for graph in graphs)
        assert step is not None
        assert decode is not None
        self._look = None if look is None else RecordedModule(look, examples[0], device, (False,))
        self._step = RecordedModule(step, examples[1], device, (True, False, False))
        self._decode = RecordedModule(decode, examples[2], device)
        self._plain_look = plain_look
        self._last: tuple[Tensor, ...] = ()
        torch.set_num_threads(self.torch_threads)

    def look(self, inputs: tuple[Tensor, ...]) -> Tensor:
        """`WorldNetwork.look`, on the device."""
        return self._plain_look(inputs[0], inputs[1]) if self._look is None else self._look(inputs)[0]

    def step(self, inputs: tuple[Tensor, ...]) -> tuple[Tensor, Tensor, Tensor]:
        """`WorldNetwork.step`; keys and values stay on the device. Within a frame, all passes of which bring the same
        `seen`, tensors that are the same objects as in the pass before are taken to be unchanged."""
        same_frame = bool(self._last) and inputs[1] is self._last[1]
        unchanged = [same_frame and new is old for new, old in zip(inputs, self._last or inputs, strict=True)]
        self._last = inputs
        clean, keys, values = self._step(inputs, unchanged)
        return clean, keys, values

    def decode(self, latents: Tensor) -> NDArray[np.uint8]:
        picture: NDArray[np.uint8] = self._decode((latents,))[0][0].numpy()
        return picture

    def painting(self, painter: Painter) -> Paint:
        """`Painter.forward` as one more graph, of a copy on the device."""
        recorded = RecordedModule(copy.deepcopy(painter).to(self.device), example_painting(painter), self.device)
        return lambda *inputs: recorded(inputs)[0]
