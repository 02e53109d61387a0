"""The CUDA twin draws what the CPU draws. CUDA's simulator runs the kernels in plain Python, so no GPU is needed."""

import os
import subprocess
import sys

TWIN = """
import numpy as np
from worldstream.worlds.procedural import cuda, renderer
from worldstream.worlds.procedural.attributes import THEMES, Attributes
from worldstream.worlds.procedural.scene import scene_vector
worlds = [("ocean cliffs", 1), ("neon city", 5), ("dungeon", 2)]
attributes = [Attributes(THEMES.index(name), time, 0, 0, 0.5, 0.5, 0.5) for name, time in worlds]
vectors = np.stack([scene_vector(a, 4) for a in attributes])
cameras = np.array([(x, renderer.eye_height(v, x, 2.0), 2.0, 0.7, -0.05) for x, v in zip((3.0, 4.0, 5.0), vectors)])
for smooth, count in ((True, 3), (False, 1)):
    arguments = vectors[:count], cameras[:count], 16, 10, smooth
    (rgb, depth), (twin_rgb, twin_depth) = renderer.render(*arguments), cuda.render(*arguments)
    assert twin_rgb.dtype == rgb.dtype and twin_depth.dtype == depth.dtype
    close = np.abs(rgb.astype(int) - twin_rgb) <= 2
    assert close.mean() >= 0.99, close.mean()
    assert np.isclose(depth, twin_depth, rtol=1e-3).mean() >= 0.99
    assert rgb.std() > 5
print("equal")
"""


def test_the_twin_draws_the_same_pictures() -> None:
    """At least 99 % of all channels within 2/255, and of all depths within 0.1 %."""
    environment = {**os.environ, "NUMBA_ENABLE_CUDASIM": "1"}
    done = subprocess.run([sys.executable, "-c", TWIN], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "equal"
