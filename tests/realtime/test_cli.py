"""The command line in processes of its own: one-line errors, exit codes, and a server that starts and stops."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from worldstream.realtime import cli
from worldstream.realtime.config import ServerConfig, override, version
from worldstream.realtime.errors import StartupError
from worldstream.worlds import library
from worldstream.worlds.options import OpenOptions

ROOT = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-m", "worldstream.realtime.cli"]


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments], capture_output=True, text=True, timeout=60, env={**os.environ, **environment}, cwd="/"
    )


def complaint(result: subprocess.CompletedProcess[str]) -> str:
    """The one line on stderr of a command that failed."""
    assert result.returncode == 1, result.stderr
    return one_line(result.stderr)


def one_line(stderr: str) -> str:
    assert "Traceback" not in stderr
    (line,) = stderr.strip().splitlines()
    assert line.startswith("worldstream: ")
    return line


Refused = Callable[..., str]


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Refused:
    """The complaint of a command that fails in this process, which spares it seconds of imports."""
    monkeypatch.setattr(os, "environ", dict(os.environ))

    def run_here(*arguments: str) -> str:
        capfd.readouterr()
        assert cli.main(arguments) == 1
        return one_line(capfd.readouterr().err)

    return run_here


def test_version_and_help() -> None:
    assert run("--version").stdout == f"worldstream {version()}\n"
    assert "serve" in run("--help").stdout


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from worldstream.realtime import cli; cli._parser();"
        "print([name for name in ('torch', 'av', 'cv2', 'aiortc', 'fastapi') if name in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True, cwd="/").strip() == "[]"


def test_a_taken_port_fails_at_once(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        line = complaint(run("serve", "--port", port, "--data", str(tmp_path)))
    assert f"cannot listen on 127.0.0.1:{port}" in line
    assert "--port" in line


def test_a_data_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "cannot be written" in complaint(run("serve", "--port", "0", "--data", str(tmp_path / "file" / "x")))


@pytest.mark.parametrize(("name", "value"), [("WORLDSTREAM_PORT", "x"), ("WORLDSTREAM_STEPS", "0")])
def test_bad_environment(name: str, value: str) -> None:
    complaint(run("serve", **{name: value}))


def test_wrong_usage_is_2() -> None:
    assert run("fly").returncode == 2
    assert run("serve", "--port", "x").returncode == 2


def test_an_unknown_world_is_one_line(tmp_path: Path) -> None:
    pytest.importorskip("worldstream.worlds.weights")
    line = complaint(run("serve", "--world", "no-such-world", "--port", "0", "--data", str(tmp_path)))
    assert "no-such-world" in line


def test_errors_inside_main_are_caught(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def fail(options: object) -> int:
        raise StartupError("two\nlines")

    monkeypatch.setattr(cli, "_serve", fail)
    assert cli.main(["serve"]) == 1
    assert capsys.readouterr().err == "worldstream: two lines Change the setting that the message names.\n"


def test_a_film_and_its_replay_are_the_same_file(tmp_path: Path, refused: Refused) -> None:
    """Two processes, the shipped world, the same bytes; what was not understood is said."""
    first, log, again = tmp_path / "film.mp4", tmp_path / "film.jsonl", tmp_path / "again.mp4"
    common = ("--engine", "eager", "--data", str(tmp_path))
    shot = run(
        "film", "a forest at dusk", "--camera", "pan left, then a dragon", "--seconds", "0.2", "--seed", "5",
        "--log", str(log), "-o", str(first), *common,
    )  # fmt: skip
    assert shot.returncode == 0, shot.stderr
    assert "no camera move in 'a dragon'" in shot.stderr
    assert f"wrote 5 frames to {first}" in shot.stdout
    played = run("replay", str(log), "-o", str(again), *common)
    assert played.returncode == 0, played.stderr
    assert again.read_bytes() == first.read_bytes()
    log.write_text(log.read_text().replace('"sha256": "', '"sha256": "0'))
    assert "restore those weights" in refused("replay", str(log), "-o", str(again), *common)
    log.write_text("hello")
    assert "its first line is not a header" in refused("replay", str(log), "-o", str(again), *common)
    assert "[00:09] is not before the end" in refused(
        "film", "x", "--camera", "[00:09] pan left", "--seconds", "1", "-o", str(again), *common
    )


def test_a_film_needs_words_or_a_picture(tmp_path: Path, refused: Refused) -> None:
    out = str(tmp_path / "film.mp4")
    assert "needs a prompt, or a picture" in refused("film", "-o", out)
    broken = tmp_path / "holiday.png"
    broken.write_bytes(b"not a picture")
    said = refused("film", "--image", str(broken), "-o", out, "--engine", "eager", "--data", str(tmp_path))
    assert "holiday.png" in said
    assert "Choose a PNG, JPEG or WebP" in said
    missing = str(tmp_path / "none.png")
    assert "none.png" in refused("film", "--image", missing, "-o", out, "--engine", "eager", "--data", str(tmp_path))


def test_flags_of_an_open_checkpoint_reach_it(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    monkeypatch.setattr(library, "load_any_world", lambda *given: asked.extend(given))
    plain = ServerConfig(data=Path("worlds"))
    cli.load_world(plain)
    assert asked == [None, Path("worlds"), "auto", None, OpenOptions()]
    asked.clear()
    given = {"world": "mine", "size": "832x480", "window": 6, "precision": "fp8", "decoder": "vae", "lora": [Path("a")]}
    cli.load_world(override(plain, given))
    assert asked[0] == "mine"
    assert asked[-1] == OpenOptions(832, 480, 6, "fp8", "vae", loras=(Path("a"),))


def test_threads_leave_a_core_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", {"MKL_NUM_THREADS": "2"})
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3}, raising=False)
    cli.calm_threads()
    assert os.environ["OMP_WAIT_POLICY"] == "PASSIVE"
    assert os.environ["OMP_NUM_THREADS"] == "3"
    assert os.environ["MKL_NUM_THREADS"] == "2"  # what the user set stays


def test_a_server_process_starts_serves_and_stops(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    script = str(ROOT / "tests" / "realtime" / "serve_fake.py")
    process = subprocess.Popen([sys.executable, script, "--port", str(port), "--data", str(tmp_path)])
    try:
        deadline_s = time.monotonic() + 30.0
        while time.monotonic() < deadline_s:
            try:
                assert httpx.get(f"http://127.0.0.1:{port}/healthz").json() == {"ok": True}
                break
            except httpx.TransportError:
                time.sleep(0.1)
        else:
            pytest.fail("the server did not start within 30 s")
        process.send_signal(signal.SIGINT)
        assert process.wait(10.0) in (0, 130, -signal.SIGINT)
    finally:
        process.kill()
        process.wait()
