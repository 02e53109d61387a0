#!/usr/bin/env bash
# Everything that waits for a GPU, most telling first; each step writes its JSON to OUT, and what it prints to OUT/log,
# may fail by itself, and is stopped when its time is over: under 10 minutes in all, with --quick under 5. Six files at
# most: a borrowed machine may give back few.
#
#     benchmarks/gpu.sh OUT [--quick]
#
# Without a GPU --quick rehearses the same steps. PYTHON=… chooses the interpreter. Packages that the machine lacks may
# lie in wheels/, which git ignores: they are unpacked beside the results and found there. Attention in eight bits needs
#
#     pip download --no-deps --only-binary :all: --python-version 3.12 -d wheels nvidia-cudnn-frontend==1.24.1
#
# (3.4 MB, for the machine's own Python); torch brings cuDNN itself. Without it those cases are left out.
set -uo pipefail

cd "$(dirname "$0")/.."
out=${1:?usage: benchmarks/gpu.sh OUT [--quick]}
quick=${2:-}
python=${PYTHON:-.venv/bin/python}
export PYTHONPATH=$PWD/.links${PYTHONPATH:+:$PYTHONPATH} PYTHONUNBUFFERED=1
mkdir -p "$out"
kept=$(mktemp -d) last=$kept/last
trap 'rm -rf "$kept"' EXIT
: >"$out/log" # one file for all: few come back from a borrowed machine
if compgen -G "wheels/*.whl" >/dev/null; then
    for wheel in wheels/*.whl; do "$python" -m zipfile -e "$wheel" "$kept/packages" || echo "==> $wheel cannot be unpacked"; done
    export PYTHONPATH=$PYTHONPATH:$kept/packages
fi

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
    timeout "$seconds" "$@" 2>&1 | tee -a "$out/log" >"$last"
    local status=$?
    [ $status = 0 ] || { echo "==> $name failed, see $out/log"; failed=1; }
    tail -3 "$last"
    return $status
}

# In a process of its own: a kernel that goes wrong takes the GPU from the process that runs it.
no_eight=--no-fp8-attention
eight_attention() {
    step attention "$1" "${tests[@]}" -m gpu tests/worlds/wan/test_cudnn_attention.py || return 0
    if grep -q skipped "$last"; then echo "==> no attention in eight bits"; else no_eight=; fi
}

# What is stopped early has still written the figures of its finished cases. Engines come last: they need an edition of
# TensorRT that knows this GPU.
if [ -z "$gpu" ]; then
    step operators 200 "$python" benchmarks/operators.py --json "$out/operators.json" $quick
    step open_checkpoints 200 "$python" benchmarks/open_checkpoints.py --json "$out/open_checkpoints.json" $quick
    step engines 600 "$python" benchmarks/engines.py --json "$out/engines.json" $quick
elif [ -n "$quick" ]; then
    eight_attention 40
    step open_checkpoints 130 "$python" benchmarks/open_checkpoints.py --json "$out/open_checkpoints.json" --quick --seconds 95 $no_eight
    step operators 90 "$python" benchmarks/operators.py --json "$out/operators.json" --size 832x480
    step throughput 40 "$python" benchmarks/throughput.py --json "$out/throughput.json" --quick --embedded
else
    step steps 40 "${tests[@]}" -k "not openvino" tests/worlds/wan/test_steps.py tests/worlds/test_recording.py tests/kernels/test_on_gpu.py
    eight_attention 50
    step open_checkpoints 280 "$python" benchmarks/open_checkpoints.py --json "$out/open_checkpoints.json" --seconds 225 $no_eight
    step operators 100 "$python" benchmarks/operators.py --json "$out/operators.json"
    step throughput 45 "$python" benchmarks/throughput.py --json "$out/throughput.json" --quick --embedded
    if command -v compute-sanitizer >/dev/null; then
        step memcheck 30 compute-sanitizer --error-exitcode 1 --tool memcheck "$python" benchmarks/operators.py --check
        step racecheck 30 compute-sanitizer --error-exitcode 1 --tool racecheck "$python" benchmarks/operators.py --check
    else
        echo "==> memcheck and racecheck: compute-sanitizer is not here"
    fi
    step engines 20 "$python" benchmarks/engines.py --json "$out/engines.json" --only 832×480
fi
exit $failed
