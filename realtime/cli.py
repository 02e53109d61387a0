"""The `worldstream` command. Each subcommand imports what it needs when it runs, so that `--help` is instant; errors
are one line on stderr with a non-zero exit code: never a traceback for something that the user can put right.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .config import ENGINES, LOG_LEVELS, ServerConfig, from_environment, override, version
from .errors import WorldstreamError
from .startup import check_data_folder, listen, steady_heap

if TYPE_CHECKING:
    from ..worlds.core import World


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit code: 0, 1 for an error, 2 for wrong usage, 130 after Ctrl-C."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        if arguments[:1] == ["train"]:  # has a command line of its own
            return _train(arguments[1:])
        options = _parser().parse_args(arguments)
        commands = {"serve": _serve, "worlds": _list_worlds, "film": _film, "replay": _replay}
        return commands[options.command](options)
    except KeyboardInterrupt:
        return 130
    except WorldstreamError as error:
        return _complain(f"{error.message} {error.remedy}")
    except (ValueError, OSError, ImportError) as error:
        if logging.getLogger().isEnabledFor(logging.DEBUG):
            raise
        return _complain(str(error) or type(error).__name__)


def _complain(text: str) -> int:
    print(f"worldstream: {' '.join(text.split())}", file=sys.stderr)
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="worldstream", description="Stream generated worlds to a browser.")
    parser.add_argument("--version", action="version", version=f"worldstream {version()}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")

    serve = commands.add_parser("serve", help="serve a world; open the printed address in a browser")
    serve.add_argument("--host", help="address to listen on (default 127.0.0.1: this machine only)")
    serve.add_argument("--port", type=int, help="port to listen on (default 8800)")
    serve.add_argument("--data", type=Path, metavar="DIR", help="folder for what the server keeps")
    serve.add_argument("--world", metavar="NAME", help="which world; `worldstream worlds` lists them")
    serve.add_argument("--engine", choices=ENGINES, help="what runs the network (default auto)")
    serve.add_argument("--steps", type=int, metavar="N", help="denoising steps per frame (default: as trained)")
    serve.add_argument("--stamp", action="store_true", default=None, help="draw the benchmark's barcode on each frame")
    serve.add_argument("--log-level", choices=LOG_LEVELS, help="default info")

    commands.add_parser("worlds", help="list the worlds on this machine")
    film = commands.add_parser("film", help="draw a camera's way through a world to a file")
    film.add_argument("prompt", nargs="?", help="what the world shows, as on the page")
    film.add_argument("--camera", default="slow dolly in", metavar="TEXT", help="moves in words (default %(default)r)")
    film.add_argument("--seconds", type=float, default=5.0, help="length (default 5)")
    film.add_argument("--seed", type=int, default=0, help="which of the prompt's worlds (default 0)")
    film.add_argument("--log", type=Path, metavar="FILE", help="keep the action log too")
    replay = commands.add_parser("replay", help="draw a recorded session again")
    replay.add_argument("log", type=Path, help="the action log")
    replay.add_argument("--anyway", action="store_true", help="also with other weights than the log was made with")
    for command in (film, replay):
        command.add_argument("-o", "--out", type=Path, required=True, metavar="FILE.mp4", help="the film to write")
        command.add_argument(
            "--image", type=Path, metavar="FILE", help="the PNG, JPEG or WebP that the world begins from"
        )
        command.add_argument("--data", type=Path, metavar="DIR", help="folder of the server's worlds")
        command.add_argument("--world", metavar="NAME", help="which world; `worldstream worlds` lists them")
        command.add_argument("--engine", choices=ENGINES, help="what runs the network (default auto)")
    commands.add_parser("train", help="train a world; see `worldstream train --help`", add_help=False)
    return parser


def calm_threads() -> None:
    """Leave a core to the browser, and never spin for it. Must run before torch is imported: with the default, waiting
    threads burn the cores that the working ones need, and a busy machine gets 10 times slower."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    threads = str(max(1, (os.cpu_count() or 2) - 1))
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(name, threads)


def _serve(options: argparse.Namespace) -> int:
    given = {name: value for name, value in vars(options).items() if name != "command"}
    config = override(from_environment(), given)
    calm_threads()
    steady_heap()
    logging.basicConfig(level=config.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for noisy in ("aioice", "aiortc"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    check_data_folder(config.data)
    listener = listen(config.host, config.port)
    world = load_world(config)
    from .serve import serve

    serve(config, world, listener)
    return 0


def load_world(config: ServerConfig) -> World:
    """The world that the config names, or the catalogue's first. Raises ValueError or OSError in one line."""
    weights: Any = importlib.import_module("..worlds.weights", __package__)
    world: World = weights.load_world(config.world or None, config.data, engine=config.engine, steps=config.steps)
    return world


def _film(options: argparse.Namespace) -> int:
    if options.prompt is None and options.image is None:
        return _complain("film needs a prompt, or a picture with --image, or both.")
    film: Any = _filming()
    world = load_world(_config_of(options))
    image = film.opened(world, options.image)
    log = film.scripted(world, options.prompt or "", options.camera, options.seconds, options.seed, image)
    return _written(options.out, film.shoot(world, log, options.out, options.log, image), log.notes)


def _replay(options: argparse.Namespace) -> int:
    film: Any = _filming()
    logs: Any = importlib.import_module("..worlds.action_log", __package__)
    weights: Any = importlib.import_module("..worlds.weights", __package__)
    config = _config_of(options)
    log = logs.read(options.log)  # all of this before the seconds that loading a world takes
    film.check(log, weights.find(config.world or None, config.data), options.anyway)
    world = load_world(config)
    image = film.opened(world, options.image)
    count, notes = film.replay(world, log, options.out, options.anyway, image)
    return _written(options.out, count, notes)


def _filming() -> Any:
    calm_threads()
    return importlib.import_module("..worlds.film", __package__)


def _config_of(options: argparse.Namespace) -> ServerConfig:
    return override(from_environment(), {name: getattr(options, name) for name in ("data", "world", "engine")})


def _written(out: Path, count: int, notes: Sequence[str]) -> int:
    for note in notes:
        print(f"worldstream: {note}", file=sys.stderr)
    print(f"wrote {count} frames to {out}")
    return 0


def _list_worlds(_: argparse.Namespace) -> int:
    weights: Any = importlib.import_module("..worlds.weights", __package__)
    cards = weights.catalogue(from_environment().data)
    for card in cards:
        c = card.config
        print(f"{card.name}  {c.width_px}x{c.height_px} at {c.fps:g} fps, {len(c.step_lists[0])} steps  {card.path}")
    return 0 if cards else _complain("there are no worlds on this machine.")


def _train(arguments: list[str]) -> int:
    calm_threads()
    training: Any = importlib.import_module("..worlds.training.cli", __package__)
    return int(training.main(arguments) or 0)


if __name__ == "__main__":
    sys.exit(main())
