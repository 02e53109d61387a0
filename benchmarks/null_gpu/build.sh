#!/usr/bin/env bash
# The stand-in's libraries, from CUDA's headers in the packages of one Python: build.sh PYTHON FOLDER
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
python=${1:?usage: build.sh PYTHON FOLDER}
folder=${2:?usage: build.sh PYTHON FOLDER}
out=$(mktemp -d) # others may be running from the folder
trap 'rm -rf "$out"' EXIT
nvidia=$("$python" -c 'import nvidia; print(list(nvidia.__path__)[0])')
torch=$("$python" -c 'import importlib.util as i; print(i.find_spec("torch").submodule_search_locations[0])')/lib
mkdir -p "$out/crt" "$folder"

# two headers that CUDA's own include, and that come in no package that torch asks for: only decorations of functions
cat >"$out/crt/host_defines.h" <<'HEADER'
#pragma once
#define __host__
#define __device__
#define __align__(n) __attribute__((aligned(n)))
#define __builtin_align__(n) __align__(n)
#define __device_builtin__
#define __device_builtin_texture_type__
#define __device_builtin_surface_type__
#define __cudart_builtin__
#define __forceinline__ __inline__ __attribute__((always_inline))
#define __specialization_static static
#define CUDARTAPI
#define CUDARTAPI_CDECL
#define CUDACB
HEADER
cp "$out/crt/host_defines.h" "$out/crt/host_config.h"

# A library of some sources, and one line of absent.h for every other name that torch's libraries ask it for.
library() {
    local name=$1 pattern=$2
    shift 2
    printf '%s { global: %s; local: *; };\n' "$name" "$pattern" >"$out/${name%%.*}.map"
    local flags=(-O1 -g -std=gnu17 -Wall -Wextra -fPIC -shared -fvisibility=hidden "-Wl,-soname,$name" "-Wl,--version-script=$out/${name%%.*}.map"
        "-Wl,-rpath,\$ORIGIN" -I"$here" -I"$out" -I"$nvidia/cu13/include" -I"$nvidia/cudnn/include" -D__CUDA_FP16_H__ -D__CUDA_BF16_H__)
    echo '#include "absent.h"' >"$out/${name%%.*}.c"
    gcc "${flags[@]}" -o "$out/$name" "$@" -lpthread -ldl
    comm -23 <(asked "$name") <(nm -D --defined-only "$out/$name" | awk '{ sub("@.*", "", $3); print $3 }' | sort -u) |
        sed 's/.*/ABSENT(&)/' >>"$out/${name%%.*}.c"
    gcc "${flags[@]}" -o "$out/$name" "$@" "$out/${name%%.*}.c" -lpthread -ldl
}

# The names that torch's libraries take from a library of this name; from the driver they do not say where from.
asked() {
    local from="@$1"
    [ "$1" = libcuda.so.1 ] && from=
    nm -D --undefined-only "$torch"/*.so | awk -v from="$from" '$1 == "U" && (from == "" ? $2 ~ /^cu[A-EG-Z][a-z]/ && $2 !~ /@/ : index($2, from)) { sub("@.*", "", $2); print $2 }' | sort -u
}

cd "$here"
library libcudart.so.13 'cuda*; __cuda*; null_*' runtime.c memory.c streams.c
library libcuda.so.1 'cu*' driver.c -L"$out" -l:libcudart.so.13
library libcublasLt.so.13 'cublasLt*' cublas.c -L"$out" -l:libcudart.so.13
library libcublas.so.13 'cublas*' cublas.c -L"$out" -l:libcudart.so.13
library libcudnn.so.9 'cudnn*' cudnn.c -L"$out" -l:libcudart.so.13
mv "$out"/*.so.* "$folder"
