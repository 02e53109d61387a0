#!/bin/sh
# Make .venv hold worldstream with the given extras, once per state of pyproject.toml.
# Usage: scripts/setup.sh server[,test,…]     PYTHON=… chooses the interpreter that .venv is made from
set -eu

extras=$1
# Asked for by its exact version first, so that an index which offers a CPU-only build of it is taken by its word.
torch_version=2.13.0

cd "$(dirname "$0")/.."
fingerprint=$(cat pyproject.toml scripts/setup.sh | cksum | tr ' ' '-')

# Succeeds when some earlier set-up of this same pyproject.toml already held all wanted extras.
is_ready() {
    for stamp in .venv/.ready-*; do
        [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$fingerprint" ] || continue
        missing=0
        for extra in $(echo "$extras" | tr ',' ' '); do
            case ",${stamp#.venv/.ready-}," in *",$extra,"*) ;; *) missing=1 ;; esac
        done
        [ "$missing" = 1 ] || return 0
    done
    return 1
}

# Runs "$@" under a title and prints how long it took; on failure the command's own words have been printed.
step() {
    title=$1
    shift
    step_started=$(date +%s)
    echo "setup: $title …"
    "$@" || { echo "setup: failed: $title" >&2; exit 1; }
    echo "setup: $title: done ($(($(date +%s) - step_started)) s)"
}

find_python() {
    for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11}; do
        if "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; then
            command -v "$candidate"
            return 0
        fi
    done
    echo "setup: Python 3.11, 3.12 or 3.13 is needed; ${PYTHON:-python3} is" \
        "$(${PYTHON:-python3} --version 2>&1 || true)." >&2
    echo "setup: install one of them and run: make PYTHON=/path/to/python3.12 …" >&2
    return 1
}

make_venv() {
    # Debian and Ubuntu keep venv's own installer in a package of its own.
    if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        package=$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
        echo "setup: this Python cannot make virtual environments; it needs the package $package"
        scripts/apt-install.sh "$package" || return 1
    fi
    "$python" -m venv --clear .venv
}

pip_install() { # quiet twice: errors only, not each index's small talk
    .venv/bin/python -m pip install --quiet --quiet --disable-pip-version-check --no-input "$@"
}

is_ready && exit 0
started=$(date +%s)
if ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
    python=$(find_python)
    step "virtual environment .venv from $("$python" --version 2>&1)" make_venv
fi
case ",$extras," in *,server,* | *,train,*)
    # With an NVIDIA GPU the range in pyproject.toml decides: the newest default build, which brings CUDA.
    if ! command -v nvidia-smi >/dev/null 2>&1 || ! nvidia-smi -L >/dev/null 2>&1; then
        step "torch $torch_version, the largest download" pip_install "torch==$torch_version"
    fi
    ;;
esac
step "worldstream[$extras] and what it needs" pip_install --editable ".[$extras]"
echo "$fingerprint" >".venv/.ready-$extras"
echo "setup: ready in $(($(date +%s) - started)) s"
