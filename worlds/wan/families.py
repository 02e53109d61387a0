"""The checkpoints that can be served, by name: their shape, their file as published, and what else they need.

Self-Forcing, Causal-Forcing and LongLive have the same keys in the same kind of file; so have the two image-to-video
models. Their names then come from the person who adds them (`--as`).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from .layout import I2V_14B, T2V_1_3B, T2V_14B, VACE_1_3B, TransformerShape, matrix_game

DECODER = "decoder"  # either of the two decoders
VAE = "vae"
TAEHV = "taehv"
TEXT = "text encoder"
TOKENIZER = "tokenizer"
CLIP = "image encoder"
LORA = "lora"
TRANSFORMER = "transformer"

WAN = "the folder of Wan-AI/Wan2.1-T2V-1.3B"
USUAL_SOURCE = {
    DECODER: f"`Wan2.1_VAE.pth` in {WAN}, or `taew2_1.safetensors` of madebyollin/taehv",
    VAE: f"`Wan2.1_VAE.pth` in {WAN}",
    TEXT: f"`models_t5_umt5-xxl-enc-bf16.pth` in {WAN}",
    TOKENIZER: f"the folder `google/umt5-xxl` in {WAN}",
    CLIP: "`models_clip_open-clip-xlm-roberta-large-vit-huge-14.pth` in the folder of Skywork/Matrix-Game-2.0 or "
    "Wan-AI/Wan2.1-I2V-14B-480P",
    LORA: "`lora.pt` in the folder of Efficient-Large-Model/LongLive-1.3B",
}

P480 = ((832, 480), (480, 832))
P720 = ((1280, 720), (720, 1280))
GAME = ((640, 352),)


@dataclass(frozen=True, slots=True)
class Family:
    """One named checkpoint."""

    name: str
    shape: TransformerShape
    needs: tuple[str, ...]  # roles beside the transformer
    sizes: tuple[tuple[int, int], ...]  # pixels, width and height, that it was made for
    windows: tuple[int, ...]  # latent frames whose keys and values are kept; the first is upstream's
    causal: bool = True  # live; otherwise clips only
    chunk: int = 3  # latent frames drawn together
    sink: int = 0  # first latent frames that stay in the window
    root: str = ""  # the entry of the pickle that upstream's own commands load; "": not such a pickle
    prefix: str = ""  # of every key in the published file
    dtype: torch.dtype = torch.float32  # as published
    file: str = "diffusion_pytorch_model.safetensors"  # as published; only `synthesize` uses it
    shards: int = 1
    source: str = ""  # where it is published


def _causal(name: str, source: str, file: str, root: str, **changes: object) -> Family:
    """A 1.3B text-to-video model made causal: Wan's keys behind `model.` in a pickle."""
    given: dict[str, object] = {"windows": (21, 12, 6), **changes}
    return Family(
        name, T2V_1_3B, given.pop("needs", (DECODER, TEXT, TOKENIZER)), P480,  # type: ignore[arg-type]
        root=root, prefix="model.", source=source, file=file, **given,  # type: ignore[arg-type]
    )  # fmt: skip


def _game(name: str, file: str, keyboard: int, mouse: int = 2, window: int = 6) -> Family:
    return Family(
        name, matrix_game(keyboard, mouse), (VAE, CLIP), GAME, (window, 12), prefix="model.",
        file=f"{file}.safetensors", dtype=torch.bfloat16, source="Skywork/Matrix-Game-2.0",
    )  # fmt: skip


_CLIP_LENGTH = 21  # latent frames of Wan's own clips: 81 video frames
_ALL = (
    Family(
        "wan2.1-t2v-1.3b", T2V_1_3B, (DECODER, TEXT, TOKENIZER), P480, (_CLIP_LENGTH,), causal=False,
        source="Wan-AI/Wan2.1-T2V-1.3B",
    ),
    Family(
        "wan2.1-t2v-14b", T2V_14B, (DECODER, TEXT, TOKENIZER), P480 + P720, (_CLIP_LENGTH,), causal=False, shards=6,
        source="Wan-AI/Wan2.1-T2V-14B",
    ),
    Family(
        "wan2.1-i2v-14b-480p", I2V_14B, (VAE, TEXT, TOKENIZER, CLIP), P480, (_CLIP_LENGTH,), causal=False, shards=7,
        source="Wan-AI/Wan2.1-I2V-14B-480P",
    ),
    Family(
        "wan2.1-i2v-14b-720p", I2V_14B, (VAE, TEXT, TOKENIZER, CLIP), P720, (_CLIP_LENGTH,), causal=False, shards=7,
        source="Wan-AI/Wan2.1-I2V-14B-720P",
    ),
    Family(
        "wan2.1-vace-1.3b", VACE_1_3B, (VAE, TEXT, TOKENIZER), P480, (_CLIP_LENGTH,), causal=False,
        source="Wan-AI/Wan2.1-VACE-1.3B",
    ),
    # Self-Forcing's and the frame-wise Causal-Forcing commands load the averaged weights, the other two do not.
    _causal("self-forcing", "gdhe17/Self-Forcing", "checkpoints/self_forcing_dmd.pt", "generator_ema"),
    _causal("causal-forcing-chunkwise", "zhuhz22/Causal-Forcing", "chunkwise/causal_forcing.pt", "generator"),
    _causal(
        "causal-forcing-framewise", "zhuhz22/Causal-Forcing", "framewise/causal_forcing.pt", "generator_ema", chunk=1,
    ),
    _causal(
        "causal-forcing-framewise-2step", "zhuhz22/Causal-Forcing", "causal-forcing++/framewise-2step.pt",
        "generator_ema", chunk=1,
    ),
    _causal(
        "causal-forcing-framewise-1step", "zhuhz22/Causal-Forcing", "causal-forcing++/framewise-1step.pt",
        "generator_ema", chunk=1,
    ),
    _causal(
        "longlive", "Efficient-Large-Model/LongLive-1.3B", "models/longlive_base.pt", "generator", windows=(12, 6),
        sink=3, needs=(DECODER, TEXT, TOKENIZER, LORA),
    ),
    _game("matrix-game-2-universal", "base_distilled_model/base_distill", keyboard=4),
    _game("matrix-game-2-gta-drive", "gta_distilled_model/gta_keyboard2dim", keyboard=2, window=4),
    _game("matrix-game-2-temple-run", "templerun_distilled_model/templerun_7dim_onlykey", keyboard=7, mouse=0),
)  # fmt: skip
FAMILIES = {family.name: family for family in _ALL}


def family(name: str) -> Family:
    """Raises ValueError that lists the names."""
    if name not in FAMILIES:
        raise ValueError(f"there is no checkpoint named {name!r}; supported are {', '.join(FAMILIES)}")
    return FAMILIES[name]
