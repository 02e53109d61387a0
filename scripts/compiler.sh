#!/bin/sh
# A C++ compiler for the tests that execute GPU kernels on the CPU: the machine's, else zig's, a wheel of 100 MB.
set -eu

ziglang_version=0.17.1

cd "$(dirname "$0")/.."
for name in ${CXX:-} g++ clang++ c++; do
    if command -v "$name" >/dev/null 2>&1; then exit 0; fi
done
if .venv/bin/python -c 'import ziglang' 2>/dev/null; then exit 0; fi
echo "compiler: no g++ or clang++ here; installing ziglang $ziglang_version into .venv …"
exec .venv/bin/python -m pip install --quiet --quiet --disable-pip-version-check --no-input "ziglang==$ziglang_version"
