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
from .startup import check_data_folder, listen

if TYPE_CHECKING:
    from ..worlds.core import World


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit code: 0, 1 for an error, 2 for wrong usage, 130 after Ctrl-C."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        if arguments[:1] == ["train"]:  # has a command line of its own
            return _train(arguments[1:])
        options = _parser().parse_args(arguments)
        return _serve(options) if options.command == "serve" else _list_worlds()
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


def _list_worlds() -> int:
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
