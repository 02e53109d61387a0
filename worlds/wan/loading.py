"""Fill a module from a recognised checkpoint: every key used, none invented, one tensor in memory beside the model."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..errors import CheckpointError
from .layout import Layout
from .layout_parts import TAEHV_GROW
from .recognise import Recognised


def fill(
    module: nn.Module,
    part: Recognised,
    dtype: torch.dtype | None = torch.bfloat16,
    device: torch.device | str = "cpu",
) -> None:
    """Replace the parameters of `module`, which may be on the meta device, by those of a checkpoint; floating point
    ones become `dtype`.

    Raises CheckpointError, on a key too many or too few and before anything is read; after a failure half way the
    module is empty (on the meta device).
    """
    checkpoint = part.checkpoint
    keys = {name: key for key, name in part.published.items()}
    target = module.state_dict(keep_vars=True)
    _compare(part, {key: tuple(value.shape) for key, value in target.items()}, set(keys.values()))
    try:
        for name, tensor in checkpoint.tensors(dtype, device, keys.keys()):
            key = keys[name]
            if TAEHV_GROW.fullmatch(key):
                tensor = tensor[-target[key].shape[0] :]
            _replace(module, key, tensor)
    except BaseException:
        module.to("meta")
        raise


def _compare(part: Recognised, target: Layout, published: set[str]) -> None:
    path, table = part.checkpoint.path, part.layout
    for what, odd in (("lacks", target.keys() - published), ("has no use for", published - target.keys())):
        if odd:
            subject = path if what == "lacks" else "this model"
            raise CheckpointError(
                f"{subject} {what} {min(odd)} ({len(odd)} in all); {path} does not fit this model, give its own weights"
            )
    for key, shape in target.items():
        more = TAEHV_GROW.fullmatch(key) and table[key][0] >= shape[0] and table[key][1:] == shape[1:]
        if table[key] != shape and not more:
            raise CheckpointError(
                f"{path}: {key} is {list(table[key])}, this model has {list(shape)}; give its own weights"
            )


def _replace(module: nn.Module, key: str, tensor: Tensor) -> None:
    """Put a tensor in place of a parameter or buffer, without a copy."""
    path, _, leaf = key.rpartition(".")
    owner = module.get_submodule(path)
    if leaf in owner._parameters:
        owner._parameters[leaf] = nn.Parameter(tensor, requires_grad=False)
    else:
        owner._buffers[leaf] = tensor
