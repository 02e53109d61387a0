#!/bin/sh
# Install one distribution package if we may: as root, or through sudo where it asks for no password.
# Usage: scripts/apt-install.sh PACKAGE     exit 0: installed; 1: could not, and the reason is on stderr
set -eu

package=$1
command -v apt-get >/dev/null 2>&1 || { echo "no apt-get on this machine; install $package by hand" >&2; exit 1; }
if [ "$(id -u)" = 0 ]; then
    as_root=""
elif command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then
    as_root="sudo -n"
else
    echo "not root, and sudo would ask for a password; run: sudo apt-get install $package" >&2
    exit 1
fi

install_package() {
    # shellcheck disable=SC2086  # $as_root is one word, two words or none
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$package"
}

log=$(mktemp)
trap 'rm -f "$log"' EXIT
# A fresh container has no package lists, so a failed install is tried once more after an update.
# shellcheck disable=SC2086
if ! install_package </dev/null >"$log" 2>&1 &&
    ! { $as_root apt-get update -q && install_package; } </dev/null >>"$log" 2>&1; then
    tail -n 15 "$log" >&2
    echo "apt-get could not install $package" >&2
    exit 1
fi
