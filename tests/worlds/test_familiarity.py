"""What the shipped world says of pictures: renders are near, strangers are far, captions are prompts."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from worldstream.worlds.autoencoder import Autoencoder
from worldstream.worlds.core import Viewer
from worldstream.worlds.familiarity import Familiarity, fitted, load_familiarity, path_of, save_familiarity
from worldstream.worlds.judge import Judge, caption_of, load_judge
from worldstream.worlds.procedural.captions import parse, understood
from worldstream.worlds.training.data import still_batch
from worldstream.worlds.training.familiarity import make_familiarity
from worldstream.worlds.training.strangers import HEIGHT_PX, KINDS, WIDTH_PX
from worldstream.worlds.weights import SHIPPED, find, load_modules, load_world

UNSEEN = 1_000_000_500  # a seed of the evaluation range


@pytest.fixture(scope="module")
def viewer() -> Viewer:
    return load_world(engine="eager", threads=1).viewer()


@pytest.fixture(scope="module")
def modules() -> tuple[Judge, Autoencoder]:
    return load_judge(SHIPPED), load_modules(find(None))[1]


def test_renders_of_unseen_worlds_are_near_and_captioned(viewer: Viewer) -> None:
    pictures, attributes = still_batch(UNSEEN, 24, WIDTH_PX, HEIGHT_PX)
    sights = [viewer.look(picture) for picture in pictures]
    assert sum(not sight.familiar for sight in sights) <= 2
    right = [
        parse(sight.caption).theme == drawn.theme for sight, drawn in zip(sights, attributes, strict=True)
    ]  # stills look anywhere, also at bare ground
    assert sum(right) >= 14
    for sight in sights:
        assert ", ".join(understood(sight.caption))  # words of the grammar
        assert 1 / 12 <= sight.confidence <= 1.0


@pytest.mark.parametrize("kind", KINDS)
def test_strangers_are_far(viewer: Viewer, kind: str) -> None:
    rng = np.random.default_rng(3)
    assert sum(not viewer.look(KINDS[kind](rng)).familiar for _ in range(10)) >= 8


def test_what_the_judge_is_not_sure_of_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    sure, torn = torch.zeros(1, 6), torch.zeros(1, 6)
    sure[0, 4] = 9.0
    theme = torch.zeros(1, 12)
    theme[0, 7] = 1.0
    judge = Judge()
    monkeypatch.setattr(judge, "read", lambda _: (theme, sure, torn, sure))
    caption, confidence = caption_of(judge, torch.zeros(1, 3, 80, 128))
    assert caption == "autumn forest, dusk, dreamy"
    assert confidence == pytest.approx(float(theme.softmax(-1).max()))
    assert (parse(caption).theme, parse(caption).weather) == (7, None)


def sample(count: int = 400, size: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    """Three clouds in `size` dimensions; the last one plays the PSNR, about 30 dB."""
    generator = torch.Generator().manual_seed(0)
    themes = torch.arange(count) % 3
    points = torch.randn(count, size, generator=generator) + 5.0 * themes[:, None]
    points[:, -1] = 6.0 + 0.2 * torch.randn(count, generator=generator)
    return points, themes


def test_one_in_a_hundred_of_what_it_was_fitted_on_is_far() -> None:
    points, themes = sample()
    made = fitted(points, themes)
    assert 0.005 <= float((made.distances(points) > 1).float().mean()) <= 0.02
    away = points[:3].clone()
    away[:, 0] += 30.0
    assert float(made.distances(away).min()) > 3
    lost = points[:3].clone()
    lost[:, -1] = 3.0  # 15 dB: the tokenizer cannot keep it
    assert float(made.distances(lost).min()) > 1.5


def test_what_is_saved_is_loaded(tmp_path: Path, modules: tuple[Judge, Autoencoder]) -> None:
    points, themes = sample()
    made = fitted(points, themes)
    path = save_familiarity(tmp_path, "nano", made, *modules)
    again = load_familiarity(tmp_path, "nano", *modules)
    assert torch.equal(again.distances(points), made.distances(points))
    assert isinstance(again, Familiarity)
    other = load_judge(SHIPPED)
    other.attributes.bias.data += 1.0
    with pytest.raises(ValueError, match=r"another judge or tokenizer.*worldstream train familiarity"):
        load_familiarity(tmp_path, "nano", other, modules[1])
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ValueError, match="cannot be read"):
        load_familiarity(tmp_path, "nano", *modules)
    path.unlink()
    with pytest.raises(ValueError, match="is missing"):
        load_familiarity(tmp_path, "nano", *modules)


def write_walks(folder: Path, rng: np.random.Generator) -> None:
    """Two walks through each of three themes: colours with a little noise."""
    shard = folder / "walks" / "0000"
    shard.mkdir(parents=True)
    rgb: NDArray[np.uint8] = rng.integers(0, 60, (6, 4, 80, 128, 3), dtype=np.uint8)
    rgb[..., 0] += (40 * (np.arange(6) % 3)).astype(np.uint8)[:, None, None, None]
    np.save(shard / "rgb.npy", rgb)
    np.save(shard / "paths.npy", np.zeros((6, 4, 4), np.float32))
    meta = [{"attributes": [{"theme": i % 3}, {"theme": i % 3}]} for i in range(6)]
    (shard / "meta.json").write_text(json.dumps(meta))


def test_the_command_makes_the_file_and_says_how_often_it_is_wrong(tmp_path: Path) -> None:
    out = tmp_path / "world"
    out.mkdir()
    for name in ("nano.json", "nano.safetensors"):
        shutil.copy(SHIPPED / name, out / name)
    for folder in ("data", "test"):
        write_walks(tmp_path / folder, np.random.default_rng(1))
    path, rates = make_familiarity(tmp_path / "data", tmp_path / "test", "nano", out, count=24, strangers=2)
    assert path == path_of(out, "nano")
    assert {"renders of unseen worlds", "noise", "renders upside down"} <= set(rates)
    assert all(0.0 <= rate <= 1.0 for rate in rates.values())
    load_familiarity(out, "nano", load_judge(SHIPPED), load_modules(find(None))[1])  # made with these weights
    assert path.stat().st_size < 100_000
