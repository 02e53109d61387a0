"""Nothing inside a block waits for the device: drawn on torch's device without memory, where every answer that the host
asks for is an error, and every copy from ordinary memory is seen."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from tests.worlds.wan.test_rollout import model, picture
from worldstream.worlds.core import Action
from worldstream.worlds.wan.actions import ActionRows
from worldstream.worlds.wan.chunk_fused import FusedStep
from worldstream.worlds.wan.chunk_fused_graph import FusedGraphStep
from worldstream.worlds.wan.chunk_graph import GraphStep
from worldstream.worlds.wan.chunk_step import Block, EagerStep, passes
from worldstream.worlds.wan.fused_transformer import FusedTransformer
from worldstream.worlds.wan.rollout import WanRollout
from worldstream.worlds.wan.transformer import WanTransformer
from worldstream.worlds.wan.upload import upload
from worldstream.worlds.wan.vae import WanVAE

META = torch.device("meta")


class Waits(TorchDispatchMode):
    """Copies between the host and the device that wait for it."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.seen: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        named = kwargs or {}
        out = func(*args, **named)
        sides = {t.device.type for t in tree_leaves((args, named, out)) if isinstance(t, Tensor) and t.dim()}
        waits = not named.get("non_blocking") and (len(args) < 3 or args[2] is not True)
        if str(func).startswith(("aten._to_copy", "aten.copy_")) and len(sides) == 2 and waits:
            self.seen.append(str(func))
        return out


def steps(name: str, kind: type[EagerStep], kernels: bool, blocks: int, eight: str = "never") -> list[str]:
    """What waited in a walk past its window."""
    m = model(name)
    network = copy.deepcopy(m.transformer).to(META)
    assert isinstance(network, WanTransformer)
    c = network.config
    image = torch.zeros(1, c.image_tokens, c.image_dim or 1, device=META)
    words = torch.zeros(1, 4, c.text_dim, device=META)
    context = network.context(words) if c.has_text else network.context(image=image)
    transformer = FusedTransformer.of(network, eight) if kernels else network
    with Waits() as waits:
        step = kind(transformer, m.preset, 2, 4, m.window)
        for i in range(blocks):
            noise = tuple(
                upload(torch.zeros(1, 16, m.preset.block, 2, 4), META) for _ in range(passes(m.preset, not i))
            )
            rows = seen = None
            if m.preset.actions is not None:
                a = m.preset.actions
                shape = (1, m.preset.block, a.rows)
                rows = ActionRows(torch.zeros(*shape, a.keyboard), torch.zeros(*shape, 2) if a.mouse else None).to(META)
                seen = torch.zeros(1, c.in_channels - 16, m.preset.block, 2, 4, device=META)
            step.block(Block(noise, context, seen, rows, not i))
    if isinstance(step, GraphStep | FusedGraphStep):
        assert step.recordings == 1
    return waits.seen


QUICK = "causal-forcing-framewise-1step"


@pytest.mark.parametrize(
    ("name", "kind", "kernels", "blocks"),
    [
        ("longlive", EagerStep, False, 2),
        (QUICK, EagerStep, True, 2),
        (QUICK, GraphStep, False, 4),
        (QUICK, FusedStep, True, 3),
        ("matrix-game-2-gta-drive", GraphStep, True, 4),
        (QUICK, FusedGraphStep, True, 5),
    ],
)
def test_no_block_waits(name: str, kind: type[EagerStep], kernels: bool, blocks: int) -> None:
    assert steps(name, kind, kernels, blocks) == []


def test_attention_in_eight_bits_waits_for_nothing() -> None:
    """Nor do its scales, which the first chunk sets on the device."""
    assert steps(QUICK, FusedGraphStep, True, 5, "always") == []


@pytest.mark.parametrize("name", ["self-forcing", "matrix-game-2-universal"])
def test_nothing_around_a_block_waits(name: str) -> None:
    """Noise, actions, the first picture and bookkeeping included: a rollout puts block after block in line."""
    m = model(name)
    network, codec = copy.deepcopy(m.transformer).to(META), copy.deepcopy(m.decoder)
    assert isinstance(codec, WanVAE)
    codec.to(META)
    rollout = WanRollout(replace(m, transformer=network, decoder=codec, encoder=codec))
    rollout.reset(1, "a forest", picture(2) if "walk" in m.preset.controls else None)
    with Waits() as waits, torch.inference_mode():
        drawn = [rollout._next(Action(forward_m=float(i), yaw_rad=0.1)) for i in range(3)]
    assert {block.latents.device for block in drawn} == {META}
    assert waits.seen == []


def test_a_wait_would_be_found() -> None:
    x = torch.zeros(3)
    with Waits() as waits:
        x.to(META)
        torch.zeros(3, device=META).copy_(x)
        upload(x, META)
    assert len(waits.seen) == 2
    with pytest.raises(RuntimeError, match="meta"):
        float(torch.zeros(1, device=META))
    with pytest.raises(NotImplementedError):
        torch.zeros(1, device=META).cpu()
