"""Configurations of transformers: JSON and back, and shapes that are refused."""

from __future__ import annotations

import json
import time

import pytest
import torch

from worldstream.worlds.wan.config import SHAPES, WAN_1_3B, WanConfig
from worldstream.worlds.wan.transformer import WanTransformer
from worldstream.worlds.wan.vace import WanVace


def parameters(config: WanConfig) -> int:
    with torch.device("meta"):
        model = (WanVace if config.vace_layers else WanTransformer)(config)
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("name", SHAPES)
def test_json_and_back(name: str) -> None:
    assert WanConfig.from_json(json.loads(json.dumps(SHAPES[name].to_json()))) == SHAPES[name]


def test_unknown_fields_are_refused() -> None:
    with pytest.raises(ValueError, match=r"'depth'.*update worldstream"):
        WanConfig.from_json({"dim": 48, "depth": 3})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"heads": 7}, "does not split into 7 heads"),
        ({"dim": 12 * 4}, "even width of 6 or more"),
        ({"patch": (2, 2, 2)}, "cached one by one"),
        ({"has_text": False}, "set image_dim"),
        ({"vace_layers": (0, 30)}, "below 30"),
        ({"vace_layers": (2, 4)}, "begin with 0"),
    ],
)
def test_impossible_shapes_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        WanConfig.from_json(WAN_1_3B.to_json() | change)


def test_tokens() -> None:
    assert WAN_1_3B.tokens(60, 104) == 1560
    assert WAN_1_3B.tokens(44, 80) == 880
    with pytest.raises(ValueError, match="45 x 80 is not whole patches"):
        WAN_1_3B.tokens(45, 80)


# counted by hand from the published shapes
SIZES = {
    "wan-1.3b": 1_418_996_800,
    "wan-14b": 14_288_491_584,
    "wan-1.3b-i2v": 1_564_428_608,
    "wan-14b-i2v": 16_394_878_784,
    "wan-vace-1.3b": 2_153_972_032,
    "wan-vace-14b": 17_337_592_896,
    "matrix-game-2": 1_414_078_784,
}


def test_the_published_sizes() -> None:
    """1.42 and 14.3 billion numbers, 16.4 from an image. Nothing is allocated."""
    begun = time.process_time()
    assert {name: parameters(config) for name, config in SHAPES.items()} == SIZES
    assert time.process_time() - begun < 20
