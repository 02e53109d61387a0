"""A small model under Wan's names, random LoRAs for it, and every spelling in which such files are published."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from tests.worlds.wan.tiny_encoders import randomised

DIM, FFN, RANK = 8, 12, 3
Pair = tuple[Tensor, Tensor]  # A [rank, in], B [out, rank]


class Attention(nn.Module):
    def __init__(self, image: bool = False) -> None:
        super().__init__()
        self.q, self.k, self.v, self.o = (nn.Linear(DIM, DIM) for _ in range(4))
        if image:
            self.k_img, self.v_img = nn.Linear(DIM, DIM), nn.Linear(DIM, DIM)


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.self_attn, self.cross_attn = Attention(), Attention(image=True)
        self.ffn = nn.Sequential(nn.Linear(DIM, FFN), nn.GELU(), nn.Linear(FFN, DIM))


class Head(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(DIM, 4)


class Tiny(nn.Module):
    """Linear layers under Wan's names; what it computes is beside the point."""

    def __init__(self, blocks: int = 2) -> None:
        super().__init__()
        self.patch_embedding = nn.Conv3d(4, DIM, 1)
        self.time_projection = nn.Sequential(nn.SiLU(), nn.Linear(DIM, DIM))
        self.blocks = nn.ModuleList(Block() for _ in range(blocks))
        self.head = Head()

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.time_projection(x)
        for block in self.blocks:
            assert isinstance(block, Block)
            for attention in (block.self_attn, block.cross_attn):
                x = x + attention.o(torch.tanh(attention.q(x)) * attention.k(x) + attention.v(x))
            x = x + block.cross_attn.k_img(x) * block.cross_attn.v_img(x)
            x = x + block.ffn(x)
        return self.head.head(x)


def tiny(blocks: int = 2) -> Tiny:
    model = randomised(Tiny(blocks), 0)
    assert isinstance(model, Tiny)
    return model


def linears(model: nn.Module) -> list[str]:
    return [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]


def drawn(names: list[str], seed: int, rank: int = RANK) -> dict[str, Pair]:
    """A random adapter for the named layers."""
    generator, modules = torch.Generator().manual_seed(seed), dict(tiny().named_modules())
    pairs = {}
    for name in names:
        layer = modules[name]
        assert isinstance(layer, nn.Linear)
        a, b = torch.randn(rank, layer.in_features, generator=generator), torch.randn(
            layer.out_features, rank, generator=generator
        )  # fmt: skip
        pairs[name] = (a * 0.3, b * 0.3)
    return pairs


DIFFUSERS = [  # longest first; the table of scripts/convert_wan_to_diffusers.py, read backwards
    ("self_attn.q", "attn1.to_q"), ("self_attn.k", "attn1.to_k"), ("self_attn.v", "attn1.to_v"),
    ("self_attn.o", "attn1.to_out.0"), ("cross_attn.k_img", "attn2.add_k_proj"),
    ("cross_attn.v_img", "attn2.add_v_proj"), ("cross_attn.q", "attn2.to_q"), ("cross_attn.k", "attn2.to_k"),
    ("cross_attn.v", "attn2.to_v"), ("cross_attn.o", "attn2.to_out.0"), ("ffn.0", "ffn.net.0.proj"),
    ("ffn.2", "ffn.net.2"), ("head.head", "proj_out"), ("time_projection.1", "condition_embedder.time_proj"),
]  # fmt: skip


def diffusers_name(name: str) -> str:
    for ours, theirs in DIFFUSERS:
        if name.endswith(ours):
            return name.removesuffix(ours) + theirs
    raise AssertionError(name)


def tensors(pairs: dict[str, Pair], spell: Callable[[str, str], str]) -> dict[str, Tensor]:
    return {spell(name, "AB"[i]): side for name, pair in pairs.items() for i, side in enumerate(pair)}


def write_peft(path: Path, pairs: dict[str, Pair]) -> Path:
    save_file(tensors(pairs, lambda name, side: f"base_model.model.{name}.lora_{side}.weight"), path)
    return path


def write_peft_named(path: Path, pairs: dict[str, Pair]) -> Path:
    save_file(tensors(pairs, lambda name, side: f"base_model.model.model.{name}.lora_{side}.default.weight"), path)
    return path


def write_longlive(path: Path, pairs: dict[str, Pair]) -> Path:
    def spell(name: str, side: str) -> str:
        return f"base_model.model.{name.replace('.self', '._fsdp_wrapped_module.self')}.lora_{side}.weight"

    path = path.with_suffix(".pt")
    torch.save({"generator_lora": tensors(pairs, spell), "critic_lora": {}, "step": 3000}, path)
    return path


def write_diffusers(path: Path, pairs: dict[str, Pair]) -> Path:
    save_file(tensors(pairs, lambda name, side: f"transformer.{diffusers_name(name)}.lora_{side}.weight"), path)
    return path


def write_comfy(path: Path, pairs: dict[str, Pair]) -> Path:
    """Its alpha is half the rank, so its B is twice as large."""
    sides = {"A": "down", "B": "up"}
    doubled = {name: (a, b * 2) for name, (a, b) in pairs.items()}
    state = tensors(doubled, lambda name, side: f"diffusion_model.{name}.lora_{sides[side]}.weight")
    save_file(state | {f"diffusion_model.{name}.alpha": torch.tensor(RANK / 2) for name in pairs}, path)
    return path


def write_kohya(path: Path, pairs: dict[str, Pair]) -> Path:
    sides = {"A": "down", "B": "up"}
    state = tensors(pairs, lambda name, side: f"lora_unet_{name.replace('.', '_')}.lora_{sides[side]}.weight")
    save_file(state | {f"lora_unet_{name.replace('.', '_')}.alpha": torch.tensor(float(RANK)) for name in pairs}, path)
    return path


WRITERS = [write_peft, write_peft_named, write_longlive, write_diffusers, write_comfy, write_kohya]
