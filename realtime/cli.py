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

from ..worlds.machine import model_threads
from ..worlds.options import DECODERS, ENGINES, PRECISIONS, OpenOptions
from .config import LOG_LEVELS, ServerConfig, from_environment, override, version
from .errors import WorldstreamError
from .jobs.commands import COMMANDS as MADE
from .jobs.commands import add_parsers as add_made
from .startup import check_data_folder, listen, steady_heap

if TYPE_CHECKING:
    from ..worlds.core import World

KEPT = {  # commands that need the server's packages
    "keys": "API keys: create, list, revoke; and credits, where they are counted",
    "inspect": "what a picture or film says of where it comes from",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit code: 0, 1 for an error, 2 for wrong usage, 130 after Ctrl-C."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        if arguments[:1] == ["train"]:  # has a command line of its own
            return _train(arguments[1:])
        if arguments[:1] and arguments[0] in (*MADE, *KEPT):
            calm_threads()
            return int(importlib.import_module(".offline_commands", __package__).main(arguments))
        options = _parser().parse_args(arguments)
        commands = {"serve": _serve, "worlds": _list_worlds, "film": _film, "replay": _replay, "models": _models}
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
    serve.add_argument("--size", metavar="WxH", help="picture of an open checkpoint (default: its own)")
    serve.add_argument("--window", type=int, metavar="N", help="latent frames that an open checkpoint attends to")
    serve.add_argument("--precision", choices=PRECISIONS, help="of an open checkpoint's weights (default auto)")
    serve.add_argument(
        "--lora", type=Path, action="append", metavar="FILE", help="a LoRA of the open checkpoint; words ask for it"
    )
    serve.add_argument("--decoder", choices=DECODERS, help="of an open checkpoint's pictures (default auto)")
    serve.add_argument(
        "--database", metavar="URL", help="of tasks: postgresql://… (default: SQLite in the data folder)"
    )
    serve.add_argument(
        "--blobs", metavar="URL", help="for what tasks make: s3://bucket/prefix (default: the data folder)"
    )
    serve.add_argument("--public-url", metavar="URL", help="how clients reach this server (default: as they asked)")
    serve.add_argument("--task-processes", type=int, metavar="N", help="clips and edits at once (default 1)")
    serve.add_argument("--keep-outputs", type=float, metavar="DAYS", help="of tasks (default: for ever)")
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
    _models_parser(commands.add_parser("models", help="open checkpoints: add a folder of weights, list, check, remove"))
    add_made(commands)
    for name, text in KEPT.items():
        commands.add_parser(name, help=text, add_help=False)
    commands.add_parser("train", help="train a world; see `worldstream train --help`", add_help=False)
    return parser


def _models_parser(models: argparse.ArgumentParser) -> None:
    actions = models.add_subparsers(dest="action", required=True, metavar="action")
    listing = actions.add_parser("list", help="every world on this machine, embedded ones too")
    add = actions.add_parser("add", help="recognise the weights in a folder and put them into the catalogue")
    add.add_argument("folders", type=Path, nargs="+", metavar="FOLDER", help="where the weights are; several if apart")
    add.add_argument("--as", dest="name", metavar="NAME", help="what to call it; a known checkpoint's name says which")
    add.add_argument("--family", metavar="FAMILY", help="which known checkpoint it is, under another name")
    add.add_argument("--copy", action="store_true", help="copy the weights into the data folder")
    check = actions.add_parser("check", help="parameters, memory of a session, and whether it fits this machine")
    check.add_argument("--verify", action="store_true", help="hash every file again")
    remove = actions.add_parser("remove", help="forget a model; the weights stay unless they were copied")
    synthesize = actions.add_parser("synthesize", help="write random weights in a published layout")
    synthesize.add_argument("preset", metavar="PRESET", help="a known checkpoint, e.g. self-forcing")
    synthesize.add_argument("--scale", choices=("tiny", "full"), default="tiny", help="default tiny")
    synthesize.add_argument("--out", type=Path, metavar="FOLDER", help="default ./PRESET")
    synthesize.add_argument("--seed", type=int, default=0, help="of the numbers (default 0)")
    for command in (check, remove):
        command.add_argument("name", metavar="NAME")
    for command in (listing, add, check, remove):
        command.add_argument("--data", type=Path, metavar="DIR", help="folder of the server's worlds")


def calm_threads() -> None:
    """Leave a core to the browser, and never spin for it. Must run before torch is imported: with the default, waiting
    threads burn the cores that the working ones need, and a busy machine gets 10 times slower."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    threads = str(model_threads())
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
    from .serve import offline_half, serve

    offline = offline_half(config, listener.getsockname()[1])  # before the seconds that loading a world takes
    serve(config, load_world(config), listener, offline)
    return 0


def load_world(config: ServerConfig) -> World:
    """The world that the config names, or the first embedded one. Raises ValueError or OSError in one line."""
    library: Any = importlib.import_module("..worlds.library", __package__)
    width, height = map(int, config.size.split("x")) if config.size else (None, None)
    options = OpenOptions(
        width, height, config.window, config.precision, config.decoder, engine=config.engine, loras=tuple(config.lora)
    )
    world: World = library.load_any_world(config.world or None, config.data, config.engine, config.steps, options)
    return world


def load_embedded(config: ServerConfig) -> Any:
    """The embedded world that the config names. Raises ValueError or OSError in one line."""
    library: Any = importlib.import_module("..worlds.library", __package__)
    if config.world and library.is_open(config.world, config.data):
        raise ValueError(f"{config.world} is an open checkpoint; films are drawn by embedded worlds so far")
    weights: Any = importlib.import_module("..worlds.weights", __package__)
    return weights.load_world(config.world or None, config.data, engine=config.engine, steps=config.steps)


def _film(options: argparse.Namespace) -> int:
    if options.prompt is None and options.image is None:
        return _complain("film needs a prompt, or a picture with --image, or both.")
    film: Any = _filming()
    world = load_embedded(_config_of(options))
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
    world = load_embedded(config)
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


def _list_worlds(options: argparse.Namespace) -> int:
    weights: Any = importlib.import_module("..worlds.weights", __package__)
    cards = weights.catalogue(override(from_environment(), {"data": getattr(options, "data", None)}).data)
    for card in cards:
        c = card.config
        print(f"{card.name}  {c.width_px}x{c.height_px} at {c.fps:g} fps, {len(c.step_lists[0])} steps  {card.path}")
    return 0 if cards else _complain("there are no worlds on this machine.")


def _models(options: argparse.Namespace) -> int:
    calm_threads()
    if options.action == "synthesize":
        return _synthesize(options)
    catalogue: Any = importlib.import_module("..worlds.catalogue", __package__)
    cards: Any = importlib.import_module("..worlds.model_card", __package__)
    data = override(from_environment(), {"data": options.data}).data
    if options.action == "list":
        _list_worlds(options)
        for card in cards.all_cards(data):
            print(f"{card.name}  {card.family}, {card.bytes / 2**30:.2f} GiB, licence {card.licence}")
    elif options.action == "add":
        check_data_folder(data)
        card = catalogue.add(options.folders, data, options.name, options.family, options.copy, print)
        print(f"added {card.name}: {card.family}, licence {card.licence}; see `worldstream models check {card.name}`")
    elif options.action == "check":
        checking: Any = importlib.import_module("..worlds.model_check", __package__)
        for line in checking.check(cards.find_card(data, options.name), data, options.verify, print):
            print(line)
    else:
        catalogue.remove(options.name, data)
        print(f"removed {options.name}")
    return 0


def _synthesize(options: argparse.Namespace) -> int:
    families: Any = importlib.import_module("..worlds.wan.families", __package__)
    writing: Any = importlib.import_module("..worlds.wan.synthesize", __package__)
    family = families.family(options.preset)
    paths = writing.synthesize(family, options.out or Path(options.preset), options.scale, options.seed, print)
    print(f"wrote {len(paths)} files")
    return 0


def _train(arguments: list[str]) -> int:
    calm_threads()
    training: Any = importlib.import_module("..worlds.training.cli", __package__)
    return int(training.main(arguments) or 0)


if __name__ == "__main__":
    sys.exit(main())
