"""TAEHV against a plain loop over frames written from its description; its layout; its caches; what it refuses."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from worldstream.worlds.wan.taehv import TAEHV, TAEHV1_5, TAEW2_2, TAEHVConfig

SMALL = TAEHVConfig(widths=(8, 6, 4, 5), encoder_width=4)
PATCHED = TAEHVConfig(channels=6, patch=2, widths=(8, 6, 4, 5), encoder_width=4)
TOLERANCE = 1e-4
Weights = dict[str, Tensor]


def network(config: TAEHVConfig) -> TAEHV:
    torch.manual_seed(0)
    model = TAEHV(config).eval().requires_grad_(False)
    for weight in model.parameters():
        weight.normal_(std=0.1 if weight.ndim == 1 else weight[0].numel() ** -0.5)
    last = model.decoder[22]
    assert isinstance(last, nn.Conv2d)
    assert last.bias is not None
    last.weight.mul_(0.4)  # so that few values are clipped
    last.bias.fill_(0.5)
    return model


@pytest.fixture(scope="module", params=[SMALL, PATCHED], ids=["patch 1", "patch 2"])
def tiny(request: pytest.FixtureRequest) -> TAEHV:
    return network(request.param)


@pytest.fixture(scope="module")
def small() -> TAEHV:
    return network(SMALL)


def random(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def frames_of(*shape: int, seed: int = 1) -> Tensor:
    return random(*shape, seed=seed).mul(0.5).clamp(-1, 1)


def relative_error(ours: Tensor, theirs: Tensor) -> float:
    assert ours.shape == theirs.shape
    return float((ours - theirs).abs().max() / theirs.abs().max())


# The description, frame by frame: a clip is a list of pictures [B, C, H, W]


def convolved(w: Weights, key: str, x: Tensor, stride: int = 1) -> Tensor:
    weight = w[key + ".weight"]
    return F.conv2d(x, weight, w.get(key + ".bias"), stride, padding=weight.shape[-1] // 2)


def remembered(w: Weights, key: str, clip: list[Tensor]) -> list[Tensor]:
    """Each frame beside the one before it (black before the first) through three convolutions, added to the frame."""
    out = []
    for before, now in zip([torch.zeros_like(clip[0]), *clip], clip, strict=False):
        y = torch.cat([now, before], 1)
        y = convolved(w, f"{key}.conv.0", y).clamp(min=0)
        y = convolved(w, f"{key}.conv.2", y).clamp(min=0)
        out.append((convolved(w, f"{key}.conv.4", y) + now).clamp(min=0))
    return out


def plainly_decoded(w: Weights, latents: Tensor, patch: int) -> Tensor:
    clip = [3 * torch.tanh(latents[:, :, t] / 3) for t in range(latents.shape[2])]
    clip = [convolved(w, "decoder.1", x).clamp(min=0) for x in clip]
    for first, grown in ((3, 1), (9, 2), (15, 2)):
        for block in range(first, first + 3):
            clip = remembered(w, f"decoder.{block}", clip)
        clip = [x.repeat_interleave(2, 2).repeat_interleave(2, 3) for x in clip]
        clip = [part for x in clip for part in convolved(w, f"decoder.{first + 4}.conv", x).chunk(grown, 1)]
        clip = [convolved(w, f"decoder.{first + 5}", x) for x in clip]
    clip = [F.pixel_shuffle(convolved(w, "decoder.22", x.clamp(min=0)), patch) for x in clip]
    return torch.stack(clip[3:], 2).clamp(0, 1) * 2 - 1


def plainly_encoded(w: Weights, rgb: Tensor, patch: int) -> Tensor:
    clip = [F.pixel_unshuffle((rgb[:, :, t] + 1) / 2, patch) for t in range(rgb.shape[2])]
    clip = [convolved(w, "encoder.0", x).clamp(min=0) for x in clip]
    for first, pooled in ((2, 2), (7, 2), (12, 1)):
        groups = [torch.cat(clip[t : t + pooled], 1) for t in range(0, len(clip), pooled)]
        clip = [convolved(w, f"encoder.{first}.conv", x) for x in groups]
        clip = [convolved(w, f"encoder.{first + 1}", x, stride=2) for x in clip]
        for block in range(first + 2, first + 5):
            clip = remembered(w, f"encoder.{block}", clip)
    return torch.stack([convolved(w, "encoder.17", x) for x in clip], 2)


@pytest.mark.parametrize(("batch", "count", "rows", "columns"), [(1, 1, 4, 6), (2, 3, 3, 5), (1, 4, 1, 2)])
def test_decode_is_the_plain_loop(tiny: TAEHV, batch: int, count: int, rows: int, columns: int) -> None:
    latents = 2 * random(batch, tiny.channels, count, rows, columns)
    rgb, state = tiny.decode(latents)
    theirs = plainly_decoded(tiny.state_dict(), latents, tiny.config.patch)
    assert rgb.shape == (batch, 3, 4 * count - 3, tiny.cell_px * rows, tiny.cell_px * columns)
    assert theirs.std() > 0.05
    assert (theirs.abs() == 1).float().mean() < 0.2  # few are clipped
    error = relative_error(rgb, theirs)
    print(f"decode {tuple(latents.shape)}: max relative error {error:.1e}")
    assert error <= TOLERANCE
    assert state.seen == count


@pytest.mark.parametrize(("batch", "count", "rows", "columns"), [(1, 4, 4, 6), (2, 12, 3, 5), (1, 8, 1, 2)])
def test_encode_is_the_plain_loop(tiny: TAEHV, batch: int, count: int, rows: int, columns: int) -> None:
    rgb = frames_of(batch, 3, count, tiny.cell_px * rows, tiny.cell_px * columns)
    latents, state = tiny.encode(rgb)
    assert latents.shape == (batch, tiny.channels, count // 4, rows, columns)
    error = relative_error(latents, plainly_encoded(tiny.state_dict(), rgb, tiny.config.patch))
    print(f"encode {tuple(rgb.shape)}: max relative error {error:.1e}")
    assert error <= TOLERANCE
    assert state.seen == count // 4


CUTS = st.sets(st.integers(1, 5)).map(lambda cuts: [0, *sorted(cuts), 6])  # six latents in pieces


@settings(max_examples=8)
@given(cuts=CUTS, reuse=st.booleans())
def test_latents_may_come_in_any_pieces(small: TAEHV, cuts: list[int], reuse: bool) -> None:
    latents = random(2, 16, 6, 1, 2)
    whole, _ = small.decode(latents)
    state, pieces = None, []
    for start, end in pairwise(cuts):
        rgb, state = small.decode(latents[:, :, start:end], state, reuse=reuse)
        assert rgb.shape[2] == small.frames(start, end - start)
        pieces.append(rgb)
    assert torch.equal(torch.cat(pieces, 2), whole)


@settings(max_examples=8)
@given(cuts=CUTS, reuse=st.booleans())
def test_frames_may_come_in_any_groups(small: TAEHV, cuts: list[int], reuse: bool) -> None:
    rgb = frames_of(2, 3, 24, 8, 16)
    whole, _ = small.encode(rgb)
    state, pieces = None, []
    for start, end in pairwise(cuts):
        latents, state = small.encode(rgb[:, :, 4 * start : 4 * end], state, reuse=reuse)
        pieces.append(latents)
    assert torch.equal(torch.cat(pieces, 2), whole)


# Layout


def published_keys() -> set[str]:
    """The keys of `taew2_1`, written down from world-model-peers.md §4.5."""
    both = ("weight", "bias")
    keys = {f"{place}.{part}" for place in ("decoder.1", "decoder.22", "encoder.0", "encoder.17") for part in both}
    for end, blocks in (("decoder", (3, 4, 5, 9, 10, 11, 15, 16, 17)), ("encoder", (4, 5, 6, 9, 10, 11, 14, 15, 16))):
        keys |= {f"{end}.{block}.conv.{inner}.{part}" for block in blocks for inner in (0, 2, 4) for part in both}
    keys |= {f"decoder.{place}.conv.weight" for place in (7, 13, 19)} | {f"decoder.{p}.weight" for p in (8, 14, 20)}
    keys |= {f"encoder.{place}.conv.weight" for place in (2, 7, 12)} | {f"encoder.{p}.weight" for p in (3, 8, 13)}
    return keys


def test_published_layout_in_full_size() -> None:
    with torch.device("meta"):
        model = TAEHV()
    shapes = {key: tuple(weight.shape) for key, weight in model.state_dict().items()}
    assert set(shapes) == published_keys()
    assert shapes["decoder.1.weight"] == (256, 16, 3, 3)
    assert shapes["decoder.3.conv.0.weight"] == (256, 512, 3, 3)
    assert [shapes[f"decoder.{n}.conv.weight"][:2] for n in (7, 13, 19)] == [(256, 256), (256, 128), (128, 64)]
    assert [shapes[f"decoder.{n}.weight"][:2] for n in (8, 14, 20)] == [(128, 256), (64, 128), (64, 64)]
    assert [shapes[f"encoder.{n}.conv.weight"][:2] for n in (2, 7, 12)] == [(64, 128), (64, 128), (64, 64)]
    assert shapes["decoder.22.weight"] == (3, 64, 3, 3)
    assert shapes["encoder.17.weight"] == (16, 64, 3, 3)
    assert sum(weight.numel() for weight in model.decoder.parameters()) == 9_844_611
    assert sum(weight.numel() for weight in model.encoder.parameters()) == 1_470_928


@pytest.mark.parametrize(("config", "channels"), [(TAEW2_2, 48), (TAEHV1_5, 32)])
def test_patched_relatives(config: TAEHVConfig, channels: int) -> None:
    with torch.device("meta"):
        model = TAEHV(config)
    assert set(model.state_dict()) == published_keys()
    assert model.state_dict()["decoder.1.weight"].shape == (256, channels, 3, 3)
    assert model.state_dict()["decoder.22.weight"].shape == (12, 64, 3, 3)
    assert model.state_dict()["encoder.0.weight"].shape == (64, 12, 3, 3)
    assert model.cell_px == 16


def test_longer_growth_is_cut_to_its_last_frames(small: TAEHV) -> None:
    weights = small.state_dict()
    longer = dict(weights) | {f"decoder.{n}.conv.weight": weights[f"decoder.{n}.conv.weight"] for n in (13, 19)}
    longer["decoder.7.conv.weight"] = torch.cat([random(8, 8, 1, 1), weights["decoder.7.conv.weight"]])
    kept = dict(longer)
    model = TAEHV(SMALL).eval().requires_grad_(False)
    model.load_state_dict(longer)
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), weights.values(), strict=True))
    assert longer.keys() == kept.keys()  # what was given stays as it was
    assert longer["decoder.7.conv.weight"].shape == (16, 8, 1, 1)
    with torch.device("meta"):
        assigned = TAEHV(SMALL)
    assigned.load_state_dict(longer, assign=True)
    assert torch.equal(assigned.state_dict()["decoder.7.conv.weight"], weights["decoder.7.conv.weight"])


@pytest.mark.parametrize("rows", [4, 12])
def test_growth_of_another_width_is_refused(small: TAEHV, rows: int) -> None:
    weights = dict(small.state_dict()) | {"decoder.7.conv.weight": torch.zeros(rows, 8, 1, 1)}
    with pytest.raises(RuntimeError, match=r"size mismatch for decoder\.7\.conv\.weight"):
        TAEHV(SMALL).load_state_dict(weights)


# State


def test_a_stream_goes_on_from_an_older_state(small: TAEHV) -> None:
    latents = random(1, 16, 4, 2, 3)
    _, early = small.decode(latents[:, :, :2])
    first, _ = small.decode(latents[:, :, 2:], early)
    small.decode(latents[:, :, :2] + 1, early)
    copy = early.clone()
    second, later = small.decode(latents[:, :, 2:], early, reuse=True)
    assert torch.equal(first, second)
    assert [c.data_ptr() for c in later.caches] == [c.data_ptr() for c in early.caches]
    assert torch.equal(small.decode(latents[:, :, 2:], copy)[0], first)


@pytest.mark.parametrize(("batch", "rows", "columns"), [(1, 2, 3), (2, 5, 4)])
def test_sizes_of_states_are_known_in_advance(tiny: TAEHV, batch: int, rows: int, columns: int) -> None:
    config, cell = tiny.config, tiny.cell_px
    latents, rgb = random(batch, tiny.channels, 1, rows, columns), frames_of(batch, 3, 4, cell * rows, cell * columns)
    _, decoder = tiny.decode(latents, tiny.decode(latents)[1])
    _, encoder = tiny.encode(rgb, tiny.encode(rgb)[1])
    assert [tuple(c.shape) for c in decoder.caches] == config.decoder_caches(batch, rows, columns)
    assert [tuple(c.shape) for c in encoder.caches] == config.encoder_caches(batch, cell * rows, cell * columns)
    assert len(decoder.caches) == len(encoder.caches) == 9
    own = {c.untyped_storage().data_ptr(): c.untyped_storage().nbytes() for c in (*decoder.caches, *encoder.caches)}
    assert sum(own.values()) == decoder.nbytes + encoder.nbytes  # no cache is a view of something larger
    assert batch * config.decoder_state_bytes(cell * rows, cell * columns, value_bytes=4) == decoder.nbytes


def test_half_precision(small: TAEHV) -> None:
    half = TAEHV(SMALL).eval().requires_grad_(False)
    half.load_state_dict(small.state_dict())
    half.to(torch.bfloat16)
    latents = random(1, 16, 2, 3, 4)
    rgb, state = half.decode(latents)
    assert rgb.dtype == torch.bfloat16
    assert state.nbytes == SMALL.decoder_state_bytes(24, 32)
    assert (rgb.float() - small.decode(latents)[0]).square().mean().sqrt() < 0.02
    assert half.encode(frames_of(1, 3, 4, 16, 16))[0].dtype == torch.float32


# Bad input


def test_wrong_latents_are_named(small: TAEHV) -> None:
    with pytest.raises(ValueError, match=r"have 16 channels, got 48 in \[1, 48, 1, 2, 3\]; choose the decoder"):
        small.decode(torch.zeros(1, 48, 1, 2, 3))
    with pytest.raises(ValueError, match=r"no latents in \[1, 16, 0, 2, 3\]"):
        small.decode(torch.zeros(1, 16, 0, 2, 3))


def test_wrong_frames_are_named(tiny: TAEHV) -> None:
    cell = tiny.cell_px
    with pytest.raises(ValueError, match=rf"multiples of {cell} pixels high and wide, got {cell}x{cell + 4}"):
        tiny.encode(torch.zeros(1, 3, 4, cell, cell + 4))
    with pytest.raises(ValueError, match=r"takes 4, 8, 12, … frames at a time, got 5; repeat the last frame"):
        tiny.encode(torch.zeros(1, 3, 5, cell, cell))
    with pytest.raises(ValueError, match=r"no frames in"):
        tiny.encode(torch.zeros(1, 3, 0, cell, cell))


def test_a_state_of_another_size_is_refused(small: TAEHV) -> None:
    _, state = small.decode(torch.zeros(1, 16, 1, 2, 3))
    with pytest.raises(ValueError, match=r"is \[\(1, 1, 8, 2, 3\)\], this call needs \[\(2, 1, 8, 2, 3\)\]; keep"):
        small.decode(torch.zeros(2, 16, 1, 2, 3), state)


def test_wrong_strides_are_refused() -> None:
    with pytest.raises(ValueError, match=r"strides of time are \(2, 2, 1\) and \(1, 1, 2\)"):
        TAEHVConfig(decoder_strides=(1, 1, 2))
