"""Modules filled from recognised checkpoints: every key used, none invented, nothing half loaded left behind."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from worldstream.worlds.errors import CheckpointError
from worldstream.worlds.wan import checkpoint_files, loading
from worldstream.worlds.wan.checkpoint_files import open_checkpoint
from worldstream.worlds.wan.layout import Layout
from worldstream.worlds.wan.layout_parts import TaehvShape, VaeShape, taehv, vae
from worldstream.worlds.wan.loading import fill
from worldstream.worlds.wan.recognise import recognise
from worldstream.worlds.wan.synthesize import write_pickle, write_safetensors


def empty(table: Layout) -> nn.Module:
    """A module with exactly these keys, on the meta device."""
    root = nn.Module()
    for key, size in table.items():
        owner = root
        *names, leaf = key.split(".")
        for name in names:
            if name not in owner._modules:
                owner.add_module(name, nn.Module())
            owner = owner.get_submodule(name)
        owner.register_parameter(leaf, nn.Parameter(torch.empty(size, device="meta")))
    return root


def test_fill_uses_every_key_and_leaves_nothing_behind_on_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, shape = tmp_path / "vae.pth", VaeShape(dim=2)
    write_pickle(path, vae(shape), torch.float32, 0, "")
    part = recognise(open_checkpoint(path))
    module = empty(vae(shape))
    fill(module, part, torch.bfloat16)
    state = module.state_dict()
    assert {key: tuple(value.shape) for key, value in state.items()} == vae(shape)
    assert {value.dtype for value in state.values()} == {torch.bfloat16}
    whole = torch.load(path, weights_only=True)
    assert all(torch.equal(value, whole[key].to(torch.bfloat16)) for key, value in state.items())

    half = iter(range(10))

    def failing(module: nn.Module, key: str, tensor: Tensor) -> None:
        if next(half) == 9:
            raise CheckpointError(f"{path} broke half way")
        replaced(module, key, tensor)

    fresh, replaced = empty(vae(shape)), loading._replace
    with monkeypatch.context() as patched:
        patched.setattr(loading, "_replace", failing)
        with pytest.raises(CheckpointError, match="half way"):
            fill(fresh, part)
    assert all(value.is_meta for value in fresh.state_dict().values())

    del fresh.get_submodule("encoder.conv1").bias
    with pytest.raises(CheckpointError, match=r"this model has no use for encoder\.conv1\.bias \(1 in all\)"):
        fill(fresh, part)
    with pytest.raises(CheckpointError, match=r"is \[2, 3, 3, 3, 3\], this model has \[4, 3, 3, 3, 3\]"):
        fill(empty(vae(VaeShape(dim=4))), part)
    monkeypatch.setattr(checkpoint_files, "host_free_bytes", lambda: 1000)
    with pytest.raises(CheckpointError, match="of memory and"):
        fill(empty(vae(shape)), part)


def test_the_tiny_decoders_longer_strides_are_cut_to_the_last_frames(tmp_path: Path) -> None:
    stored, needed = (TaehvShape(widths=(4, 4, 4, 4), encoder=4, grow=(grow, 2, 2)) for grow in (2, 1))
    path = tmp_path / "t.safetensors"
    write_safetensors(path, taehv(stored), torch.float16, 0)
    root = empty(taehv(needed))
    fill(root, recognise(open_checkpoint(path)), torch.float32)
    expected = load_file(path)["decoder.7.conv.weight"][-4:].float()
    assert torch.equal(root.state_dict()["decoder.7.conv.weight"], expected)
