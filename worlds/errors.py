"""What can be wrong with the files of a world. Messages are one line: the file, what is wrong, and the remedy."""

from __future__ import annotations


class WeightsError(ValueError):
    """A world cannot be loaded: the folder of whoever runs the server lacks something, or holds what does not fit."""


class CheckpointError(WeightsError):
    """A weights file cannot be used: it is damaged, holds more than weights, or is too large for this machine."""
