"""Our host code on torch's real CUDA code path, without a GPU: a stand-in for its libraries counts and refuses.

    python benchmarks/null_gpu/run.py PYTHON                         counts of every planned case
    python benchmarks/null_gpu/run.py PYTHON SCRIPT [ARGUMENT ...]   any program of ours
    python benchmarks/null_gpu/run.py PYTHON -m pytest -q …          or module

PYTHON has a CUDA build of torch (README.md). What is compared with a twin passes here unless NULL_GPU_COMPARE is set:
nothing is computed, so nothing can be right. Nothing is written to kernels/verified.json. Lines of what CUDA would not
have allowed end the output, and the exit status is 3 where there are any.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
# in the order in which they need each other
LIBRARIES = ("libcuda.so.1", "libcudart.so.13", "libcublasLt.so.13", "libcublas.so.13", "libcudnn.so.9")


def main() -> int:
    if len(sys.argv) < 2:
        print(__doc__)
        return 2
    python, *program = sys.argv[1:]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "worldstream" / "null_gpu"
    subprocess.run([HERE / "build.sh", python, folder], check=True)
    environment = dict(os.environ)
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT / ".links"), os.environ.get("PYTHONPATH")]))
    environment["LD_PRELOAD"] = os.pathsep.join(str(folder / name) for name in LIBRARIES)
    return subprocess.run([python, HERE / "inside.py", *program], cwd=ROOT, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
