"""The checks that come before anything heavy."""

from __future__ import annotations

import socket
import subprocess
import sys
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


HOLES = """
import sys, numpy as np
from worldstream.realtime.startup import steady_heap
if sys.argv[1] == "steady":
    assert steady_heap()
np.ones(2_000_000)  # made and freed: from here on glibc keeps blocks of this size in its arenas
large, small = [], []
for i in range(150):
    large.append(np.ones(165_000))  # 1.3 MB, between small ones that stay
    small.append(np.ones(1_000))
large = large[::10]
print(int(open("/proc/self/statm").read().split()[1]) * 4096 // 2**20)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's allocator, Linux's /proc")
def test_freed_snapshots_are_given_back() -> None:
    """In processes of their own: 135 blocks of 1.3 MB freed from between small ones."""

    def resident_mib(how: str) -> int:
        done = subprocess.run([sys.executable, "-c", HOLES, how], capture_output=True, text=True, check=True)
        return int(done.stdout)

    assert resident_mib("steady") < resident_mib("plain") - 100
