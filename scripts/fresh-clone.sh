#!/usr/bin/env bash
# What a newcomer gets: clone this checkout's HEAD, `make serve`, wait for the page. Prints how long that took.
# WAIT_S: how many seconds the first answer may take, set-up included (900).
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
wait_s=${WAIT_S:-900}
work=$(mktemp -d)
log=$work/serve.log
server=

finish() {
    if [[ -n $server ]]; then
        kill -TERM -- "-$server" 2>/dev/null || true
        wait "$server" 2>/dev/null || true
    fi
    rm -rf "$work"
}
trap finish EXIT

python=${PYTHON:-$root/.venv/bin/python}
port=$("$python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')

answers() { # the page is HTML and the world is described in JSON
    "$python" - "http://127.0.0.1:$port" <<'PY' 2>/dev/null
import json, sys, urllib.request

opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # loopback, whatever the proxy settings say
page = opener.open(sys.argv[1] + "/", timeout=5).read()
world = json.load(opener.open(sys.argv[1] + "/api/world", timeout=5))
assert b"<html" in page.lower() and world["protocol"] >= 1
print(f"fresh clone: {world['name']} {world['width']}x{world['height']}, engine {world['engine']}")
PY
}

echo "fresh clone: cloning $(git -C "$root" rev-parse --short HEAD) into $work"
git clone --quiet "$root" "$work/worldstream"
started=$SECONDS
set -m # the server gets a process group of its own, so that stopping it stops make's children too
make -C "$work/worldstream" serve ARGS="--host 127.0.0.1 --port $port --data $work/data" >"$log" 2>&1 </dev/null &
server=$!
set +m

shown=0
until answers; do
    lines=$(wc -l <"$log")
    tail -n "+$((shown + 1))" "$log" | head -n "$((lines - shown))" | sed 's/^/    /'
    shown=$lines
    if ! kill -0 "$server" 2>/dev/null; then
        echo "fresh clone: make serve ended by itself" >&2
        tail -n "+$((shown + 1))" "$log" >&2
        server=
        exit 1
    fi
    if ((SECONDS - started > wait_s)); then
        echo "fresh clone: no answer within $wait_s s; the last lines were:" >&2
        tail -n 30 "$log" >&2
        exit 1
    fi
    sleep 1
done
echo "fresh clone: from clone to page in $((SECONDS - started)) s"
