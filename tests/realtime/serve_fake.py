"""Serve the fake world, for whoever works on the page: `python tests/realtime/serve_fake.py --port 8800`.

Takes the flags of `worldstream serve`; WORLDSTREAM_FAKE_DRAW_MS makes each frame take that long,
WORLDSTREAM_FAKE_FPS draws other than 24 a second.
"""

from __future__ import annotations

import logging
import os
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.realtime.fake_world import FakeWorld
from worldstream.realtime.cli import _parser
from worldstream.realtime.config import from_environment, override
from worldstream.realtime.serve import serve
from worldstream.realtime.startup import listen


def main() -> None:
    options = vars(_parser().parse_args(["serve", *sys.argv[1:]]))
    del options["command"]
    options["data"] = options["data"] or Path(tempfile.mkdtemp(prefix="worldstream-"))
    config = override(from_environment(), options)
    logging.basicConfig(level=config.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    draw_s = float(os.environ.get("WORLDSTREAM_FAKE_DRAW_MS", "0")) / 1e3
    world = FakeWorld(
        steps=config.steps or 2, draw_s=draw_s / 2, fps=float(os.environ.get("WORLDSTREAM_FAKE_FPS", "24"))
    )
    serve(config, world, listen(config.host, config.port))


if __name__ == "__main__":
    main()
