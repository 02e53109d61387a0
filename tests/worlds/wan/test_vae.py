"""The Wan autoencoder against diffusers' own, whole and in pieces; its caches; what it refuses."""

from __future__ import annotations

import warnings
from importlib import import_module
from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from worldstream.worlds.wan.vae import LATENT_MEAN, LATENT_STD, VAEConfig, WanVAE, denormalise, normalise

SMALL = VAEConfig(width=4)
TOLERANCE = 1e-4


def relative_error(ours: Tensor, theirs: Tensor) -> float:
    assert ours.shape == theirs.shape
    return float((ours - theirs).abs().max() / theirs.abs().max())


def renamed(key: str) -> str:
    """A published key as diffusers names it."""
    parts = key.split(".")
    if len(parts) == 2:  # the two convolutions around the latents
        return {"conv1": "quant_conv", "conv2": "post_quant_conv"}[parts[0]] + "." + parts[1]
    end, part, rest = parts[0], parts[1], ".".join(parts[2:])
    inner = (("residual.0", "norm1"), ("residual.2", "conv1"), ("residual.3", "norm2"), ("residual.6", "conv2"))
    for ours, theirs in (*inner, ("shortcut", "conv_shortcut")):
        rest = rest.replace(ours, theirs)
    if part == "conv1":
        return f"{end}.conv_in.{rest}"
    if part == "head":
        return f"{end}." + rest.replace("0.gamma", "norm_out.gamma").replace("2.", "conv_out.")
    number, rest = rest.split(".", 1)
    if part == "middle":
        return f"{end}.mid_block." + {"0": "resnets.0", "1": "attentions.0", "2": "resnets.1"}[number] + f".{rest}"
    if part == "downsamples":
        return f"{end}.down_blocks.{number}.{rest}"
    stage, place = divmod(int(number), 4)
    return f"{end}.up_blocks.{stage}." + (f"resnets.{place}" if place < 3 else "upsamplers.0") + f".{rest}"


@pytest.fixture(scope="module")
def vae() -> WanVAE:
    torch.manual_seed(0)
    model = WanVAE(SMALL).eval().requires_grad_(False)
    for name, weight in model.named_parameters():  # every gain, bias and projection has a say
        if name.endswith("gamma"):
            weight.uniform_(0.5, 1.5)
        elif name.endswith("bias"):
            weight.normal_(std=0.1)
        else:
            nn.init.normal_(weight, std=1.2 / weight[0].numel() ** 0.5)
    last = model.decoder.head[2]
    assert isinstance(last, nn.Conv3d)
    last.weight.mul_(0.4)  # so that few values are clipped
    return model


@pytest.fixture(scope="module")
def their_class() -> Any:
    """diffusers is typed in part only, and slow to import."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        warnings.filterwarnings("ignore", category=FutureWarning)
        return import_module("diffusers").AutoencoderKLWan


@pytest.fixture(scope="module")
def reference(vae: WanVAE, their_class: Any) -> Any:
    model = their_class(base_dim=SMALL.width).eval()
    model.load_state_dict({renamed(key): weight for key, weight in vae.state_dict().items()})
    return model


def random(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def frames_of(*shape: int, seed: int = 1) -> Tensor:
    return random(*shape, seed=seed).mul(0.5).clamp(-1, 1)


@torch.no_grad()
def theirs_decoded(reference: Any, latents: Tensor) -> Tensor:
    mean, std = (torch.tensor(x).view(1, 16, 1, 1, 1) for x in (LATENT_MEAN, LATENT_STD))
    decoded: Tensor = reference.decode(latents * std + mean, return_dict=False)[0]
    return decoded


@torch.no_grad()
def theirs_encoded(reference: Any, rgb: Tensor) -> Tensor:
    mean, std = (torch.tensor(x).view(1, 16, 1, 1, 1) for x in (LATENT_MEAN, LATENT_STD))
    mode: Tensor = reference.encode(rgb).latent_dist.mode()
    return (mode - mean) / std


# Against diffusers


@pytest.mark.parametrize(("batch", "count", "rows", "columns"), [(1, 1, 4, 6), (2, 3, 3, 5), (1, 4, 5, 1)])
def test_decode_is_that_of_diffusers(
    vae: WanVAE, reference: Any, batch: int, count: int, rows: int, columns: int
) -> None:
    latents = random(batch, 16, count, rows, columns)
    rgb, state = vae.decode(latents)
    theirs = theirs_decoded(reference, latents)
    assert rgb.shape == (batch, 3, vae.frames(0, count), 8 * rows, 8 * columns)
    assert 0.1 < theirs.std() < 0.9
    assert (theirs.abs() == 1).float().mean() < 0.2  # few are clipped
    error = relative_error(rgb, theirs)
    print(f"decode {tuple(latents.shape)}: max relative error {error:.1e}")
    assert error <= TOLERANCE
    assert state.seen == count


@pytest.mark.parametrize(("batch", "count", "height", "width"), [(1, 1, 32, 48), (2, 9, 24, 40), (1, 13, 40, 8)])
def test_encode_is_that_of_diffusers(
    vae: WanVAE, reference: Any, batch: int, count: int, height: int, width: int
) -> None:
    rgb = frames_of(batch, 3, count, height, width)
    latents, state = vae.encode(rgb)
    assert latents.shape == (batch, 16, (count + 3) // 4, height // 8, width // 8)
    error = relative_error(latents, theirs_encoded(reference, rgb))
    print(f"encode {tuple(rgb.shape)}: max relative error {error:.1e}")
    assert error <= TOLERANCE
    assert state.seen == latents.shape[2]


@pytest.fixture(scope="module")
def clip(reference: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Latents and what diffusers decodes them to, frames and what diffusers encodes them to."""
    latents, rgb = random(1, 16, 5, 2, 3), frames_of(1, 3, 17, 16, 24)
    return latents, theirs_decoded(reference, latents), rgb, theirs_encoded(reference, rgb)


CUTS = st.sets(st.integers(1, 4)).map(lambda cuts: [0, *sorted(cuts), 5])  # five latents in pieces


@settings(max_examples=6)
@given(cuts=CUTS, reuse=st.booleans())
def test_latents_may_come_in_any_pieces(
    vae: WanVAE, clip: tuple[Tensor, Tensor, Tensor, Tensor], cuts: list[int], reuse: bool
) -> None:
    latents, theirs, _, _ = clip
    state, pieces = None, []
    for start, end in pairwise(cuts):
        rgb, state = vae.decode(latents[:, :, start:end], state, reuse=reuse)
        assert rgb.shape[2] == vae.frames(start, end - start)
        pieces.append(rgb)
    assert relative_error(torch.cat(pieces, 2), theirs) <= TOLERANCE


@settings(max_examples=6)
@given(cuts=CUTS, reuse=st.booleans())
def test_frames_may_come_in_any_groups(
    vae: WanVAE, clip: tuple[Tensor, Tensor, Tensor, Tensor], cuts: list[int], reuse: bool
) -> None:
    _, _, rgb, theirs = clip
    state, pieces = None, []
    for start, end in pairwise(cuts):
        latents, state = vae.encode(rgb[:, :, vae.frames(0, start) : vae.frames(0, end)], state, reuse=reuse)
        pieces.append(latents)
    assert relative_error(torch.cat(pieces, 2), theirs) <= TOLERANCE


def test_published_layout_in_full_size(their_class: Any) -> None:
    """Every weight of the full network has its place, with the same shape, in diffusers' own, and the reverse."""
    with torch.device("meta"):
        ours, theirs = WanVAE(), their_class()
    shapes = {key: weight.shape for key, weight in theirs.state_dict().items()}
    assert {renamed(key): weight.shape for key, weight in ours.state_dict().items()} == shapes
    assert sum(weight.numel() for weight in ours.parameters()) == 126_892_531
    assert len(ours.decoder.upsamples) == 15
    keys = set(ours.state_dict())
    assert {"conv1.weight", "conv2.bias", "decoder.conv1.weight", "encoder.head.0.gamma", "decoder.head.2.bias"} <= keys
    assert {"decoder.middle.1.to_qkv.weight", "decoder.middle.1.proj.bias", "decoder.middle.1.norm.gamma"} <= keys
    assert {"decoder.upsamples.3.resample.1.weight", "decoder.upsamples.3.time_conv.bias"} <= keys
    assert "decoder.upsamples.11.time_conv.weight" not in keys  # the last doubling is of space alone


# Latents


def test_normalised_latents_are_those_of_the_published_statistics() -> None:
    latents = random(2, 16, 3, 2, 2)
    ours = normalise(latents)
    for channel in (0, 7, 15):
        theirs = (latents[:, channel] - LATENT_MEAN[channel]) / LATENT_STD[channel]
        torch.testing.assert_close(ours[:, channel], theirs)
    torch.testing.assert_close(denormalise(ours), latents)


def test_statistics_are_those_of_diffusers(reference: Any) -> None:
    assert tuple(reference.config.latents_mean) == LATENT_MEAN
    assert tuple(reference.config.latents_std) == LATENT_STD


def test_statistics_made_in_inference_mode_serve_training() -> None:
    from worldstream.worlds.wan import vae as module

    module._statistics.cache_clear()
    with torch.inference_mode():
        normalise(torch.zeros(1, 16, 1, 1, 1))
    latents = torch.zeros(1, 16, 1, 1, 1, requires_grad=True)
    normalise(latents).sum().backward()
    assert latents.grad is not None


# State


def test_a_stream_goes_on_from_an_older_state(vae: WanVAE) -> None:
    latents = random(1, 16, 4, 2, 3)
    _, early = vae.decode(latents[:, :, :2])
    copy = early.clone()
    first, _ = vae.decode(latents[:, :, 2:], early)
    vae.decode(latents[:, :, :2] + 1, early)
    second, _ = vae.decode(latents[:, :, 2:], early)  # a state that was used is as it was
    assert torch.equal(first, second)
    vae.decode(latents[:, :, 2:], early, reuse=True)  # unless it is given away
    assert not torch.equal(vae.decode(latents[:, :, 2:], early)[0], first)
    assert torch.equal(vae.decode(latents[:, :, 2:], copy)[0], first)


def test_reuse_keeps_the_tensors_where_they_are(vae: WanVAE) -> None:
    latents, rgb = random(1, 16, 1, 2, 3), frames_of(1, 3, 9, 16, 24)
    _, decoder = vae.decode(latents)
    _, encoder = vae.encode(rgb[:, :, :1])
    for state, later in (
        (decoder, vae.decode(latents, decoder, reuse=True)[1]),
        (encoder, vae.encode(rgb[:, :, 1:], encoder, reuse=True)[1]),
    ):
        assert [c.data_ptr() for c in later.caches] == [c.data_ptr() for c in state.caches]
        fresh = later.clone()
        assert not {c.data_ptr() for c in fresh.caches} & {c.data_ptr() for c in later.caches}


def test_a_begun_state_of_nothing_is_not_written_to(vae: WanVAE) -> None:
    latents = random(1, 16, 2, 2, 3)
    zeros = type(vae.decode(latents)[1])(tuple(torch.zeros(s) for s in SMALL.decoder_caches(1, 2, 3)))
    rgb, _ = vae.decode(latents, zeros)
    assert torch.equal(rgb, vae.decode(latents)[0])
    assert all(not cache.any() for cache in zeros.caches)


@pytest.mark.parametrize(("batch", "rows", "columns"), [(1, 2, 3), (2, 5, 4)])
def test_sizes_of_states_are_known_in_advance(vae: WanVAE, batch: int, rows: int, columns: int) -> None:
    """A wrong shape fails where the layers join the caches, a wrong number of them here."""
    latents, rgb = random(batch, 16, 2, rows, columns), frames_of(batch, 3, 5, 8 * rows, 8 * columns)
    _, decoder = vae.decode(latents[:, :, 1:], vae.decode(latents[:, :, :1])[1])
    _, encoder = vae.encode(rgb[:, :, 1:], vae.encode(rgb[:, :, :1])[1])
    assert [tuple(c.shape) for c in decoder.caches] == SMALL.decoder_caches(batch, rows, columns)
    assert [tuple(c.shape) for c in encoder.caches] == SMALL.encoder_caches(batch, 8 * rows, 8 * columns)
    assert len(decoder.caches) == 32
    assert len(encoder.caches) == 24
    own = {c.untyped_storage().data_ptr(): c.untyped_storage().nbytes() for c in (*decoder.caches, *encoder.caches)}
    assert sum(own.values()) == decoder.nbytes + encoder.nbytes  # no cache is a view of something larger
    if batch == 1:
        assert SMALL.decoder_state_bytes(8 * rows, 8 * columns, value_bytes=4) == decoder.nbytes


class Largest(TorchDispatchMode):
    """The most values that any tensor made inside has, results of the shape `but` apart."""

    def __init__(self, but: torch.Size) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.but, self.values = but, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        out = func(*args, **(kwargs or {}))
        if isinstance(out, Tensor) and out.shape != self.but:
            self.values = max(self.values, out.numel())
        return out


def test_memory_does_not_grow_with_the_clip(vae: WanVAE) -> None:
    def largest(count: int) -> int:
        with Largest(torch.Size((1, 3, vae.frames(0, count), 16, 24))) as seen:
            vae.decode(random(1, 16, count, 2, 3))
        return seen.values

    assert largest(2) == largest(6)


def test_half_precision(vae: WanVAE) -> None:
    """In bfloat16 the picture is that of float32 within its precision; the latents are returned in float32."""
    half = WanVAE(SMALL).eval().requires_grad_(False)
    half.load_state_dict(vae.state_dict())
    half.to(torch.bfloat16)
    latents = random(1, 16, 2, 3, 4)
    rgb, state = half.decode(latents)
    assert rgb.dtype == torch.bfloat16
    assert {cache.dtype for cache in state.caches} == {torch.bfloat16}
    assert state.nbytes == SMALL.decoder_state_bytes(24, 32)
    assert (rgb.float() - vae.decode(latents)[0]).square().mean().sqrt() < 0.05
    assert half.encode(frames_of(1, 3, 1, 16, 16))[0].dtype == torch.float32


# Bad input


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((1, 16, 2, 3), r"floating point \[B, 16, T, h, w\], got torch.float32\[1, 16, 2, 3\]; add"),
        ((1, 4, 1, 2, 3), r"have 16 channels, got 4 in \[1, 4, 1, 2, 3\]; choose"),
        ((1, 16, 0, 2, 3), r"no latents in \[1, 16, 0, 2, 3\]; give"),
        ((1, 16, 1, 0, 3), r"no latents in \[1, 16, 1, 0, 3\]; give"),
    ],
)
def test_wrong_latents_are_named(vae: WanVAE, shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        vae.decode(torch.zeros(shape))


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((3, 1, 16, 16), r"got torch.float32\[3, 1, 16, 16\]; from_pictures"),
        ((1, 4, 1, 16, 16), r"3 channels, red green blue, got 4 in \[1, 4, 1, 16, 16\]; convert"),
        ((1, 3, 0, 16, 16), r"no frames in \[1, 3, 0, 16, 16\]; give"),
        ((1, 3, 1, 30, 60), r"multiples of 8 pixels high and wide, got 30x60 \(height x width\); resize them to 32x64"),
        ((1, 3, 1, 3, 16), r"got 3x16 \(height x width\); resize them to 8x16"),
        ((1, 3, 4, 16, 16), r"takes 1, 5, 9, … frames at first, got 4; repeat"),
    ],
)
def test_wrong_frames_are_named(vae: WanVAE, shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        vae.encode(torch.zeros(shape))


def test_whole_numbers_are_refused(vae: WanVAE) -> None:
    with pytest.raises(ValueError, match=r"floating point .* got torch.uint8"):
        vae.encode(torch.zeros(1, 3, 1, 16, 16, dtype=torch.uint8))
    with pytest.raises(ValueError, match=r"floating point .* got torch.int64"):
        vae.decode(torch.zeros(1, 16, 1, 2, 2, dtype=torch.int64))


def test_a_state_of_another_size_is_refused(vae: WanVAE) -> None:
    _, state = vae.decode(torch.zeros(1, 16, 1, 2, 3))
    with pytest.raises(
        ValueError, match=r"first cache is \[\(1, 16, 2, 2, 3\)\], this call needs \[\(1, 16, 2, 3, 3\)\]"
    ):
        vae.decode(torch.zeros(1, 16, 1, 3, 3), state)
    _, encoder = vae.encode(torch.zeros(1, 3, 1, 16, 24))
    with pytest.raises(ValueError, match=r"takes 4, 8, 12, … frames at a time once begun, got 5"):
        vae.encode(torch.zeros(1, 3, 5, 16, 24), encoder)
    with pytest.raises(ValueError, match="begin a new stream with state=None"):
        vae.encode(torch.zeros(2, 3, 4, 16, 24), encoder)


def test_wrong_shapes_of_the_network_are_refused() -> None:
    with pytest.raises(ValueError, match=r"4 stages .* got multipliers \(1, 2\)"):
        VAEConfig(multipliers=(1, 2))
    with pytest.raises(ValueError, match=r"time_down \(True, True, True\)"):
        VAEConfig(time_down=(True, True, True))


def test_frames_are_counted_from_the_start(vae: WanVAE) -> None:
    assert [vae.frames(0, n) for n in (0, 1, 2, 21)] == [0, 1, 5, 81]
    assert [vae.frames(3, n) for n in (0, 1, 2)] == [0, 4, 8]
    with pytest.raises(ValueError, match="got -1 before and 2 more"):
        vae.frames(-1, 2)
