"""One walk's transformer pass through a graph: `WanTransformer.chunk` with the ring cache in the engine's layout.

What runs the graph is a `Runner`: TensorRT on a GPU, ONNX Runtime on a CPU (the oracle of the tests). All that is not
the graph itself is the same for both and is tested with the second.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import torch
from torch import Tensor

from .action_graph import action_caches, told_actions
from .actions import ActionRows
from .attention import Context
from .chunk_step import StepState
from .engine_ring import EngineRing, shift
from .graph import Port
from .layers import sinusoid
from .pass_graph import ChunkShape, cache_names, cross_names
from .transformer import WanTransformer


class Runner(Protocol):
    """A graph that can be run."""

    name: str
    inputs: dict[str, Port]
    outputs: dict[str, Port]

    def run(self, given: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """All outputs. Those that lie on an input are that very tensor, changed."""
        ...


class EngineChunk:
    """The passes of one walk, batch 1. Not thread-safe. Memory is allocated once and keeps its addresses."""

    def __init__(self, model: WanTransformer, shape: ChunkShape, runner: Runner, device: torch.device | str) -> None:
        """`model` gives the embedding of time; its blocks are in the runner's graph."""
        self._model, self._shape, self._runner = model, shape, runner
        self.device = torch.device(device)
        dtype = runner.inputs[cache_names(0)[0]].dtype
        whole = (shape.config.layers, *shape.cache()[1:])
        self.keys = torch.zeros(whole, dtype=dtype, device=device)
        self.values = torch.zeros(whole, dtype=dtype, device=device)
        self.ring = EngineRing(shape, self.keys, self.values)
        self._given: dict[str, Tensor] = {}
        for layer in range(shape.config.layers):
            pair = cache_names(layer)
            self._given |= {pair[0]: self.keys[layer, None], pair[1]: self.values[layer, None]}
        for name, port in runner.inputs.items():
            if name not in self._given:
                self._given[name] = torch.zeros(port.shape, dtype=port.dtype, device=device)
        self._caches = {name: f"next_{name}" for name in runner.inputs if f"next_{name}" in runner.outputs}
        every = (action_caches(i, mouse) for i in range(shape.config.layers) for mouse in (False, True))
        self._of_actions = [pair for pair in every if pair[0] in self._caches]

    @property
    def name(self) -> str:
        return self._runner.name

    @property
    def latents(self) -> tuple[int, ...]:
        """Shape of what `chunk` takes."""
        return self._runner.inputs["latents"].shape

    def show(self, context: Context) -> None:
        """Use this prompt (and image) from the next pass on. Raises ValueError on another batch than 1."""
        if context.batch != 1:
            raise ValueError(f"the engine draws one video, the context is of {context.batch} prompts")
        for layer, seen in enumerate(context.layers):
            given = zip(cross_names(layer), (seen.keys, seen.values), strict=True)
            images = zip(cross_names(layer, image=True), (seen.image_keys, seen.image_values), strict=True)
            for name, tensor in (*given, *images):
                if tensor is not None:
                    self._given[name].copy_(tensor.transpose(1, 2))

    @torch.inference_mode()
    def rehearse(self) -> None:
        """One pass over nothing, which leaves no trace in a walk. Raises RuntimeError where the engine stops, as it
        does where a kernel inside it cannot be loaded, or gives what is not finite."""
        self._tell(torch.zeros(self.latents, device=self.device), torch.zeros(1, device=self.device))
        for name in ("action_length",) * ("action_length" in self._given):
            self._given[name].fill_(self._shape.chunk)
        if not self._runner.run(self._given)["velocity"].isfinite().all():
            raise RuntimeError("the engine's first pass is not finite")

    def reset(self) -> None:
        """Forget the walk. The prompt stays."""
        self.ring.reset()

    @torch.inference_mode()
    def chunk(self, x: Tensor, timestep: Tensor, *, commit: bool = False, actions: ActionRows | None = None) -> Tensor:
        """Velocity float32 `[1, out_channels, T, h, w]` of the next T latent frames x `[1, in_channels, T, h, w]`.

        timestep in [0, 1000], `[1]` or `[1, T]`. `commit` makes x, then clean, the newest part of the past. `actions`
        where the model draws by them. Raises ValueError on other shapes.
        """
        if tuple(x.shape) != self.latents:
            raise ValueError(f"the engine takes chunks of {self.latents}, got {tuple(x.shape)}")
        if timestep.shape not in ((1,), (1, self._shape.chunk)):
            raise ValueError(f"timestep must be [1] or [1, {self._shape.chunk}], got {tuple(timestep.shape)}")
        if (actions is None) != (self._shape.actions is None):
            raise ValueError("this model draws by actions: pass them" if actions is None else "it takes no actions")
        self._tell(x, timestep)
        if actions is not None and self._shape.actions is not None:
            for name, tensor in told_actions(self._shape.actions, actions, self.ring.next).items():
                self._given[name].copy_(tensor)
        found = self._runner.run(self._given)
        for name, following in self._caches.items():
            if found[following] is not self._given[name]:
                self._given[name].copy_(found[following])
        if commit:
            self._keep_actions()
            self.ring.advance()
        return found["velocity"]

    def _keep_actions(self) -> None:
        """Move the actions' newest frames on where the chunk does not divide their window."""
        actions, chunk = self._shape.actions, self._shape.chunk
        if actions is not None and actions.window % chunk:
            for name in (name for pair in self._of_actions for name in pair):
                shift(self._given[name], chunk, min(self.ring.next, actions.window - chunk))

    def recache(self, latents: Tensor, context: Context, *, timestep: float = 0.0, keep_sink: bool = True) -> None:
        """Write the newest clean frames `[1, C, T, h, w]` again under a new prompt, chunk by chunk: as
        `WanTransformer.recache`. Raises ValueError where they are not whole chunks or more than there were."""
        sink = self.ring.sink_before(self.ring.next - latents.shape[2]) if keep_sink else 0
        if sink:
            latents = latents[:, :, -(self._shape.window - sink) :]
        self.ring.rewind(latents.shape[2], keep_sink)
        self.show(context)
        for part in latents.split(self._shape.chunk, 2):
            self.chunk(part, torch.full((1,), timestep, device=self.device), commit=True)

    def snapshot(self) -> StepState:
        """A copy of everything that the next chunk depends on but the prompt, valid for any walk of the same shape."""
        pairs = [(self._given[k].clone(), self._given[v].clone()) for k, v in self._of_actions]
        return StepState(self.ring.snapshot(), list(pairs) if pairs else None)

    def restore(self, state: StepState) -> None:
        """Go on from a snapshot, which stays valid. Raises ValueError on another model's or engine's."""
        self.ring.restore(state.cache)
        for names, pair in zip(self._of_actions, state.actions or (), strict=True):
            assert pair is not None
            for name, kept in zip(names, pair, strict=True):
                self._given[name].copy_(kept)

    def _tell(self, x: Tensor, timestep: Tensor) -> None:
        """Write this pass's small inputs to their places."""
        model, given = self._model, self._given
        groups = (timestep if timestep.dim() == 2 else timestep[:, None]).expand(1, self._shape.chunk)
        exact = next(model.time_embedding.parameters()).dtype
        time = model.time_embedding(sinusoid(groups, model.config.freq_dim).to(exact)).to(model.dtype)
        given["latents"].copy_(x)
        given["time"].copy_(time)
        given["modulation"].copy_(model.time_projection(time).unflatten(-1, (6, -1)))
        rotation, place = self.ring.rotation(), self.ring.place()
        given["cos"].copy_(rotation.cos[None])
        given["sin"].copy_(rotation.sin[None])
        given["write_index"].fill_(place.write_index)
        given["kv_length"].fill_(place.kv_length)
