"""Where the machine has no C++ compiler, `make test` fetches one as a wheel; the interpreter is a stand-in here."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PYTHON = '#!/bin/sh\ncase "$*" in *"import ziglang"*) exit "$MISSING" ;; *) echo "$*" ;; esac\n'


def run(tmp_path: Path, compiler: str | None, missing: bool) -> str:
    """What is installed, on a PATH with `compiler` and little else."""
    for name in ("scripts", ".venv/bin", "bin"):
        (tmp_path / name).mkdir(parents=True)
    shutil.copy(ROOT / "scripts" / "compiler.sh", tmp_path / "scripts")
    programs = {"bin/dirname": f'#!/bin/sh\nexec {shutil.which("dirname")} "$@"\n', ".venv/bin/python": PYTHON}
    if compiler:
        programs[f"bin/{compiler}"] = "#!/bin/sh\n"
    for name, text in programs.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    done = subprocess.run(
        ["/bin/sh", str(tmp_path / "scripts" / "compiler.sh")],
        env={"PATH": str(tmp_path / "bin"), "MISSING": str(int(missing)), "HOME": os.environ.get("HOME", "/")},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout


@pytest.mark.parametrize("compiler", ["g++", "clang++", "c++"])
def test_the_machines_own_compiler_is_enough(compiler: str, tmp_path: Path) -> None:
    assert run(tmp_path, compiler, missing=True) == ""


def test_zig_is_installed_once(tmp_path: Path) -> None:
    assert run(tmp_path / "before", None, missing=True).splitlines()[-1].endswith("--no-input ziglang==0.17.1")
    assert run(tmp_path / "after", None, missing=False) == ""
