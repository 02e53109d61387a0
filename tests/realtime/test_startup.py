"""The checks that come before anything heavy."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from worldstream.realtime.errors import DataFolderError, PortInUse
from worldstream.realtime.startup import check_data_folder, listen


def test_a_taken_port_is_one_line() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(PortInUse, match=f"127.0.0.1:{port}: Address already in use"):
            listen("127.0.0.1", port)


def test_a_data_folder_that_cannot_be_written(tmp_path: Path) -> None:
    check_data_folder(tmp_path / "new" / "folder")
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(DataFolderError, match="cannot be written"):
        check_data_folder(file / "below")
