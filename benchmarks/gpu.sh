#!/usr/bin/env bash
# Everything that waits for a GPU, most telling first; each step writes its JSON to OUT and may fail by itself.
#
#     benchmarks/gpu.sh OUT [--quick]
#
# --quick rehearses the same steps on a machine without one. PYTHON=… chooses the interpreter.
set -uo pipefail

cd "$(dirname "$0")/.."
out=${1:?usage: benchmarks/gpu.sh OUT [--quick]}
quick=${2:-}
python=${PYTHON:-.venv/bin/python}
export PYTHONPATH=$PWD/.links${PYTHONPATH:+:$PYTHONPATH}
mkdir -p "$out"

failed=0
step() {
    local name=$1
    shift
    echo "==> $name: $*"
    "$@" >"$out/$name.log" 2>&1 || { echo "==> $name failed, see $out/$name.log"; failed=1; }
    tail -3 "$out/$name.log"
}

step operators "$python" benchmarks/operators.py --json "$out/operators.json" $quick
step open_checkpoints "$python" benchmarks/open_checkpoints.py --json "$out/open_checkpoints.json" $quick
step engines "$python" benchmarks/engines.py --json "$out/engines.json" $quick
exit $failed
