"""The commands of the offline half, as far as the command line itself goes."""

from __future__ import annotations

from pathlib import Path

import pytest

from worldstream.realtime.cli import main


def test_keys_are_made_listed_and_revoked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = ["--data", str(tmp_path / "new")]
    assert main(["keys", "create", "--name", "studio", *data]) == 0
    assert capsys.readouterr().out.startswith("key_")
    assert main(["keys", "list", *data]) == 0
    assert "studio" in capsys.readouterr().out
    assert main(["keys", "revoke", "studio", *data]) == 0
    assert main(["keys", "revoke", "nobody", *data]) == 1
    assert capsys.readouterr().err.startswith("worldstream: ")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["sound", "rain", "-o", "a.xyz"], "a.xyz is none of them"),
        (["inspect", "nothing.png"], "nothing.png"),
        (["tasks", "list", "--server", "http://127.0.0.1:1"], "no server answers at http://127.0.0.1:1"),
    ],
)
def test_mistakes_are_one_line(arguments: list[str], text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 1
    error = capsys.readouterr().err
    assert text in error
    assert error.count("\n") == 1
