"""A session's stream through either autoencoder: whole = in pieces, snapshots, flushing, pictures, what it refuses."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from worldstream.worlds.wan.codec import StreamState, VideoCodec
from worldstream.worlds.wan.streaming import CodecStream, StreamingDecoder, encode_clip, from_pictures, pictures
from worldstream.worlds.wan.taehv import TAEHV, TAEHVConfig
from worldstream.worlds.wan.vae import VAEConfig, WanVAE

Codec = VideoCodec[StreamState, StreamState]


@pytest.fixture(scope="module", params=["vae", "taehv"])
def codec(request: pytest.FixtureRequest) -> Codec:
    torch.manual_seed(0)
    small = TAEHVConfig(widths=(8, 6, 4, 4), encoder_width=4)
    model: WanVAE | TAEHV = WanVAE(VAEConfig(width=4)) if request.param == "vae" else TAEHV(small)
    for weight in model.parameters():
        weight.requires_grad_(False).normal_(std=0.1 if weight.ndim == 1 else 1.2 * weight[0].numel() ** -0.5)
    return model.eval()  # type: ignore[return-value]  # states are not mixed here


def random(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def frames_of(count: int, batch: int = 1, seed: int = 1) -> Tensor:
    return random(batch, 3, count, 16, 24, seed=seed).mul(0.5).clamp(-1, 1)


def test_frames_are_known_before_they_are_drawn(codec: Codec) -> None:
    stream: StreamingDecoder = CodecStream(codec)
    before = 0
    for count in (1, 3, 2):
        expected = stream.frames(before, count)
        assert stream.decode(random(1, 16, count, 2, 3)).shape == (1, 3, expected, 16, 24)
        before += count
    assert stream.frames(0, before) == 21
    stream.reset()
    assert stream.decode(random(1, 16, 2, 2, 3)).shape[2] == stream.frames(0, 2) == 5
    with pytest.raises(ValueError, match="got 0 before and -1 more; count from the reset"):
        stream.frames(0, -1)


@settings(max_examples=4)
@given(cuts=st.sets(st.integers(1, 2)).map(lambda cuts: [0, *sorted(cuts), 3]))
def test_decoding_in_pieces_is_decoding_whole(codec: Codec, cuts: list[int]) -> None:
    latents = random(2, 16, 3, 1, 2)
    stream = CodecStream(codec)
    pieces = [stream.decode(latents[:, :, start:end]) for start, end in pairwise(cuts)]
    assert stream.latents_before == 3
    torch.testing.assert_close(torch.cat(pieces, 2), codec.decode(latents)[0], rtol=0, atol=1e-5)


@settings(max_examples=4)
@given(cuts=st.sets(st.integers(1, 10)).map(lambda cuts: [0, *sorted(cuts), 11]))
def test_encoding_in_pieces_is_encoding_whole(codec: Codec, cuts: list[int]) -> None:
    """Eleven frames: what is missing of the last latent is its last frame again."""
    rgb = frames_of(11)
    stream = CodecStream(codec)
    pieces = [stream.encode(rgb[:, :, start:end]) for start, end in pairwise(cuts)] + [stream.flush()]
    full = 13 if codec.group(0) == 1 else 12
    whole = torch.cat([rgb, rgb[:, :, -1:].expand(-1, -1, full - 11, -1, -1)], 2)
    torch.testing.assert_close(torch.cat(pieces, 2), codec.encode(whole)[0], rtol=0, atol=1e-5)


@pytest.mark.parametrize(("count", "latents"), [(1, 1), (5, 2), (9, 3)])
def test_a_clip_or_a_picture_to_latents(codec: Codec, count: int, latents: int) -> None:
    """A clip of 4T - 3 frames gives T latents with either autoencoder, and they decode to as many frames."""
    encoded = encode_clip(codec, frames_of(count))
    assert encoded.shape == (1, 16, latents, 2, 3)
    assert encoded.dtype == torch.float32
    assert CodecStream(codec).decode(encoded).shape[2] == count


def test_flush_ends_one_end_and_leaves_the_other(codec: Codec) -> None:
    latents, rgb = random(1, 16, 2, 2, 3), frames_of(7)
    stream, alone = CodecStream(codec), CodecStream(codec)
    first = stream.decode(latents[:, :, :1])
    once = torch.cat([stream.encode(rgb), stream.flush()], 2)
    second = stream.decode(latents[:, :, 1:])
    assert torch.equal(torch.cat([first, second], 2), torch.cat([alone.decode(x) for x in latents.split(1, 2)], 2))
    again = torch.cat([stream.encode(rgb), stream.flush()], 2)  # a new stream
    assert torch.equal(once, again)


def test_flush_of_whole_groups_gives_nothing_more(codec: Codec) -> None:
    stream = CodecStream(codec)
    stream.encode(frames_of(codec.group(0)))
    assert stream.flush().shape == (1, 16, 0, 2, 3)


def test_flush_of_nothing_is_refused(codec: Codec) -> None:
    stream = CodecStream(codec)
    with pytest.raises(ValueError, match="no frames were encoded in this stream; call encode before flush"):
        stream.flush()
    stream.encode(frames_of(1))
    stream.flush()
    with pytest.raises(ValueError, match="no frames were encoded"):
        stream.flush()


def test_a_restored_stream_goes_on_identically(codec: Codec) -> None:
    latents, rgb = random(1, 16, 3, 2, 3), frames_of(6)
    stream, other = CodecStream(codec), CodecStream(codec)
    stream.decode(latents[:, :, :1])
    stream.encode(rgb[:, :, :2])
    saved = stream.snapshot()

    def rest(of: CodecStream[StreamState, StreamState]) -> list[Tensor]:
        return [of.decode(latents[:, :, 1:]), of.encode(rgb[:, :, 2:]), of.flush()]

    first = rest(stream)
    for again in (stream, other, stream):  # a snapshot serves any number of times, and other streams of the network
        again.restore(saved)
        assert all(torch.equal(a, b) for a, b in zip(rest(again), first, strict=True))


def test_a_snapshot_is_a_copy_and_its_bytes_are_counted(codec: Codec) -> None:
    stream = CodecStream(codec)
    assert stream.nbytes == stream.snapshot().nbytes == 0
    stream.decode(random(1, 16, 1, 2, 3))
    stream.encode(frames_of(6))
    saved = stream.snapshot()
    assert saved.decoder is not None
    assert saved.encoder is not None
    assert saved.waiting is not None
    tensors = [*saved.decoder.caches, *saved.encoder.caches, saved.waiting]
    stored = sum(tensor.untyped_storage().nbytes() for tensor in tensors)
    assert stored == saved.nbytes == stream.nbytes
    before = [tensor.clone() for tensor in tensors]
    stream.decode(random(1, 16, 1, 2, 3, seed=2))
    stream.encode(frames_of(4, seed=2))
    assert all(torch.equal(a, b) for a, b in zip(tensors, before, strict=True))


def test_the_state_stays_where_it_is(codec: Codec) -> None:
    stream = CodecStream(codec)
    stream.decode(random(1, 16, 1, 2, 3))
    assert stream._decoder is not None
    where = [cache.data_ptr() for cache in stream._decoder.caches]
    stream.decode(random(1, 16, 2, 2, 3))
    assert [cache.data_ptr() for cache in stream._decoder.caches] == where


def test_reset_forgets(codec: Codec) -> None:
    latents, rgb = random(1, 16, 2, 2, 3), frames_of(6)
    stream = CodecStream(codec)
    fresh = [stream.decode(latents), stream.encode(rgb)]
    stream.reset()
    assert stream.nbytes == 0
    assert stream.latents_before == 0
    again = [stream.decode(latents), stream.encode(rgb)]
    assert all(torch.equal(a, b) for a, b in zip(fresh, again, strict=True))


def test_a_refused_call_leaves_the_stream_as_it_was(codec: Codec) -> None:
    latents, rgb = random(1, 16, 2, 2, 3), frames_of(6)
    stream, undisturbed = CodecStream(codec), CodecStream(codec)
    for one in (stream, undisturbed):
        one.decode(latents[:, :, :1])
        one.encode(rgb[:, :, :2])
    with pytest.raises(ValueError, match="keep to one size, or begin a new stream"):
        stream.decode(torch.zeros(1, 16, 1, 4, 4))
    with pytest.raises(ValueError, match=r"\(1, 16, 24\), got \(1, 24, 24\); resize them or reset the stream"):
        stream.encode(torch.zeros(1, 3, 1, 24, 24))
    with pytest.raises(ValueError, match=r"got 16x20 \(height x width\); resize them to 16x16"):
        stream.encode(torch.zeros(1, 3, 1, 16, 20))
    with pytest.raises(ValueError, match=r"got torch\.uint8"):
        stream.encode(torch.zeros(1, 3, 1, 16, 24, dtype=torch.uint8))
    assert torch.equal(stream.decode(latents[:, :, 1:]), undisturbed.decode(latents[:, :, 1:]))
    assert torch.equal(stream.encode(rgb[:, :, 2:]), undisturbed.encode(rgb[:, :, 2:]))


# Pictures


def test_pictures_go_there_and_back() -> None:
    clip = np.random.default_rng(0).integers(0, 256, (2, 4, 6, 3), dtype=np.uint8)
    rgb = from_pictures(clip)
    assert rgb.shape == (1, 3, 2, 4, 6)
    assert rgb.is_contiguous()
    assert rgb.min() >= -1
    assert rgb.max() <= 1
    assert torch.equal(from_pictures(clip[0]), rgb[:, :, :1])
    assert torch.equal(from_pictures(clip[None]), rgb)
    back = pictures(rgb)
    assert back.dtype == torch.uint8
    np.testing.assert_array_equal(back.numpy(), clip[None])


def test_pictures_are_rounded_and_clipped() -> None:
    rgb = torch.tensor([-3.0, -1.0, 0.0, 0.6 / 127.5 - 1, 1.0, 7.0]).view(1, 1, 1, 1, 6).expand(1, 3, 1, 1, 6)
    assert pictures(rgb)[0, 0, 0, :, 0].tolist() == [0, 0, 128, 1, 255, 255]
    assert pictures(rgb.to(torch.bfloat16))[0, 0, 0, :, 2].tolist()[-2:] == [255, 255]
    assert rgb[0, 0, 0, 0, 0] == -3  # what was given stays as it was


@pytest.mark.parametrize(
    ("picture", "named"),
    [
        (np.zeros((4, 6), np.uint8), r"uint8\[4, 6\]"),
        (np.zeros((4, 6, 4), np.uint8), r"uint8\[4, 6, 4\]"),
        (np.zeros((4, 6, 3), np.float32), r"float32\[4, 6, 3\]"),
    ],
)
def test_wrong_pictures_are_named(picture: np.ndarray, named: str) -> None:
    with pytest.raises(ValueError, match=named + "; convert them to 8 bits"):
        from_pictures(picture)
