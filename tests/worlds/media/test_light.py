"""SDR to HDR: where the greys land, that nothing clips or falls, the way back, and that no bands are left."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worldstream.worlds.media.colour import Dither, debanded, frame_of, ycbcr
from worldstream.worlds.media.light import (
    BT2020_OF_709,
    EXPANSION,
    Expansion,
    display_light,
    hlg,
    hlg_nits,
    pq,
    pq_nits,
    sdr_signal,
)

RAMP = np.linspace(0, 1, 2001, dtype=np.float32)


def test_pq_and_hlg_are_the_standards() -> None:
    # BT.2408-7 table 1: HDR Reference White is 58 % PQ and 75 % HLG; ST 2084: 100 nits is 50.8 %
    assert pq(np.array([203, 100, 1000, 10_000], np.float32)) == pytest.approx([0.5807, 0.5081, 0.7518, 1.0], abs=2e-4)
    assert hlg(np.full((1, 3), 203, np.float32)) == pytest.approx(np.full((1, 3), 0.75), abs=2e-3)
    assert hlg(np.full((1, 3), 1000, np.float32)) == pytest.approx(np.ones((1, 3)), abs=1e-4)


@given(st.lists(st.floats(0.01, 1000), min_size=3, max_size=3))
def test_the_curves_have_a_way_back(nits: list[float]) -> None:
    light = np.array([nits], np.float32)
    assert pq_nits(pq(light)) == pytest.approx(light, rel=2e-3, abs=1e-3)
    scene = hlg(light)
    if scene.max() < 1:  # purer colours than the display can show are clipped
        assert hlg_nits(scene) == pytest.approx(light, rel=1e-2, abs=0.02)


def test_greys_land_where_bt2408_maps_them() -> None:
    grey = np.repeat(RAMP[:, None, None], 3, axis=-1)
    nits = display_light(grey)[:, 0, 1]
    below = EXPANSION.knee >= RAMP
    assert nits[below] == pytest.approx(203 * RAMP[below] ** 2.4, rel=1e-3, abs=1e-3)  # BT.1886 light, 100 % = 203
    assert nits[818] == pytest.approx(23.7, abs=0.2)  # 18 % grey of a BT.709 camera, a signal of 40.9 %
    assert nits[1800] == pytest.approx(203, rel=0.03)  # diffuse white, 90 %
    assert nits[-1] == pytest.approx(600, rel=1e-3)


def test_it_rises_everywhere_and_has_no_kink() -> None:
    nits = EXPANSION.nits(RAMP)
    assert (np.diff(nits) > 0).all()
    slope = np.diff(nits)
    assert (np.abs(np.diff(slope)) < 0.01 * slope.max()).all()
    assert nits.max() <= 600.01


@given(st.lists(st.floats(0, 1), min_size=3, max_size=3))
def test_no_colour_clips_or_changes_its_hue(signal: list[float]) -> None:
    rgb = np.array([[signal]], np.float32)
    light = display_light(rgb)
    assert light.min() >= 0
    assert light.max() <= 600.01
    linear = rgb**2.4 @ BT2020_OF_709.T
    if linear.max() > 1e-3:
        assert light / light.max() == pytest.approx(linear / linear.max(), abs=1e-4)
    assert sdr_signal(light) == pytest.approx(rgb, abs=0.01)


def test_another_peak() -> None:
    curve = Expansion(peak_nits=1000)
    assert curve.nits(np.ones(1, np.float32)) == pytest.approx([1000], rel=1e-3)
    assert curve.signal(curve.nits(RAMP)) == pytest.approx(RAMP, abs=1e-3)


def test_matrices_agree_with_the_primaries() -> None:
    assert BT2020_OF_709.sum(axis=1) == pytest.approx([1, 1, 1], abs=1e-4)
    white = np.ones((1, 1, 3), np.float32)
    for matrix in ("bt709", "bt2020"):
        y, cb, cr = ycbcr(white, matrix)
        assert (float(y[0, 0]), float(cb[0, 0]), float(cr[0, 0])) == pytest.approx((1, 0, 0), abs=1e-6)
        red = np.array([[[1, 0, 0]]], np.float32)
        assert float(ycbcr(red, matrix)[2][0, 0]) == pytest.approx(0.5, abs=1e-6)


def test_our_planes_are_ffmpegs() -> None:
    rgb = np.random.default_rng(0).random((32, 64, 3), np.float32)
    rgb = np.repeat(np.repeat(rgb[::8, ::8], 8, 0), 8, 1)  # flat blocks, so that subsampling does not matter
    for name, matrix, space in (("yuv420p10le", "bt709", 1), ("yuv422p10le", "bt709", 1), ("yuv444p12le", "bt2020", 9)):
        frame = frame_of(rgb, name, matrix, Dither())
        back = frame.reformat(format="rgb48le", src_colorspace=space, src_color_range=1, dst_color_range=2)
        error = np.abs(back.to_ndarray() / 65280 - rgb)[4::8, 4::8]  # swscale makes of white 255 x 256
        assert error.max() < 0.004, name


def test_bands_go_and_nothing_else_changes() -> None:
    ramp = np.linspace(60, 70, 1024)
    eight = np.repeat(np.broadcast_to(np.rint(ramp), (32, 1024))[..., None], 3, -1).astype(np.uint8)
    smooth = debanded(eight) * 255
    assert np.array_equal(np.rint(smooth), eight)  # the same picture at eight bits
    truth = np.abs(smooth[16, :, 0] - ramp).mean(), np.abs(eight[16, :, 0] - ramp).mean()
    assert truth[0] < 0.95 * truth[1]
    assert len(np.unique(np.rint(smooth[16, :, 0] * 4))) > 2 * len(np.unique(eight))  # shades of ten bits
    noise = np.random.default_rng(0).integers(0, 256, (20, 20, 3), np.uint8)
    assert np.array_equal(np.rint(debanded(noise) * 255), noise)


def test_dither_is_even_repeatable_and_never_the_same_twice() -> None:
    first, second = Dither(3), Dither(3)
    a, b = first(90, 300), first(90, 300)
    assert np.array_equal(a, second(90, 300))
    assert not np.array_equal(a, b)
    assert a.min() >= -0.5
    assert a.max() <= 0.5
    assert abs(float(a.mean())) < 0.01
    flat = np.full((64, 64, 3), 0.5004, np.float32)  # between two codes of ten bits
    codes = np.frombuffer(bytes(frame_of(flat, "yuv444p10le", "bt709", Dither()).planes[0]), "<u2")
    mean = (float(codes.astype(float).mean()) - 64) / 876
    assert mean == pytest.approx(0.5004, abs=1e-4)  # on the average it is kept
