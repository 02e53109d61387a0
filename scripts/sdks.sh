#!/bin/sh
# Put an older official SDK, which cannot lie in .venv beside the newest, into a folder of its own for the tests.
set -eu

cd "$(dirname "$0")/.."
version=3.0.0
place=.venv/sdks/runwayml-$version
[ -d "$place/runwayml" ] && exit 0
echo "setup: runwayml $version for the tests"
.venv/bin/python -m pip install --quiet --quiet --disable-pip-version-check --no-input --no-deps \
    --target "$place" "runwayml==$version"
