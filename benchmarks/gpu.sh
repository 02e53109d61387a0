#!/usr/bin/env bash
# Everything that waits for a GPU, most telling first; each step writes its JSON to OUT, and what it prints to OUT/log,
# may fail by itself, and is stopped when its time is over: under 10 minutes in all, with --quick under 5. Six files at
# most: a borrowed machine may give back few.
#
#     benchmarks/gpu.sh OUT [--quick]
#
# Without a GPU --quick rehearses the same steps. PYTHON=… chooses the interpreter.
set -uo pipefail

cd "$(dirname "$0")/.."
out=${1:?usage: benchmarks/gpu.sh OUT [--quick]}
quick=${2:-}
python=${PYTHON:-.venv/bin/python}
export PYTHONPATH=$PWD/.links${PYTHONPATH:+:$PYTHONPATH} PYTHONUNBUFFERED=1
mkdir -p "$out"
: >"$out/log"

gpu=
"$python" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())' && gpu=1

# Not by the settings of pyproject.toml: a GPU machine has another edition of pytest, and not all of its plugins.
tests=("$python" -m pytest -q -c /dev/null --rootdir=. --import-mode=importlib)

failed=0
step() {
    local name=$1 seconds=$2
    shift 2
    echo "==> $name, at most $seconds s: $*"
    echo "==> $name: $*" >>"$out/log"
    timeout "$seconds" "$@" 2>&1 | tee -a "$out/log" | tail -3 || { echo "==> $name failed, see $out/log"; failed=1; }
}

# What is stopped early has still written the figures of its finished cases. Engines come last: they need an edition of
# TensorRT that knows this GPU.
if [ -z "$gpu" ]; then
    step operators 200 "$python" benchmarks/operators.py --json "$out/operators.json" $quick
    step open_checkpoints 200 "$python" benchmarks/open_checkpoints.py --json "$out/open_checkpoints.json" $quick
    step engines 600 "$python" benchmarks/engines.py --json "$out/engines.json" $quick
elif [ -n "$quick" ]; then
    step open_checkpoints 160 "$python" benchmarks/open_checkpoints.py --json "$out/open_checkpoints.json" --quick --seconds 120
    step operators 90 "$python" benchmarks/operators.py --json "$out/operators.json" --size 832x480
    step throughput 40 "$python" benchmarks/throughput.py --json "$out/throughput.json" --quick --embedded
else
    step steps 40 "${tests[@]}" -k "not openvino" tests/worlds/wan/test_steps.py tests/worlds/test_recording.py tests/kernels/test_on_gpu.py
    step open_checkpoints 290 "$python" benchmarks/open_checkpoints.py --json "$out/open_checkpoints.json" --seconds 225
    step operators 100 "$python" benchmarks/operators.py --json "$out/operators.json"
    step throughput 45 "$python" benchmarks/throughput.py --json "$out/throughput.json" --quick --embedded
    if command -v compute-sanitizer >/dev/null; then
        step memcheck 30 compute-sanitizer --error-exitcode 1 --tool memcheck "$python" benchmarks/operators.py --check
        step racecheck 30 compute-sanitizer --error-exitcode 1 --tool racecheck "$python" benchmarks/operators.py --check
    else
        echo "==> memcheck and racecheck: compute-sanitizer is not here"
    fi
    step engines 45 "$python" benchmarks/engines.py --json "$out/engines.json" --only 832×480
fi
exit $failed
