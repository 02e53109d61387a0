"""The architecture, as a test: which folder may import which, and where each third-party library may be named.

Every check is a function over a small model of the sources, `Module`, so that the tests at the end of the file can
show each one failing on a few invented lines.
"""

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "worldstream"

# folder -> the folders or single modules of ours that it may import beside itself
MAY_IMPORT: dict[str, set[str]] = {
    "kernels": set(),
    "worlds": {"kernels"},
    "avatars": {"worlds"},
    "realtime": {"avatars", "worlds", "clients.tasks"},  # the command line is a client where it is given a --server
    "clients": {"realtime.protocol"},
}
# library -> the folders or single modules that may name it; a library without an entry may be used anywhere
WALLS: dict[str, set[str]] = {
    "aiortc": {"realtime"},
    "aioice": {"realtime"},
    "fastapi": {"realtime"},
    "starlette": {"realtime"},
    "uvicorn": {"realtime"},
    "uvloop": {"realtime"},
    "prometheus_client": {"realtime"},
    "pydantic": {"realtime"},  # HTTP bodies only; elsewhere frozen dataclasses
    "websockets.serve": {"realtime"},
    "websockets.server": {"realtime"},
    "websockets.asyncio.server": {"realtime"},
    "websockets.sync.server": {"realtime"},
    "tensorrt": {"worlds.tensorrt_edition"},  # finds the edition that is there; others get its module from it
    "tensorrt_rtx": {"worlds.tensorrt_edition"},
    "onnx": {"worlds.wan.onnx_graph"},
    "onnxruntime": {"worlds.wan.onnx_graph"},
    "cudnn": {"worlds.wan.cudnn_attention"},  # its frontend; torch brings the library itself
    "openvino": {"worlds.engines"},
    "cuda": {"kernels.build"},
    "numba.cuda": {"worlds.procedural"},
    "numba": {"worlds.procedural"},
    "ray": {"realtime.cluster"},
    "sqlite3": {"realtime.store"},
    "sqlalchemy": {"realtime.store"},
    "psycopg": {"realtime.store"},
    "gymnasium": {"clients.gym_env"},
    "torch": {"kernels", "worlds", "avatars", "realtime"},  # the light client runs without it
    "yaml": set(),  # configuration is Python
    "espeakng_loader": set(),  # GPL-3: found by its place, loaded only by the program avatars/audio/espeak_worker.py
}
# These run where nothing but the bare install is present, so neither they nor what they import may need more.
LIGHT = ("realtime.protocol", "clients")
HEAVY = ("torch", "aiortc", "av", "fastapi", "cv2", "openvino")


@dataclass(frozen=True)
class Module:
    """One source file: its name without the package ("worlds.core") and what it imports, as full dotted names."""

    name: str
    imports: tuple[str, ...]  # everything named, `if TYPE_CHECKING` included
    runtime_imports: tuple[str, ...]  # what is named outside `if TYPE_CHECKING`


def parse(name: str, source: str) -> Module:
    """Read the imports of one file; `from ..worlds.core import Frame` names `worldstream.worlds.core.Frame`."""
    tree = ast.parse(source)
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for statement in node.body
        for inner in ast.walk(statement)
    }
    found: list[tuple[str, bool]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(alias.name, id(node) not in typing_only) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            parents = [PACKAGE, *name.split(".")][: -node.level] if node.level else []
            base = ".".join([*parents, *([node.module] if node.module else [])])
            found += [(f"{base}.{alias.name}", id(node) not in typing_only) for alias in node.names]
    return Module(name, tuple(n for n, _ in found), tuple(n for n, runs in found if runs))


def within(name: str, places: Iterable[str]) -> bool:
    """Whether dotted `name` is one of `places` or lies inside one."""
    return any(name == place or name.startswith(place + ".") for place in places)


def wrong_directions(modules: Iterable[Module]) -> Iterator[str]:
    """Imports across folders that the drawing in MAY_IMPORT does not allow."""
    for module in modules:
        folder = module.name.split(".")[0]
        for target in module.imports:
            top = target.split(".")[0]
            if top in MAY_IMPORT:
                yield f"{module.name}: `{target}` works only from the checkout; import it relatively"
            inside = target.removeprefix(PACKAGE + ".")
            if (
                inside != target
                and inside.split(".")[0] in MAY_IMPORT
                and not within(inside, {folder, *MAY_IMPORT[folder]})
            ):
                yield f"{module.name}: may not import {inside}"


def broken_walls(modules: Iterable[Module]) -> Iterator[str]:
    """Third-party libraries named outside the places that WALLS gives them."""
    for module in modules:
        for target in module.imports:
            walls = [library for library in WALLS if within(target, {library})]
            if walls and not within(module.name, WALLS[max(walls, key=len)]):
                yield f"{module.name}: may not import {target}"


def edges(modules: Iterable[Module]) -> dict[str, set[str]]:
    """Which module imports which of ours at run time; imports inside functions count."""
    modules = list(modules)
    names = {module.name for module in modules}
    graph: dict[str, set[str]] = {}
    for module in modules:
        ours = [t.removeprefix(PACKAGE + ".") for t in module.runtime_imports if t.startswith(PACKAGE + ".")]
        # the last part may be a name inside the module rather than a module
        graph[module.name] = {t if t in names else t.rpartition(".")[0] for t in ours} & names
    return graph


def reachable(graph: dict[str, set[str]], start: str) -> set[str]:
    """All modules that importing `start` may bring in, without `start` unless it reaches itself."""
    seen: set[str] = set()
    todo = list(graph.get(start, ()))
    while todo:
        name = todo.pop()
        if name not in seen:
            seen.add(name)
            todo += graph.get(name, ())
    return seen


def cycles(modules: Iterable[Module]) -> list[str]:
    """Modules that import themselves by some way round."""
    graph = edges(modules)
    return sorted(name for name in graph if name in reachable(graph, name))


def heavy_imports(modules: Iterable[Module]) -> Iterator[str]:
    """Libraries outside the bare install that a light module needs, itself or through what it imports."""
    modules = list(modules)
    graph = edges(modules)
    by_name = {module.name: module for module in modules}
    for module in modules:
        if within(module.name, LIGHT):
            for name in sorted({module.name} | reachable(graph, module.name)):
                for target in by_name[name].runtime_imports:
                    if within(target, HEAVY):
                        yield f"{module.name}: needs {target} through {name}"


def shadowing(root: Path) -> Iterator[str]:
    """Files that would make a root folder a package by itself, and links that lead elsewhere."""
    for folder in MAY_IMPORT:
        if (root / folder / "__init__.py").exists():  # a bare folder loses to an installed package, e.g. `kernels`
            yield f"{folder}/__init__.py must not exist"
        if (root / ".links" / PACKAGE / folder).resolve() != (root / folder).resolve():
            yield f".links/{PACKAGE}/{folder} must lead to {folder}/"


@pytest.fixture(scope="module")
def sources() -> list[Module]:
    """Every Python module of the five folders."""
    paths = [path for folder in MAY_IMPORT for path in sorted((ROOT / folder).rglob("*.py"))]
    assert paths
    return [parse(".".join(path.relative_to(ROOT).with_suffix("").parts), path.read_text()) for path in paths]


def test_folders_import_only_downwards(sources: list[Module]) -> None:
    assert list(wrong_directions(sources)) == []


def test_libraries_stay_behind_their_walls(sources: list[Module]) -> None:
    assert list(broken_walls(sources)) == []


def test_no_import_cycles(sources: list[Module]) -> None:
    assert cycles(sources) == []


def test_the_client_side_is_light(sources: list[Module]) -> None:
    assert list(heavy_imports(sources)) == []


def test_folders_are_linked_and_never_shadow() -> None:
    assert list(shadowing(ROOT)) == []


# Each check can fail:


def test_parse_resolves_relative_and_typing_imports() -> None:
    source = """
from typing import TYPE_CHECKING
import numpy as np
from ..kernels.norm import rms_norm
from . import core
if TYPE_CHECKING:
    from .rollout import Rollout
"""
    module = parse("worlds.sampler", source)
    runtime = ("typing.TYPE_CHECKING", "numpy", "worldstream.kernels.norm.rms_norm", "worldstream.worlds.core")
    assert module.runtime_imports == runtime
    assert module.imports == (*runtime, "worldstream.worlds.rollout.Rollout")


@pytest.mark.parametrize(
    ("name", "source", "right"),
    [
        ("clients.session", "from ..realtime.protocol import decode", True),
        ("clients.session", "from ..realtime import protocol", True),
        ("clients.session", "from ..realtime.session import Session", False),
        ("clients.session", "from ..worlds.core import Action", False),
        ("worlds.rollout", "from ..avatars.turns import Turn", False),
        ("worlds.rollout", "from ..kernels.norm import rms_norm", True),
        ("worlds.procedural.scene", "from ..core import Camera", True),
        ("realtime.worker", "from ..kernels.norm import rms_norm", False),
        ("realtime.worker", "from .. import __version__", True),
        ("realtime.worker", "from worlds.core import Frame", False),
        ("kernels.norm", "if TYPE_CHECKING:\n    from ..worlds.core import Frame", False),
    ],
)
def test_direction_check(name: str, source: str, right: bool) -> None:
    assert (list(wrong_directions([parse(name, source)])) == []) is right


@pytest.mark.parametrize(
    ("name", "source", "right"),
    [
        ("realtime.webrtc", "import aiortc", True),
        ("clients.session", "import aiortc.mediastreams", False),
        ("worlds.rollout", "from fastapi import FastAPI", False),
        ("clients.session", "from websockets.asyncio.client import connect", True),
        ("clients.session", "from websockets.asyncio.server import serve", False),
        ("worlds.engines", "import openvino as ov", True),
        ("worlds.rollout", "import openvino as ov", False),
        ("realtime.worker", "import tensorrt", False),
        ("worlds.engines", "import tensorrt", False),
        ("worlds.tensorrt_edition", "import tensorrt_rtx", True),
        ("worlds.wan.tensorrt_graph", "import tensorrt_rtx", False),
        ("worlds.wan.engine_chunk", "from onnx import helper", False),
        ("kernels.build", "from cuda.bindings import nvrtc", True),
        ("worlds.engines", "from cuda import nvrtc", False),
        ("worlds.procedural.renderer", "from numba import cuda, njit", True),
        ("worlds.rollout", "import numba", False),
        ("realtime.worker", "import ray", False),
        ("realtime.tasks", "import sqlite3", False),
        ("clients.session", "import torch", False),
        ("clients.session", "import torchlight", True),
    ],
)
def test_wall_check(name: str, source: str, right: bool) -> None:
    assert (list(broken_walls([parse(name, source)])) == []) is right


def test_cycle_check() -> None:
    a = parse("worlds.a", "def f():\n    from .b import g")
    b = parse("worlds.b", "from . import c")
    assert cycles([a, b, parse("worlds.c", "from .a import f")]) == ["worlds.a", "worlds.b", "worlds.c"]
    assert cycles([a, b, parse("worlds.c", "if TYPE_CHECKING:\n    from .a import f")]) == []


def test_light_check() -> None:
    protocol = parse("realtime.protocol", "from .checks import finite")
    light, heavy = parse("realtime.checks", "import math"), parse("realtime.checks", "def f():\n    import torch")
    assert list(heavy_imports([protocol, light])) == []
    assert list(heavy_imports([protocol, heavy])) == ["realtime.protocol: needs torch through realtime.checks"]


def test_shadowing_check(tmp_path: Path) -> None:
    (tmp_path / ".links" / PACKAGE).mkdir(parents=True)
    for folder in MAY_IMPORT:
        (tmp_path / folder).mkdir()
        (tmp_path / ".links" / PACKAGE / folder).symlink_to(Path("../..") / folder)
    assert list(shadowing(tmp_path)) == []
    (tmp_path / "kernels" / "__init__.py").touch()
    (tmp_path / ".links" / PACKAGE / "worlds").unlink()
    assert len(list(shadowing(tmp_path))) == 2
