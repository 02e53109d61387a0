"""The moved newest frame: exact where nothing moves, the pinhole camera's where it does, and near to true renders."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from tests.worlds.tiny_world import NETWORK, clip, network
from worldstream.worlds.autoencoder import Autoencoder, AutoencoderConfig
from worldstream.worlds.conditioning import path_vectors
from worldstream.worlds.config import NetworkConfig
from worldstream.worlds.procedural.attributes import THEMES
from worldstream.worlds.procedural.episodes import episode
from worldstream.worlds.procedural.paths import FORWARD, PITCH, RIGHT, YAW
from worldstream.worlds.procedural.renderer import FOV_X_RAD
from worldstream.worlds.reprojection import POINTS, Reprojection
from worldstream.worlds.training.data import still_batch
from worldstream.worlds.training.tokenizer import to_tensor

CONFIG = NetworkConfig(channels=8, rows=6, columns=10, stack=1, anchor=False)
STILL = torch.zeros(1, 4)
WIDTH, HEIGHT = 8 * CONFIG.columns, 8 * CONFIG.rows
MOTIONS = {RIGHT: 0.3, FORWARD: 0.4, YAW: math.radians(4.0), PITCH: math.radians(2.0)}


@pytest.fixture(scope="module")
def tokenizer() -> Autoencoder:
    model = Autoencoder(AutoencoderConfig(channels=8, decoder_widths=(4, 4, 4), decoder_blocks=(1, 1, 1)))
    model.fit_linear(to_tensor(still_batch(3, 64, 2 * WIDTH, 2 * HEIGHT)[0]))
    return model


@pytest.fixture
def fitted(tokenizer: Autoencoder) -> Reprojection:
    module = Reprojection(CONFIG)
    module.fit(tokenizer)
    return module.requires_grad_(False)


def test_standing_still_changes_nothing(fitted: Reprojection) -> None:
    given = torch.randn(2, 3, 1, 8, CONFIG.rows, CONFIG.columns)
    still = torch.zeros(2, 3, 7)
    still[..., 5] = 0.8  # looking up, but not moving
    torch.testing.assert_close(fitted(given, still)[0], given[:, :, -1], rtol=0, atol=2e-3)


def rotation(yaw: float, pitch: float) -> NDArray[np.float64]:
    """Camera axes (right, up, forward) to world axes: pitch first, then yaw."""
    sy, cy, sp, cp = math.sin(yaw), math.cos(yaw), math.sin(pitch), math.cos(pitch)
    tilt = np.array([[1, 0, 0], [0, cp, sp], [0, -sp, cp]])
    turn = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    product: NDArray[np.float64] = turn @ tilt
    return product


def test_source_is_the_pinhole_camera(fitted: Reprojection) -> None:
    """Against rotation matrices and world coordinates: a point seen now, looked up in the frame before."""
    rng = np.random.default_rng(0)
    tan = math.tan(FOV_X_RAD / 2)
    for _ in range(5):
        right, forward, yaw, pitch, before = rng.uniform(-0.3, 0.3, 5)
        path = torch.tensor([[0, 0, 0, 0], [0, 0, 0, before], [right, forward, yaw, pitch - before]])
        action = path_vectors(path.float())[2:]
        rows, columns = CONFIG.rows * POINTS, CONFIG.columns * POINTS
        i, j = rng.integers(rows), rng.integers(columns)
        ray = np.array([((2 * j + 1) / columns - 1) * tan, (1 - (2 * i + 1) / rows) * tan * rows / columns, 1.0])
        new, old = rotation(yaw, pitch), rotation(0.0, before)
        direction = new @ ray / np.linalg.norm(ray)
        given = torch.zeros(1, 8, CONFIG.rows, CONFIG.columns)
        near = inverse_depth_at(fitted, given, action, int(i), int(j))
        eye = rotation(yaw, 0.0) @ np.array([right, 0.0, forward])  # turned first, then walked
        x, y, z = old.T @ (eye + direction / near)
        expected = np.array([x / z / tan, -y / z / tan * columns / rows])
        pose = torch.tensor([[right, forward, yaw, before]]).float()
        found = fitted.source(fitted.view(given, torch.tensor([pitch]).float()), pose)[0][0, i, j].numpy()
        np.testing.assert_allclose(found, expected, atol=1e-4)


def inverse_depth_at(module: Reprojection, given: Tensor, action: Tensor, i: int, j: int) -> float:
    """What the module itself takes for the inverse distance of one point: by how far a step to the right moves it."""
    pitch = math.radians(15) * action[:, 5]
    view = module.view(given, pitch)
    still, aside = STILL.clone(), torch.tensor([[1.0, 0.0, 0.0, 0.0]])  # one metre: the shift is linear in it
    still[:, 3] = aside[:, 3] = pitch
    rows, columns = CONFIG.rows * POINTS, CONFIG.columns * POINTS
    tan = math.tan(FOV_X_RAD / 2)
    u, v = ((2 * j + 1) / columns - 1) * tan, (1 - (2 * i + 1) / rows) * tan * rows / columns
    shift = module.source(view, aside)[0] - module.source(view, still)[0]
    return float(shift[0, i, j, 0]) * tan / math.sqrt(u * u + v * v + 1)


@pytest.mark.parametrize("axis", MOTIONS)
def test_true_renders_move_as_told(fitted: Reprojection, tokenizer: Autoencoder, axis: int) -> None:
    """Even before anything is learned, the moved frame is nearer to the next true one than a copy is."""
    copy, moved = [], []
    path = np.zeros((6, 4), np.float32)
    path[:, axis] = MOTIONS[axis]
    for seed in range(6):
        walk = episode(2_000 + seed, 6, WIDTH, HEIGHT, theme=2 * seed % len(THEMES), path=path, changes=False)
        with torch.no_grad():
            latents = tokenizer.encode(to_tensor(walk.rgb))
        action = path_vectors(torch.from_numpy(walk.path))
        guess = fitted(latents[None, :-1, None], action[None, 1:])[0][0]
        copy.append(float((latents[1:] - latents[:-1]).square().mean()))
        moved.append(float((latents[1:] - guess).square().mean()))
    assert np.mean(moved) < (0.4 if axis in (YAW, PITCH) else 0.9) * np.mean(copy)


def test_depth_can_be_learned_from_motion_alone(tokenizer: Autoencoder) -> None:
    """Steps to the side past one scene: the depth network finds what brings the moved frame nearer to the next."""
    torch.manual_seed(0)
    module = Reprojection(CONFIG)
    module.fit(tokenizer)
    path = np.zeros((16, 4), np.float32)
    path[:, RIGHT] = 0.3
    walk = episode(2_100, 16, WIDTH, HEIGHT, theme=4, path=path, changes=False)
    with torch.no_grad():
        latents = tokenizer.encode(to_tensor(walk.rgb))
    action = path_vectors(torch.from_numpy(walk.path))[None, 1:]
    optimiser = torch.optim.Adam(module.parameters(), 5e-3)
    losses = []
    for _ in range(40):
        loss = (module(latents[None, :-1, None], action)[0][0] - latents[1:]).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.85 * losses[0]


@pytest.mark.parametrize("name", ["gate", "recall_gate"])
def test_a_gate_that_is_open_shows_what_it_lets_through(name: str) -> None:
    model = network()
    noisy, seen, *rest = clip(frames=3)
    seen[:, :, -1] = 1.0  # the recalled frame covers all
    shown = seen[:, :, NETWORK.given if name == "gate" else -2]
    with torch.no_grad():
        for gate in (model.gate, model.recall_gate):
            gate.weight.zero_()
            gate.bias.fill_(50.0 if gate is getattr(model, name) else -50.0)
    torch.testing.assert_close(model(noisy, seen, *rest), shown)
    with torch.no_grad():
        getattr(model, name).bias.fill_(-50.0)
    assert not torch.allclose(model(noisy, seen, *rest), shown)


def test_what_is_not_covered_is_not_recalled() -> None:
    model = network()
    noisy, seen, *rest = clip(frames=3)
    seen[:, :, -1] = 0.0
    with torch.no_grad():
        model.recall_gate.bias.fill_(50.0)
        model.patch_embedding.weight[:, -2 * NETWORK.channels * NETWORK.patch**2 :] = 0
    other = seen.clone()
    other[:, :, -2] += 1
    torch.testing.assert_close(model(noisy, other, *rest), model(noisy, seen, *rest))


def test_a_network_without_it_has_none_of_it() -> None:
    from dataclasses import replace

    without = replace(NETWORK, reproject=False, recall=False)
    model = network(without)
    assert not any("gate" in name or "reprojection" in name for name in model.state_dict())
    assert model(*clip(without)).isfinite().all()


def test_places_need_reprojection() -> None:
    with pytest.raises(ValueError, match="reproject"):
        NetworkConfig(reproject=False)
