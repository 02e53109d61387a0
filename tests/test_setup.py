"""The set-up script on machines of every kind, played by stand-ins: nothing is installed here."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# Stands in for the interpreter: it makes an environment whose python is a copy of itself, and logs what pip is asked.
PYTHON = """#!/bin/sh
case "$*" in
*sys.exit*) exit ${BAD_VERSION:-0} ;;
--version) echo "Python 3.11.2" ;;
*ensurepip*) test -f "$LOG.has-venv" ;;
*print*) echo python3.11-venv ;;
"-m venv"*) mkdir -p .venv/bin && cp "$0" .venv/bin/python ;;
"-m pip --version") ;;
"-m pip install"*) echo "$*" >>"$LOG" ;;
esac
"""
APT = '#!/bin/sh\necho "apt-get $*" >>"$LOG"; touch "$LOG.has-venv"\n'


class Machine:
    """A checkout and a PATH whose programs are stand-ins; `log` is what they were asked to install."""

    def __init__(self, home: Path) -> None:
        self.checkout, self.bin, self.log_file = home / "checkout", home / "bin", home / "log"
        self.bin.mkdir()
        shutil.copytree(ROOT / "scripts", self.checkout / "scripts")
        shutil.copy(ROOT / "pyproject.toml", self.checkout)
        self.program("python3", PYTHON)
        self.program("sudo", "#!/bin/sh\nexit 1\n")
        self.program("nvidia-smi", "#!/bin/sh\nexit 9\n")
        self.program("apt-get", APT)
        self.program("id", "#!/bin/sh\necho 0\n")
        (home / "log.has-venv").touch()

    def program(self, name: str, text: str) -> None:
        (self.bin / name).write_text(text)
        (self.bin / name).chmod(0o755)

    def setup(self, extras: str, **env: str) -> subprocess.CompletedProcess[str]:
        path = f"{self.bin}:{os.environ['PATH']}"
        return subprocess.run(
            [self.checkout / "scripts" / "setup.sh", extras],
            env={"PATH": path, "LOG": str(self.log_file), "PYTHON": "python3", **env},
            capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip

    def log(self) -> list[str]:
        """The lines since the last call."""
        lines = self.log_file.read_text().splitlines() if self.log_file.exists() else []
        self.log_file.unlink(missing_ok=True)
        return lines


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_first_start_installs_torch_first_and_prints_each_step(machine: Machine) -> None:
    done = machine.setup("server")
    assert done.returncode == 0, done.stderr
    torch, rest = machine.log()
    assert torch.split()[-1].startswith("torch==")
    assert rest.endswith("--editable .[server]")
    assert done.stdout.count("done (") == 3  # environment, torch, the rest
    assert "setup: ready in" in done.stdout


def test_second_start_does_nothing(machine: Machine) -> None:
    machine.setup("server,test")
    machine.log()
    for extras in ("server,test", "server", "test"):
        again = machine.setup(extras)
        assert (again.returncode, again.stdout, machine.log()) == (0, "", [])


def test_other_extras_or_another_pyproject_set_up_again(machine: Machine) -> None:
    machine.setup("server")
    machine.log()
    machine.setup("server,test")
    assert machine.log()[-1].endswith(".[server,test]")
    with (machine.checkout / "pyproject.toml").open("a") as file:
        file.write("# changed\n")
    machine.setup("server")
    assert machine.log()[-1].endswith(".[server]")


def test_with_an_nvidia_gpu_the_range_decides(machine: Machine) -> None:
    machine.program("nvidia-smi", "#!/bin/sh\nexit 0\n")
    machine.setup("server")
    assert not any("torch==" in line for line in machine.log())


def test_unsuitable_python_is_said_plainly(machine: Machine) -> None:
    done = machine.setup("server", BAD_VERSION="1")
    assert done.returncode == 1
    assert "Python 3.11, 3.12 or 3.13 is needed; python3 is Python 3.11.2" in done.stderr


def test_root_gets_the_missing_venv_package(machine: Machine) -> None:
    Path(f"{machine.log_file}.has-venv").unlink()
    done = machine.setup("server")
    assert done.returncode == 0, done.stderr
    assert machine.log()[0] == "apt-get install -y -q --no-install-recommends python3.11-venv"


def test_others_are_told_which_package_is_missing(machine: Machine) -> None:
    Path(f"{machine.log_file}.has-venv").unlink()
    machine.program("id", "#!/bin/sh\necho 1000\n")
    done = machine.setup("server")
    assert done.returncode == 1
    assert "sudo apt-get install python3.11-venv" in done.stderr
    assert machine.log() == []


def test_a_failed_install_is_tried_again_next_time(machine: Machine) -> None:
    machine.program("python3", PYTHON.replace('"-m pip install"*)', '"-m pip install"*) test -z "$FAIL" || exit 1;'))
    failed = machine.setup("server", FAIL="1")
    assert failed.returncode == 1
    assert "setup: failed: torch" in failed.stderr
    assert machine.setup("server").returncode == 0
    assert len(machine.log()) == 2
