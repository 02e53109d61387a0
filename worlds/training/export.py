"""From checkpoints to a world that can be served: half-precision weights and a card."""

from __future__ import annotations

import json
import platform
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from ..autoencoder import Autoencoder
from ..config import PRESETS, STEPS_2, STEPS_3, STEPS_4, WorldConfig
from ..machine import cores
from ..network import WorldNetwork
from ..procedural.attributes import THEMES
from ..weights import SHIPPED, WorldCard, save_world


def load_tokenizer(path: Path, preset: str) -> Autoencoder:
    """The averaged tokenizer of a checkpoint. Raises ValueError when it is missing."""
    model = Autoencoder(PRESETS[preset].autoencoder)
    model.load_state_dict(averaged(path))
    return model.eval().requires_grad_(False)


def averaged(path: Path) -> dict[str, Tensor]:
    """The averaged weights of a stage's checkpoint. Raises ValueError when there is none."""
    if not path.exists():
        raise ValueError(f"{path} is missing: run its stage first")
    weights: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)["ema"]
    return weights


def starting_weights(path: Path, prefix: str) -> dict[str, Tensor]:
    """Weights to go on from: a stage's checkpoint, or the part `prefix` of a shipped world (`.safetensors`)."""
    if path.suffix != ".safetensors":
        return averaged(path)
    return {
        k.removeprefix(f"{prefix}."): v.float() if v.is_floating_point() else v
        for k, v in load_file(path).items()
        if k.startswith(f"{prefix}.")
    }


def grown(weights: dict[str, Tensor], network: WorldNetwork) -> dict[str, Tensor]:
    """Weights of a network that sees less, for one that sees more: what is new begins without effect."""
    weights = with_reprojection(weights, network)
    own = network.state_dict()
    columns = own["patch_embedding.weight"].shape[1] - weights["patch_embedding.weight"].shape[1]
    if network.config.recall and "recall_gate.weight" not in weights:
        embedding = weights["patch_embedding.weight"]
        wider = torch.cat([embedding, embedding.new_zeros(len(embedding), columns)], 1)
        gate = {k: v for k, v in own.items() if k.startswith("recall_gate.")}
        weights = {**weights, **gate, "patch_embedding.weight": wider}
    return weights


def with_reprojection(weights: dict[str, Tensor], network: WorldNetwork) -> dict[str, Tensor]:
    """Weights of a network without reprojection, for one that has it: the moved frame takes the newest one's place."""
    token = network.config.channels * network.config.patch**2
    if network.reprojection is None or "gate.weight" in weights:
        return weights
    embedding = weights["patch_embedding.weight"]
    swapped = torch.cat([embedding[:, :-token], embedding.new_zeros(len(embedding), token), embedding[:, -token:]], 1)
    own = {k: v for k, v in network.state_dict().items() if k.startswith(("reprojection.", "gate."))}
    return {**own, **weights, "patch_embedding.weight": swapped}


def export_world(runs: Path, preset: str, out: Path | None = None) -> WorldCard:
    """Write the best of `runs` as a world: the distilled network and the trained decoder where they exist."""
    config, network, source = candidate(runs, preset)
    tokenizer = averaged(runs / "tokenizer.pt")
    if (runs / "decoder.pt").exists():
        tokenizer = averaged(runs / "decoder.pt")
    if (runs / "judge.pt").exists():
        (out or SHIPPED).mkdir(parents=True, exist_ok=True)
        judge = (out or SHIPPED) / "judge.safetensors"
        save_file({k: v.half().contiguous() for k, v in averaged(runs / "judge.pt").items()}, judge)
        judge.chmod(0o644)
    facts = {"themes": list(THEMES), "network_from": source, **training_facts(runs)}
    return save_world(out or SHIPPED, config, {"network": network, "autoencoder": tokenizer}, facts)


def candidate(runs: Path, preset: str) -> tuple[WorldConfig, dict[str, Tensor], str]:
    """(configuration with the step lists it was trained for, network weights, which stage they are from)."""
    from dataclasses import replace

    config = replace(PRESETS[preset], step_lists=(STEPS_4, STEPS_3, STEPS_2))
    for stage in ("distil", "refine"):
        if (runs / f"{stage}.pt").exists():
            return config, averaged(runs / f"{stage}.pt"), stage
    return config, averaged(runs / "dynamics.pt"), "dynamics"


def training_facts(runs: Path) -> dict[str, Any]:
    """Minutes and updates of each stage, amount of data, machine. Every curve in the folder counts, by its name."""
    stages = {}
    for log in sorted(runs.glob("*.jsonl")):
        last = json.loads(log.read_text().splitlines()[-1])
        stages[log.stem] = {k: last[k] for k in ("minutes", "step")}
    walks = len([p for p in (runs / "data" / "walks").glob("[0-9]*") if p.suffix == ""])
    machine = f"{platform.machine()}, {cores()} cores, torch {torch.__version__}, no GPU"
    return {"stages": stages, "walk_shards_of_32_by_64_frames": walks, "machine": machine}
