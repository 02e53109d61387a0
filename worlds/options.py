"""What an operator may choose by name when a world is loaded. Without torch: the command line reads it too."""

from __future__ import annotations

ENGINES = ("auto", "eager", "openvino", "cuda", "tensorrt")  # what runs the network
PRECISIONS = ("auto", "bf16", "fp8", "fp8-compute", "float32")  # of an open checkpoint's weights
DECODERS = ("auto", "taehv", "vae")  # of an open checkpoint's pictures
