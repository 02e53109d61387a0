"""Serve the fake world and the Studio with jobs of tests: `python tests/realtime/serve_studio.py --port 8800`."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.realtime import studio_jobs
from tests.realtime.fake_world import FakeWorld
from worldstream.realtime.cli import _parser
from worldstream.realtime.config import from_environment, override
from worldstream.realtime.offline import Offline
from worldstream.realtime.serve import build_app, server_for
from worldstream.realtime.startup import listen

ROOT = Path(__file__).resolve().parents[2]


def main() -> None:
    os.environ["PYTHONPATH"] = f"{ROOT / '.links'}{os.pathsep}{ROOT}"  # job processes find the jobs of the tests
    options = vars(_parser().parse_args(["serve", *sys.argv[1:]]))
    del options["command"]
    options["data"] = options["data"] or Path(tempfile.mkdtemp(prefix="worldstream-"))
    config = override(from_environment(), options)
    logging.basicConfig(level="INFO", format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    listener = listen(config.host, config.port)
    finder = f"{studio_jobs.__name__}:job_of"
    offline = Offline(config, config.port, time.time, studio_jobs.KINDS, finder)
    server_for(build_app(config, FakeWorld(steps=2), offline), config).run(sockets=[listener])


if __name__ == "__main__":
    main()
