"""worldstream: an open real-time world-model server.

The sources live in the repository's root folders (realtime/, worlds/, avatars/, kernels/, clients/); the
links beside this file give them their import name.
"""

from pathlib import Path

__version__ = "0.1.0"

_here = Path(__file__).parent
if (_here / "worlds").is_file():  # a checkout without symlinks: look in the repository root
    __path__.append(str(_here.parents[1]))
