"""ACES numbers against those that the Academy publishes."""

from __future__ import annotations

import numpy as np
import pytest

from worldstream.worlds.media import aces

LADDER = np.geomspace(0.01, 600, 200).astype(np.float32)


def test_ap1_is_the_academys() -> None:
    # aces-dev, transforms/ctl/README-MATRIX.md: AP1 to XYZ
    published = [[0.6624541811, 0.1340042065, 0.1561876870], [0.2722287168, 0.6740817658, 0.0536895174],
                 [-0.0055746495, 0.0040607335, 1.0103391003]]  # fmt: skip
    assert aces._to_xyz(aces.AP1) == pytest.approx(np.array(published), abs=1e-9)
    # S-2014-004 companion matrices as in OpenColorIO's studio config: Rec.2020 to ACEScg by Bradford
    published = [[0.97489, 0.01960, 0.00551], [0.00218, 0.99554, 0.00228], [0.00480, 0.02453, 0.97067]]
    assert aces._ap1_of_bt2020() == pytest.approx(np.array(published), abs=1e-4)
    assert aces.ap1(np.ones((1, 3), np.float32)) == pytest.approx(np.ones((1, 3)), abs=1e-5)


def test_mid_grey_of_the_output_transforms() -> None:
    grey = np.array([0.18])
    assert aces.nits_of_scene_13(grey)[0] == pytest.approx(15.0, rel=1e-3)  # "1000nits_15nits"
    assert aces.nits_of_scene_20(grey, 100.0)[0] == pytest.approx(10.0, rel=1e-3)  # 10 % of 100 nits
    assert aces.nits_of_scene_20(grey)[0] == pytest.approx(14.5, abs=0.1)


@pytest.mark.parametrize("version", ["1.3", "2.0"])
def test_the_tone_curves_are_inverted(version: str) -> None:
    inverse = {"1.3": aces.scene_of_nits_13, "2.0": aces.scene_of_nits_20}[version]
    forward = {"1.3": aces.nits_of_scene_13, "2.0": aces.nits_of_scene_20}[version]
    scene = inverse(LADDER)
    assert (np.diff(scene) > 0).all()
    assert forward(scene.astype(np.float64)) == pytest.approx(LADDER, rel=1e-4)
    assert scene.max() < 65_504


def test_the_versions_differ_and_only_in_tone() -> None:
    light = np.array([[400.0, 90.0, 20.0]], np.float32)
    old, new = aces.acescg(light, "1.3"), aces.acescg(light, "2.0")
    assert old / old.sum() == pytest.approx(new / new.sum(), abs=1e-5)
    assert abs(float(old.sum() / new.sum()) - 1) > 0.01
    with pytest.raises(ValueError, match=r"1\.3 or 2\.0"):
        aces.acescg(light, "1.0")
