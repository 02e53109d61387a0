"""What `worldstream generate`, `edit`, `upscale`, `speak`, `sound` and `tasks` ask for.

In this process or by a server with --server, it is the same order: a kind, its params and its files, see `kinds.py`.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PICTURES = {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg", ".webp": "webp"}
SOUNDS = {".mp3": "mp3", ".wav": "wav", ".flac": "flac", ".ogg": "ogg_opus", ".opus": "ogg_opus"}
VIDEOS = {".mp4": "mp4", ".mov": "prores", ".zip": "png_sequence"}
COMMANDS = ("generate", "edit", "upscale", "speak", "sound", "tasks")


class OrderError(ValueError):
    """An order that makes no sense. One line."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a command line asks for."""

    kind: str
    params: dict[str, Any]
    inputs: dict[str, Path] = field(default_factory=dict)


def add_parsers(commands: Any) -> None:
    """All six, into what `ArgumentParser.add_subparsers` gave."""
    generate = commands.add_parser("generate", help="draw a clip or a picture from words, pictures or a video")
    generate.add_argument("prompt", nargs="?", default="", help="what it shows")
    generate.add_argument("--image", type=Path, metavar="FILE", help="the picture that a clip begins with")
    generate.add_argument("--last", type=Path, metavar="FILE", help="the picture that a clip ends with")
    generate.add_argument("--extend", type=Path, metavar="FILE", help="the video that a clip goes on from")
    generate.add_argument("--camera", default="", metavar="TEXT", help='moves, e.g. "[00:00] pan left [00:02] push in"')
    generate.add_argument("--seconds", type=float, default=5.0, help="of a clip, up to 180 (default 5)")
    generate.add_argument("--draft", action="store_true", help="quicker and softer, of the same seed")
    generate.add_argument("--soundtrack", action="store_true", help="with sound, chosen by what it shows")
    generate.add_argument("--count", type=int, default=1, help="of pictures (default 1)")
    edit = commands.add_parser("edit", help="change a video by words, masks and pictures")
    edit.add_argument("video", type=Path, metavar="VIDEO")
    edit.add_argument("prompt", nargs="?", default="", help="what should become of it")
    edit.add_argument(
        "--operation", default="", metavar="NAME", help="relight, restyle, replace, remove, background, …"
    )
    edit.add_argument("--mask", type=Path, metavar="FILE", help="white where it may change")
    edit.add_argument("--keyframe", action="append", default=[], metavar="SECONDS=FILE", help="looks like this then")
    edit.add_argument("--aspect", default="", metavar="W:H", help="another shape, e.g. 9:16")
    edit.add_argument("--strength", type=float, metavar="0…1", help="how much may change")
    for command in (generate, edit):
        command.add_argument("--reference", action="append", default=[], metavar="NAME=FILE", help="@NAME in the words")
        command.add_argument("--prores-profile", default="", metavar="NAME", help="of a .mov, e.g. '422 HQ'")
    upscale = commands.add_parser("upscale", help="make a picture or a video larger")
    upscale.add_argument("file", type=Path, metavar="FILE")
    upscale.add_argument("--factor", type=int, choices=(2, 4, 8, 16), help="default 2, unless there is a --size")
    speak = commands.add_parser("speak", help="say words in a voice")
    speak.add_argument("text")
    speak.add_argument("--voice", default="Maya", help="default %(default)s")
    speak.add_argument("--speed", type=float, default=1.0, help="0.5 to 2 (default 1)")
    sound = commands.add_parser("sound", help="make a sound effect")
    sound.add_argument("prompt", help="what it sounds like, e.g. 'rain on a roof'")
    sound.add_argument("--seconds", type=float, default=5.0, help="0.5 to 30 (default 5)")
    sound.add_argument("--loop", action="store_true", help="without a seam")
    for command in (generate, edit, sound):
        command.add_argument("--seed", type=int, default=0, help="default 0")
    for command in (generate, upscale):
        command.add_argument("--size", metavar="WxH", help="in pixels, e.g. 1280x720")
    for command in (generate, edit):
        command.add_argument("--format", default="", metavar="NAME", help="mp4, hdr10, hlg, … (default: by the name)")
    for command in (generate, edit, upscale, speak, sound):
        command.add_argument("-o", "--out", type=Path, required=True, metavar="FILE", help="what to write")
        _where(command)
        command.add_argument("--data", type=Path, metavar="DIR", help="folder of the worlds, where this process draws")
        command.add_argument("--world", default="", metavar="NAME", help="which world, where this process draws")
        command.add_argument("--engine", default="auto", metavar="NAME", help="what runs the network (default auto)")
    _tasks_parser(commands.add_parser("tasks", help="tasks of a server: list, show, get, cancel"))


def _tasks_parser(tasks: argparse.ArgumentParser) -> None:
    actions = tasks.add_subparsers(dest="action", required=True, metavar="action")
    listing = actions.add_parser("list", help="the newest first")
    listing.add_argument("--search", default="", metavar="WORDS")
    show = actions.add_parser("show", help="one task")
    get = actions.add_parser("get", help="wait for a task and download what it made")
    get.add_argument("-o", "--out", type=Path, required=True, metavar="FILE")
    cancel = actions.add_parser("cancel", help="cancel a task that goes on, or delete one that ended")
    for command in (show, get, cancel):
        command.add_argument("id", metavar="ID")
    for command in (listing, show, get, cancel):
        _where(command)


def _where(command: argparse.ArgumentParser) -> None:
    command.add_argument("--server", metavar="URL", help="have a server do it, e.g. http://127.0.0.1:8800")
    command.add_argument("--key", default="", metavar="KEY", help="the server's API key, where it has some")


def asked_of(options: argparse.Namespace) -> Asked:
    """The order that a command line means. Raises OrderError."""
    makers: dict[str, Callable[[argparse.Namespace], Asked]] = {
        "generate": _generate, "edit": _edit, "upscale": _upscale, "speak": _speak, "sound": _sound,
    }  # fmt: skip
    found = makers[options.command](options)
    for name, path in found.inputs.items():
        if not path.is_file():
            raise OrderError(f"there is no file {path} ({name})")
    return found


def _generate(options: argparse.Namespace) -> Asked:
    width, height = _size(options.size or "1280x720")
    params: dict[str, Any] = {"prompt": options.prompt, "width": width, "height": height, "seed": options.seed}
    inputs: dict[str, Path] = {}
    _references(options, params, inputs)
    suffix = options.out.suffix.lower()
    if suffix in PICTURES:
        if not options.prompt:
            raise OrderError("a picture needs words")
        return Asked("still", params | {"count": options.count, "format": PICTURES[suffix]}, inputs)
    given = {"first": options.image, "last": options.last, "extend": options.extend}
    inputs |= {name: path for name, path in given.items() if path is not None}
    if not options.prompt and not inputs:
        raise OrderError("a clip needs words, a picture with --image, or a video with --extend")
    params |= {"seconds": options.seconds, "draft": options.draft, "audio": options.soundtrack}
    if options.camera:
        params["camera"] = options.camera
    return Asked("clip", params | _video_format(options), inputs)


def _edit(options: argparse.Namespace) -> Asked:
    params: dict[str, Any] = {"prompt": options.prompt, "seed": options.seed, **_video_format(options)}
    inputs = {"video": options.video}
    _references(options, params, inputs)
    if options.mask is not None:
        inputs["mask"] = options.mask
    keyframes = []
    for i, given in enumerate(options.keyframe):
        at, _, path = given.partition("=")
        if not re.fullmatch(r"\d+(\.\d+)?", at) or not path:
            raise OrderError(f"a keyframe is SECONDS=FILE, e.g. 1.5=night.png, got {given!r}")
        inputs[f"key{i}"] = Path(path)
        keyframes.append({"input": f"key{i}", "at_s": float(at)})
    more = {
        "operation": options.operation,
        "aspect": options.aspect,
        "strength": options.strength,
        "keyframes": keyframes,
    }
    return Asked("edit", params | {name: value for name, value in more.items() if value not in ("", None, [])}, inputs)


def _upscale(options: argparse.Namespace) -> Asked:
    suffix = options.file.suffix.lower()
    picture = suffix in PICTURES
    if options.size and options.factor:
        raise OrderError("either --factor or --size")
    width, height = _size(options.size) if options.size else (0, 0)
    params = {"width": width, "height": height} if options.size else {"factor": options.factor or 2}
    if picture:
        return Asked(
            "upscale_image",
            params | {"format": PICTURES.get(options.out.suffix.lower(), "png")},
            {"image": options.file},
        )
    return Asked("upscale_video", params, {"video": options.file})


def _speak(options: argparse.Namespace) -> Asked:
    return Asked(
        "speech",
        {"text": options.text, "voice": options.voice, "speed": options.speed, "format": _sound_format(options)},
    )


def _sound(options: argparse.Namespace) -> Asked:
    params = {"prompt": options.prompt, "seconds": options.seconds, "loop": options.loop, "seed": options.seed}
    return Asked("sound", params | {"format": _sound_format(options)})


def _sound_format(options: argparse.Namespace) -> str:
    suffix = options.out.suffix.lower()
    if suffix not in SOUNDS:
        raise OrderError(f"a sound is written as {', '.join(SOUNDS)}; {options.out} is none of them")
    return SOUNDS[suffix]


def _video_format(options: argparse.Namespace) -> dict[str, Any]:
    suffix = options.out.suffix.lower()
    if suffix not in VIDEOS:
        raise OrderError(
            f"a film is written as {', '.join(VIDEOS)}, a picture as {', '.join(PICTURES)}; got {options.out}"
        )
    found: dict[str, Any] = {"format": options.format or VIDEOS[suffix]}
    if options.prores_profile:
        found["prores_profile"] = options.prores_profile
    return found


def _size(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"([1-9]\d{1,4})[x:]([1-9]\d{1,4})", text)
    if found is None:
        raise OrderError(f"a size is WxH in pixels, e.g. 1280x720, got {text!r}")
    return int(found[1]), int(found[2])


def _references(options: argparse.Namespace, params: dict[str, Any], inputs: dict[str, Path]) -> None:
    references = []
    for i, given in enumerate(options.reference):
        tag, _, path = given.partition("=")
        if not re.fullmatch(r"[a-z][a-z0-9_]{2,15}", tag) or not path:
            raise OrderError(f"a reference is NAME=FILE, the name 3 to 16 small letters, got {given!r}")
        inputs[f"ref{i}"] = Path(path)
        references.append({"input": f"ref{i}", "tag": tag})
    if references:
        params["references"] = references
