#!/bin/sh
# Make sure that the browser tests find a Chromium or Chrome. Never fails: without one the browser tests say so.
# It comes from the distribution, which keeps it patched and brings the libraries it needs.
set -eu

cd "$(dirname "$0")/.."
for name in chromium chromium-browser google-chrome google-chrome-stable; do
    if command -v "$name" >/dev/null 2>&1; then
        echo "setup: browser is $(command -v "$name")"
        exit 0
    fi
done
started=$(date +%s)
echo "setup: no Chromium or Chrome found; installing the distribution's chromium"
if scripts/apt-install.sh chromium; then
    echo "setup: chromium installed ($(($(date +%s) - started)) s)"
else
    echo "setup: no browser: the browser tests will fail until Chromium or Chrome is installed" >&2
fi
