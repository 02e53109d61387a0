"""LoRA beside a loaded model: several at once, rescaled between chunks, gone without a trace when they are removed.

An adapter adds `scale * up @ (down @ x)` to the outputs of the linear layers that it names. The base weights are never
touched, so fp8 storage and exact removal come for free; a layer whose adapters all have scale 0 runs as if it had none.
Scales are tensors on the model's device: changing one neither waits for the GPU nor reallocates. Only a change in
*which* adapters are active changes the sequence of operators; an engine that records it compares `active`.

What was computed under other scales stays in the caches: keys and values of the prompt must be computed again after
`set_scales`, those of past frames may stay, as after a change of prompt.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from ..errors import WeightsError
from .lora_file import LowRank, read_lora

PLAIN = (torch.float32, torch.bfloat16, torch.float16)  # types that a weight can be computed in


class _SidePaths:
    """The active adapters of one layer, as its forward hook."""

    def __init__(self) -> None:
        self.paths: dict[str, tuple[Tensor, Tensor, Tensor]] = {}  # adapter -> down [r, in], up [out, r], scale []
        self.handle: RemovableHandle | None = None

    def __call__(self, module: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor:
        for down, up, scale in self.paths.values():
            low = F.linear(args[0].to(down.dtype), down) * scale  # [..., r]
            output = output + F.linear(low, up).to(output.dtype)
        return output


class _Adapter:
    """One file on the model's device."""

    def __init__(self, pairs: dict[str, tuple[Tensor, Tensor]], device: torch.device) -> None:
        self.pairs = pairs  # module -> down [r, in], up [out, r]
        self.scale = torch.zeros((), device=device)
        self.active = False


class Adapters:
    """The LoRAs of one model. Not thread-safe: the thread that runs the model owns it.

    The model must call its linear layers as modules, not use their weights directly.
    """

    def __init__(self, model: nn.Module) -> None:
        """`model`: attributes named as in Wan's published files. It must not be moved while adapters are loaded."""
        self._model = model
        self._device = next(model.parameters()).device
        self._adapters: dict[str, _Adapter] = {}
        self._hooks: dict[str, _SidePaths] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """In the order in which they were loaded."""
        return tuple(self._adapters)

    @property
    def active(self) -> tuple[str, ...]:
        """Those with a scale other than 0. A recorded graph is valid as long as this stays the same."""
        return tuple(name for name, adapter in self._adapters.items() if adapter.active)

    @property
    def bytes(self) -> int:
        """What the adapters take on the model's device."""
        return sum(t.nbytes for a in self._adapters.values() for pair in a.pairs.values() for t in pair)

    def load(self, name: str, path: Path, alpha: float | None = None) -> None:
        """Read, check and place an adapter at scale 0. `alpha`: see `read_lora`.

        Raises WeightsError where the file is damaged or made for another base, ValueError where the name is taken;
        then nothing has changed.
        """
        if name in self._adapters:
            raise ValueError(f"there is an adapter named {name!r} already; remove it first or choose another name")
        modules = dict(self._model.named_modules())
        layers = read_lora(path, modules, alpha)
        check_fit(path, layers, modules)
        pairs: dict[str, tuple[Tensor, Tensor]] = {}
        for module, layer in layers.items():
            dtype = _computing_dtype(modules[module])
            pairs[module] = (layer.down.to(self._device, dtype), layer.up.to(self._device, dtype))
        self._adapters[name] = _Adapter(pairs, self._device)

    def set_scales(self, scales: Mapping[str, float]) -> None:
        """The whole mix from now on; adapters that are not named get 0. Takes microseconds and waits for nothing.

        Raises ValueError on an unknown name or a scale that is not finite; then nothing has changed.
        """
        for name, scale in scales.items():
            if name not in self._adapters:
                raise ValueError(f"there is no adapter named {name!r}; loaded are {', '.join(self.names) or 'none'}")
            if not math.isfinite(scale):
                raise ValueError(f"the scale of {name!r} must be a finite number, got {scale}")
        for name, adapter in self._adapters.items():
            scale = float(scales.get(name, 0.0))
            with torch.inference_mode():  # allowed whether or not it was loaded in that mode
                adapter.scale.fill_(scale)
            if adapter.active != (scale != 0.0):
                self._switch(name, adapter)

    def remove(self, name: str) -> None:
        """Forget an adapter: outputs are then exactly as without it. Raises ValueError on an unknown name."""
        if name not in self._adapters:
            raise ValueError(f"there is no adapter named {name!r}; loaded are {', '.join(self.names) or 'none'}")
        if self._adapters[name].active:
            self._switch(name, self._adapters[name])
        del self._adapters[name]

    def _switch(self, name: str, adapter: _Adapter) -> None:
        """Hook an adapter's layers, or unhook them. The order of the sum is the order of loading."""
        adapter.active = not adapter.active
        for module, (down, up) in adapter.pairs.items():
            hook = self._hooks.setdefault(module, _SidePaths())
            if adapter.active:
                added = {**hook.paths, name: (down, up, adapter.scale)}
                hook.paths = {known: added[known] for known in self._adapters if known in added}
            else:
                del hook.paths[name]
            if hook.paths and hook.handle is None:
                hook.handle = self._model.get_submodule(module).register_forward_hook(hook)
            elif not hook.paths and hook.handle is not None:
                hook.handle.remove()
                hook.handle = None


@torch.no_grad()
def merged(model: nn.Module, scales: Mapping[Path, float]) -> nn.Module:
    """The same model with LoRA files added to its weights for good, summed in float32. Nothing extra per chunk.

    For what is never switched off, e.g. LongLive's. Every file is read and checked before the first weight changes.
    Raises WeightsError, also where weights are stored in fp8: merge first, quantize then; ValueError on a scale.
    """
    modules = dict(model.named_modules())
    files: list[tuple[float, dict[str, LowRank]]] = []
    for path, scale in scales.items():
        if not math.isfinite(scale):
            raise ValueError(f"the scale of {path} must be a finite number, got {scale}")
        layers = read_lora(path, modules)
        check_fit(path, layers, modules)
        for name in layers:
            weight = getattr(modules[name], "weight", None)
            if not isinstance(weight, Tensor) or weight.dtype not in PLAIN:
                raise WeightsError(f"{path} cannot be merged: {name} is stored in fp8; merge before quantizing")
        files.append((scale, layers))
    for name in {name: None for _, layers in files for name in layers}:  # each weight is rounded once
        weight = modules[name].get_parameter("weight")
        total = weight.float()
        for scale, layers in files:
            if name in layers:
                up, down = layers[name].up.to(weight.device), layers[name].down.to(weight.device)
                total = total + scale * (up @ down)
        weight.copy_(total)
    return model


def check_fit(path: Path, layers: Mapping[str, LowRank], modules: Mapping[str, nn.Module]) -> None:
    """Raises WeightsError that names the first key which the model has no place for."""
    for name, layer in layers.items():
        if name not in modules:
            raise WeightsError(
                f"{path} was made for another base: it changes {name} ({layer.key}), which this model does not have"
            )
        has = _features(modules[name])
        if has is None:
            raise WeightsError(f"{path} changes {name} ({layer.key}), which is no linear layer; it cannot be used")
        wants = (layer.down.shape[1], layer.up.shape[0])
        if wants != has:
            raise WeightsError(
                f"{path} was made for another base: {layer.key} fits a layer {wants[0]} -> {wants[1]}, "
                f"{name} is {has[0]} -> {has[1]}"
            )


def _features(module: nn.Module) -> tuple[int, int] | None:
    """(in, out) of a linear layer, stored in whichever way; None for anything else."""
    inputs, outputs = getattr(module, "in_features", None), getattr(module, "out_features", None)
    return (inputs, outputs) if isinstance(inputs, int) and isinstance(outputs, int) else None


def _computing_dtype(module: nn.Module) -> torch.dtype:
    weight = getattr(module, "weight", None)
    return weight.dtype if isinstance(weight, Tensor) and weight.dtype in PLAIN else torch.bfloat16
