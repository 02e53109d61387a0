"""Find, verify and load the worlds on this machine.

A world is two files of one name: `NAME.safetensors` (half precision) and `NAME.json`, its card: configuration, hash,
what it was trained on and how it measured. A world with a painter, which draws its first frames, has a third,
`NAME.painter.safetensors`. Shipped worlds lie in `worlds/checkpoints/`, others in `<data>/worlds/`.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from .autoencoder import Autoencoder
from .config import PainterConfig, WorldConfig
from .core import CONTROLS
from .drift import FILE as DRIFT_FILE
from .drift import Gauge, load_gauge
from .engine_choice import choose
from .engines import Engine, build
from .errors import WeightsError as WeightsError
from .familiarity import PictureViewer, load_familiarity
from .judge import load_judge
from .network import WorldNetwork
from .painter import FirstFrames, Painter
from .procedural.attributes import THEMES
from .procedural.captions import understood
from .rollout import Rollout

SHIPPED = Path(__file__).parent / "checkpoints"


@dataclass(frozen=True, slots=True)
class WorldCard:
    """The JSON card of a world."""

    config: WorldConfig
    sha256: str
    path: Path  # of the card
    facts: dict[str, Any]  # data, steps, machine, time, metrics
    painter_sha256: str = ""  # where the configuration has a painter

    @property
    def name(self) -> str:
        return self.config.name

    @property
    def weights(self) -> Path:
        return self.path.with_suffix(".safetensors")

    @property
    def painter_weights(self) -> Path:
        return self.path.with_suffix(".painter.safetensors")

    @property
    def identity(self) -> str:
        """Of all weights that decide the pictures, as 64 hexadecimal digits: what an action log must agree with. For a
        world without a painter, the hash of its weights."""
        if self.config.painter is None:
            return self.sha256
        return hashlib.sha256(f"{self.sha256} {self.painter_sha256}".encode()).hexdigest()

    def without_painter(self) -> WorldCard:
        """The world as it was before it had a painter: its first frames are the walking network's."""
        return replace(self, config=replace(self.config, painter=None), painter_sha256="")

    @classmethod
    def read(cls, path: Path) -> WorldCard:
        """Raises WeightsError when the card cannot be read."""
        try:
            raw = json.loads(path.read_text())
            config, facts = WorldConfig.from_json(raw["config"]), dict(raw.get("facts", {}))
            painter = "" if config.painter is None else str(raw["painter_sha256"])
            return cls(config, str(raw["sha256"]), path, facts, painter)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            reason = f"no {error}" if isinstance(error, KeyError) else error
            raise WeightsError(
                f"the card {path} cannot be read ({reason}); restore it from the repository or delete it"
            ) from error

    def write(self) -> None:
        """Replace the card's file. The weights and their hash stay as they are."""
        painter = {} if self.config.painter is None else {"painter_sha256": self.painter_sha256}
        content = {"config": self.config.to_json(), "sha256": self.sha256, **painter, "facts": self.facts}
        temporary = self.path.with_suffix(".part")
        temporary.write_text(json.dumps(content, indent=1) + "\n")
        temporary.rename(self.path)


def catalogue(data: Path | None = None) -> list[WorldCard]:
    """The worlds on this machine, shipped ones first."""
    folders = [SHIPPED] + ([data / "worlds"] if data is not None else [])
    paths = [p for folder in folders for p in sorted(folder.glob("*.json"))]
    return [WorldCard.read(p) for p in paths if p.with_suffix(".safetensors").exists() or _claims_to_be_a_card(p)]


def _claims_to_be_a_card(path: Path) -> bool:
    """Whether a JSON file without weights beside it is a world's card all the same; others may lie in the folder."""
    try:
        raw = json.loads(path.read_text())
    except (OSError, ValueError):
        return False
    return isinstance(raw, dict) and "config" in raw


def find(name: str | None, data: Path | None = None) -> WorldCard:
    """The card of a name, the first shipped world for None. Raises WeightsError."""
    cards = catalogue(data)
    if name is None and cards:
        return cards[0]
    for card in cards:
        if card.name == name:
            return card
    have = ", ".join(card.name for card in cards) or "none"
    raise WeightsError(f"there is no world named {name!r}; worlds on this machine: {have}")


def verified(path: Path, sha256: str) -> dict[str, Tensor]:
    """The weights in a file whose card tells their hash, as float32. Raises WeightsError."""
    if not path.is_file():
        raise WeightsError(f"the weights {path} are missing; restore them from the repository or train the world again")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != sha256:
        raise WeightsError(
            f"{path} has the hash {digest[:12]}…, its card says {sha256[:12]}…; the file is damaged or of "
            "another training: restore both files together"
        )
    return {k: v.float() if v.is_floating_point() else v for k, v in load_file(path).items()}


def load_modules(card: WorldCard) -> tuple[WorldNetwork, Autoencoder]:
    """Network and tokenizer of a card, in evaluation mode. Raises WeightsError."""
    weights = verified(card.weights, card.sha256)
    network, autoencoder = WorldNetwork(card.config.network), Autoencoder(card.config.autoencoder)
    for prefix, module in (("network.", network), ("autoencoder.", autoencoder)):
        part = {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}
        _filled(module, part, card.weights)
    return network, autoencoder


def load_painter(card: WorldCard) -> Painter | None:
    """The painter of a card, in evaluation mode; None where the world has none. Raises WeightsError."""
    if card.config.painter is None:
        return None
    painter = Painter(card.config.painter.network(card.config.network))
    _filled(painter, verified(card.painter_weights, card.painter_sha256), card.painter_weights)
    return painter


def _filled(module: nn.Module, weights: dict[str, Tensor], path: Path) -> None:
    """Put the weights in. Raises WeightsError where they do not fit."""
    try:
        module.load_state_dict(weights)
    except RuntimeError as error:
        raise WeightsError(f"{path} does not fit its card ({str(error).splitlines()[0]})") from error
    module.eval().requires_grad_(False)


def save_world(
    folder: Path, config: WorldConfig, modules: dict[str, dict[str, Tensor]], facts: dict[str, Any]
) -> WorldCard:
    """Write `NAME.safetensors` (float16) and `NAME.json`. `modules` maps prefixes to state dicts."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {
        f"{prefix}.{k}": (v.half() if v.is_floating_point() else v).contiguous()
        for prefix, state in modules.items()
        for k, v in state.items()
    }
    path = folder / f"{config.name}.json"
    digest = _written(path.with_suffix(".safetensors"), tensors)
    WorldCard(config, digest, path, facts).write()
    return WorldCard.read(path)


def save_painter(
    card: WorldCard, config: PainterConfig, weights: dict[str, Tensor], facts: dict[str, Any]
) -> WorldCard:
    """Give a world a painter: write `NAME.painter.safetensors` (float16) and put it on the card."""
    half = {k: (v.half() if v.is_floating_point() else v).contiguous() for k, v in weights.items()}
    digest = _written(card.painter_weights, half)
    facts = {**card.facts, "painter": facts}
    replace(card, config=replace(card.config, painter=config), painter_sha256=digest, facts=facts).write()
    return WorldCard.read(card.path)


def _written(path: Path, tensors: dict[str, Tensor]) -> str:
    """Write tensors; the file's hash."""
    save_file(tensors, path)
    path.chmod(0o644)  # safetensors writes for the owner alone; a served file is for everybody
    return hashlib.sha256(path.read_bytes()).hexdigest()


@dataclass(frozen=True, slots=True)
class LoadedWorld:
    """A world ready to play; satisfies `core.World`."""

    card: WorldCard
    network: nn.Module
    autoencoder: Autoencoder
    runner: Engine
    step_list: tuple[float, ...]
    gauge: Gauge | None = None  # None: walks are not watched for drift
    painter: FirstFrames | None = None  # None: the walking network draws first frames

    @property
    def name(self) -> str:
        return self.card.name

    @property
    def sha256(self) -> str:
        """Of the weights: what an action log must agree with."""
        return self.card.identity

    @property
    def config(self) -> WorldConfig:
        return self.card.config

    @property
    def width_px(self) -> int:
        return self.config.width_px

    @property
    def height_px(self) -> int:
        return self.config.height_px

    @property
    def engine(self) -> str:
        return self.runner.name

    @property
    def steps(self) -> int:
        return len(self.step_list)

    @property
    def step_choices(self) -> tuple[int, ...]:
        """Numbers of steps that this model was trained for, best first."""
        return tuple(len(s) for s in self.config.step_lists)

    @property
    def fps(self) -> float:
        return self.config.fps

    @property
    def frames_per_step(self) -> int:
        return 1

    @property
    def controls(self) -> tuple[str, ...]:
        return CONTROLS

    @property
    def themes(self) -> tuple[str, ...]:
        return tuple(self.card.facts.get("themes", THEMES))

    @property
    def max_step_m(self) -> float:
        return self.config.max_step_m

    @property
    def max_turn_rad(self) -> float:
        return self.config.max_turn_rad

    def understood(self, prompt: str) -> tuple[str, ...]:
        """The words of the prompt that the model was trained on."""
        return understood(prompt)

    def rollout(self) -> Rollout:
        """A new, empty rollout; call `reset` before `step`."""
        assert isinstance(self.network, WorldNetwork)
        return Rollout(
            self.config, self.network, self.runner, self.step_list, self.gauge, self.autoencoder, self.painter
        )

    def viewer(self) -> PictureViewer:
        """Looks at pictures that the world could begin from. Raises ValueError when what it needs is missing."""
        folder = self.card.path.parent
        judge = load_judge(folder if (folder / "judge.safetensors").is_file() else SHIPPED)
        return PictureViewer(judge, self.autoencoder, load_familiarity(folder, self.name, judge, self.autoencoder))

    def without_painter(self) -> LoadedWorld:
        """The world as it was before it had a painter."""
        return replace(self, card=self.card.without_painter(), painter=None)

    def with_steps(self, steps: int) -> LoadedWorld:
        """The same world at another number of steps. Raises ValueError when it was not trained for it."""
        for known in self.config.step_lists:
            if len(known) == steps:
                return replace(self, step_list=known)
        raise ValueError(f"world {self.name} runs at {self.step_choices} steps, not {steps}")


def load_world(
    name: str | None = None,
    data: Path | None = None,
    engine: str = "auto",
    steps: int | None = None,
    threads: int | None = None,
) -> LoadedWorld:
    """Find, verify, load and warm a world. Raises WeightsError, or ValueError on an unknown engine or step count."""
    card = find(name, data)
    network, autoencoder = load_modules(card)
    step_list = card.config.step_lists[0]
    if engine == "auto":
        cache = data / "engines.json" if data is not None else None
        runner = choose(network, autoencoder.decoder, len(step_list), cache, threads, key=card.sha256[:12])
    else:
        runner = build(engine, network, autoencoder.decoder, threads)
    folder = card.path.parent  # the monitor's measurements belong to one tokenizer: without them nobody watches
    watched = card.config.drift.on and (folder / DRIFT_FILE).is_file()
    gauge = load_gauge(folder, autoencoder) if watched else None
    painter, shapes = load_painter(card), card.config.painter
    first = None if painter is None or shapes is None else FirstFrames(shapes, painter, runner.painting(painter))
    world = LoadedWorld(card, network, autoencoder, runner, step_list, gauge, first)
    return world if steps is None else world.with_steps(steps)
