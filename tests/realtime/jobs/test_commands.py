"""What command lines mean, and orders done in this process."""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from worldstream.realtime.governance.provenance import read
from worldstream.realtime.jobs import commands, terminal
from worldstream.realtime.jobs.commands import Asked, OrderError, asked_of


def parsed(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    commands.add_parsers(parser.add_subparsers(dest="command"))
    return parser.parse_args(words)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    for name in ("a.png", "b.png", "v.mp4"):
        (tmp_path / name).write_bytes(b"x")
    return tmp_path


def test_a_clip(files: Path) -> None:
    words = ["generate", "@hero at dusk", "--image", str(files / "a.png"), "--camera", "pan left", "--seconds", "3",
             "--size", "720x1280", "--seed", "9", "--draft", "--reference", f"hero={files / 'b.png'}",
             "-o", "c.mp4"]  # fmt: skip
    assert asked_of(parsed(*words)) == Asked(
        "clip",
        {"prompt": "@hero at dusk", "width": 720, "height": 1280, "seed": 9, "seconds": 3.0, "draft": True,
         "audio": False, "camera": "pan left", "format": "mp4", "references": [{"input": "ref0", "tag": "hero"}]},
        {"first": files / "a.png", "ref0": files / "b.png"},
    )  # fmt: skip


def test_a_picture_by_the_name_of_the_file() -> None:
    found = asked_of(parsed("generate", "sea", "--size", "1024x1024", "--count", "2", "-o", "c.jpg"))
    assert found.kind == "still"
    assert (found.params["count"], found.params["format"], found.params["width"]) == (2, "jpeg", 1024)


def test_an_edit(files: Path) -> None:
    words = ["edit", str(files / "v.mp4"), "night", "--mask", str(files / "a.png"), "--keyframe",
             f"1.5={files / 'b.png'}", "--aspect", "9:16", "--format", "hdr10", "-o", "e.mp4"]  # fmt: skip
    found = asked_of(parsed(*words))
    assert found.kind == "edit"
    assert found.params == {"prompt": "night", "seed": 0, "format": "hdr10", "aspect": "9:16",
                            "keyframes": [{"input": "key0", "at_s": 1.5}]}  # fmt: skip
    assert set(found.inputs) == {"video", "mask", "key0"}


def test_larger_and_sounds(files: Path) -> None:
    assert asked_of(parsed("upscale", str(files / "a.png"), "-o", "b.png")).params == {"factor": 2, "format": "png"}
    video = asked_of(parsed("upscale", str(files / "v.mp4"), "--size", "3840x2160", "-o", "b.mp4"))
    assert (video.kind, video.params) == ("upscale_video", {"width": 3840, "height": 2160})
    assert asked_of(parsed("speak", "hello", "--voice", "Arjun", "-o", "b.wav")).params["format"] == "wav"
    assert asked_of(parsed("sound", "rain", "--loop", "-o", "b.ogg")).params["loop"] is True


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["generate", "-o", "c.mp4"], "a clip needs words"),
        (["generate", "-o", "c.png"], "a picture needs words"),
        (["generate", "sea", "--size", "big", "-o", "c.mp4"], "a size is WxH"),
        (["generate", "sea", "-o", "c.avi"], "a film is written as"),
        (["generate", "sea", "--image", "missing.png", "-o", "c.mp4"], "there is no file missing.png"),
        (["generate", "sea", "--reference", "X=a.png", "-o", "c.mp4"], "a reference is NAME=FILE"),
        (["edit", "v.mp4", "night", "--keyframe", "soon=a.png", "-o", "c.mp4"], "a keyframe is SECONDS=FILE"),
        (["upscale", "a.png", "--factor", "2", "--size", "9x9", "-o", "b.png"], "either --factor or --size"),
        (["speak", "hello", "-o", "c.mp4"], "a sound is written as"),
    ],
)
def test_orders_that_make_no_sense(words: list[str], said: str) -> None:
    with pytest.raises(OrderError, match=said):
        asked_of(parsed(*words))


def test_done_in_this_process(tmp_path: Path) -> None:
    Image.fromarray(np.full((24, 32, 3), 90, np.uint8)).save(tmp_path / "a.png")
    order = asked_of(parsed("upscale", str(tmp_path / "a.png"), "-o", str(tmp_path / "b.png")))
    names, facts = terminal.run_here(order, tmp_path / "b.png", tmp_path / "data", "", "auto")
    assert names == [tmp_path / "b.png"]
    with Image.open(tmp_path / "b.png") as made:
        assert made.size == (64, 48)
    assert facts["provenance"] == "signed"
    assert read(tmp_path / "b.png") is not None
    assert {path.name for path in tmp_path.iterdir()} == {"a.png", "b.png", "data"}


def test_a_job_that_fails_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"not a picture")
    order = asked_of(parsed("upscale", str(tmp_path / "a.png"), "-o", str(tmp_path / "b.png")))
    with pytest.raises(Exception, match="a"):
        terminal.run_here(order, tmp_path / "b.png", tmp_path / "data", "", "auto")
    assert {path.name for path in tmp_path.iterdir()} == {"a.png", "data"} or not (tmp_path / "b.png").exists()
    with pytest.raises(OrderError, match="there is no folder"):
        terminal.run_here(order, tmp_path / "no" / "b.png", tmp_path / "data", "", "auto")


def test_names_follow_what_was_made() -> None:
    names: Any = terminal._named
    assert names(Path("a.mp4"), [".mp4"]) == [Path("a.mp4")]
    assert names(Path("a.mp4"), [".zip"]) == [Path("a.zip")]
    assert names(Path("a.png"), [".png", ".png"]) == [Path("a-0.png"), Path("a-1.png")]
