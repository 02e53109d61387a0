"""LoRA files: every spelling in use -> low-rank pairs under the published names of Wan's modules.

peft writes `base_model.model.blocks.0.self_attn.q.lora_A.weight` (also `.lora_A.default.weight`), LongLive a pickle
whose entry `generator_lora` is that, diffusers `transformer.blocks.0.attn1.to_q.lora_A.weight` with names of its own,
ComfyUI `diffusion_model.blocks.0.self_attn.q.lora_down.weight` beside an `alpha`, and the kohya trainers flatten the
path to `lora_unet_blocks_0_self_attn_q`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import WeightsError
from .layout import PREFIXES, WRAPPERS, from_diffusers
from .safetensors_header import read_metadata
from .state_file import read_state

GENERATOR = "generator_lora"  # the entry of LongLive's lora.pt
PEFT = "base_model.model."
FLAT_PREFIX = "lora_unet_"

_LAYER = re.compile(
    r"(?P<module>.+?)\.(?:(?:lora_(?P<side>A|B|down|up)(?:\.(?P<adapter>[^.]+))?\.weight)|(?P<alpha>alpha))"
)
_DOWN = ("A", "down")


@dataclass(frozen=True, slots=True)
class LowRank:
    """What one linear layer gains: `up @ down`, float32 on the CPU, alpha / rank already in `up`."""

    down: Tensor  # [rank, in]
    up: Tensor  # [out, rank]
    key: str  # of `down` in the file, for messages

    @property
    def rank(self) -> int:
        return self.down.shape[0]


def read_lora(path: Path, modules: Collection[str] = (), alpha: float | None = None) -> dict[str, LowRank]:
    """Published module name -> low-rank pair.

    `modules`: the model's module names, needed for flattened names only. `alpha` is used where neither the file nor an
    `adapter_config.json` beside it says one; None then means alpha = rank, which is LongLive's. Raises WeightsError.
    """
    state = read_state(path, GENERATOR)
    sides, alphas = _sorted_by_module(path, state, {name.replace(".", "_"): name for name in modules})
    said, rank_stabilised = _configured(path)
    layers: dict[str, LowRank] = {}
    for module, pair in sides.items():
        layers[module] = _layer(
            path, module, pair, alphas.get(module, said if said is not None else alpha), rank_stabilised
        )
    if not layers:
        raise WeightsError(f"{path} holds no LoRA layers; is it the right file?")
    if strangers := sorted(alphas.keys() - layers.keys()):
        raise WeightsError(f"{path} has an alpha for {strangers[0]} but no weights; it is incomplete")
    return layers


def published_name(module: str, flat: Mapping[str, str]) -> str:
    """A module's name in Wan's own files. `flat` maps names with underscores for dots to real ones."""
    module = WRAPPERS.sub("", module)
    if module.startswith(FLAT_PREFIX):
        short = module.removeprefix(FLAT_PREFIX)
        return flat.get(short, short)
    while prefix := next((p for p in (PEFT, *PREFIXES) if module.startswith(p)), None):
        module = module.removeprefix(prefix)
    return from_diffusers(module) or module


def _sorted_by_module(
    path: Path, state: Mapping[str, Tensor], flat: Mapping[str, str]
) -> tuple[dict[str, dict[str, tuple[str, Tensor]]], dict[str, float]]:
    """Module -> side -> (key, weight), and module -> alpha."""
    sides: dict[str, dict[str, tuple[str, Tensor]]] = {}
    alphas: dict[str, float] = {}
    adapters: set[str | None] = set()
    for key, value in state.items():
        match = _LAYER.fullmatch(key)
        if match is None:
            raise WeightsError(
                f"{path} holds {key}, which is no LoRA layer; DoRA, LoHa and full differences are not supported"
            )
        module = published_name(match["module"], flat)
        if match["alpha"]:
            if value.numel() != 1:
                raise WeightsError(f"{path}: {key} should be one number, it is {tuple(value.shape)}")
            alphas[module] = float(value)
            continue
        adapters.add(match["adapter"])
        side = "down" if match["side"] in _DOWN else "up"
        if side in sides.setdefault(module, {}):
            raise WeightsError(f"{path} changes {module} twice, the second time by {key}; give one adapter per file")
        sides[module][side] = (key, value)
    if len(adapters) > 1:
        raise WeightsError(f"{path} holds several adapters ({', '.join(map(str, adapters))}); give one per file")
    return sides, alphas


def _layer(
    path: Path, module: str, pair: Mapping[str, tuple[str, Tensor]], alpha: float | None, rank_stabilised: bool
) -> LowRank:
    if len(pair) != 2:
        missing = "up (B)" if "down" in pair else "down (A)"
        raise WeightsError(f"{path} has no {missing} weight for {module}; it is incomplete")
    (key, down), (_, up) = pair["down"], pair["up"]
    if down.ndim != 2 or up.ndim != 2 or down.shape[0] != up.shape[1] or not down.shape[0]:
        raise WeightsError(
            f"{path}: {key} is {tuple(down.shape)} and its partner {tuple(up.shape)}; "
            "a pair is [rank, in] and [out, rank]"
        )
    rank = down.shape[0]
    ratio = 1.0 if alpha is None else alpha / (math.sqrt(rank) if rank_stabilised else rank)
    down, up = down.float(), up.float() * ratio
    if not (bool(torch.isfinite(down).all()) and bool(torch.isfinite(up).all())):
        raise WeightsError(f"{path}: {key} or its partner holds numbers that are not finite; copy the file again")
    return LowRank(down, up, key)


def _configured(path: Path) -> tuple[float | None, bool]:
    """lora_alpha and use_rslora as peft or diffusers wrote them; (None, False) where nobody did."""
    beside = path.with_name("adapter_config.json")
    try:
        if beside.is_file():
            config: Any = json.loads(beside.read_text())
        else:
            written: Any = json.loads(read_metadata(path).get("lora_adapter_metadata", "{}"))
            config = {str(name).removeprefix("transformer."): value for name, value in written.items()}
        odd = [name for name in ("use_dora", "alpha_pattern") if config.get(name)]
        alpha = config.get("lora_alpha")
        result = None if alpha is None else float(alpha), bool(config.get("use_rslora", False))
    except WeightsError:
        raise
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise WeightsError(f"the LoRA's configuration {beside} cannot be read ({error}); copy it again") from error
    if odd:
        raise WeightsError(f"{path} was trained with {odd[0]}, which is not supported; merge it with peft and add that")
    return result
