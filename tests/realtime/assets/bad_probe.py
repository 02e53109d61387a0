"""Stands for a decoder with holes: it crashes on files named crash, hangs on files named hang."""

import json
import os
import signal
import sys
import time
from pathlib import Path

for line in sys.stdin:
    name = Path(json.loads(line)["path"]).name
    if name == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if name == "hang":
        time.sleep(3600)
    print(json.dumps({"media_type": "image/png", "width_px": 4, "height_px": 3, "seconds": 0.0}), flush=True)
