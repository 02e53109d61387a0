"""What an operator may choose by name when a world is loaded. Without torch: the command line reads it too."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

ENGINES = ("auto", "eager", "openvino", "cuda", "tensorrt")  # what runs the network
PRECISIONS = ("auto", "bf16", "fp8", "fp8-compute", "float32")  # of an open checkpoint's weights
DECODERS = ("auto", "taehv", "vae")  # of an open checkpoint's pictures


@dataclass(frozen=True, slots=True)
class OpenOptions:
    """How an open checkpoint is to be run; the defaults are its own."""

    width_px: int | None = None
    height_px: int | None = None
    window: int | None = None  # latent frames attended to
    precision: str = "auto"  # bf16 on a GPU, float32 on a CPU
    decoder: str = "auto"  # the small one where it is there
    device: str = "auto"
    engine: str = "auto"  # recorded kernels on a GPU; on a CPU OpenVINO or plain torch, what is quicker
    fused_commit: bool = False  # one pass fewer a block, for an action that is read one pass earlier
    loras: tuple[Path, ...] = ()  # files; words ask for them by their stem: `<lora:stem:0.8>`

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise ValueError(f"precision is one of {', '.join(PRECISIONS)}, got {self.precision!r}")
        if self.engine not in ENGINES:
            raise ValueError(f"open checkpoints run on the engines {', '.join(ENGINES)}, not {self.engine!r}")
        if self.decoder not in DECODERS:
            raise ValueError(f"the decoder is one of {', '.join(DECODERS)}, got {self.decoder!r}")
