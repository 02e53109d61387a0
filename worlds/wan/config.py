"""Shapes of the Wan transformers, as data: one network for text to video, image to video, edits and games.

Sources: Wan-Video/Wan2.1 `wan/configs`, ali-vilab/VACE, SkyworkAI/Matrix-Game 2.0, aigc-apps/VideoX-Fun.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any


@dataclass(frozen=True, slots=True)
class WanConfig:
    """Shapes of one transformer. The defaults are Wan 2.1 1.3B, text to video.

    A latent frame of `rows` x `columns` cells is `tokens(rows, columns)` tokens. Raises ValueError on shapes that no
    network can have.
    """

    dim: int = 1536
    ffn_dim: int = 8960
    heads: int = 12
    layers: int = 30
    in_channels: int = 16  # 36 from an image: 16 noise, 4 mask, 16 the image's latents
    out_channels: int = 16
    text_dim: int = 4096  # of a UMT5-XXL token
    text_len: int = 512  # prompts are padded to this with zeros, and the padding is attended to
    freq_dim: int = 256  # of the timestep's sinusoid
    eps: float = 1e-6
    patch: tuple[int, int, int] = (1, 2, 2)
    cross_attn_norm: bool = True
    has_text: bool = True  # Matrix-Game 2.0 has none: its cross-attention reads the image's tokens alone
    image_dim: int | None = None  # of a CLIP token; None: no image branch
    image_tokens: int = 257
    vace_layers: tuple[int, ...] = ()  # blocks after which a VACE hint is added
    vace_channels: int = 96

    def __post_init__(self) -> None:
        if self.dim % self.heads or self.head_width % 2 or self.head_width < 6:
            raise ValueError(f"dim {self.dim} does not split into {self.heads} heads of an even width of 6 or more")
        if self.patch[0] != 1:
            raise ValueError(
                f"patch must be (1, rows, columns), because frames are cached one by one; got {self.patch}"
            )
        if not self.has_text and self.image_dim is None:
            raise ValueError("a transformer without text needs an image to attend to: set image_dim")
        if self.vace_layers and (self.vace_layers[0] != 0 or max(self.vace_layers) >= self.layers):
            raise ValueError(f"vace_layers must begin with 0 and lie below {self.layers}; got {self.vace_layers}")

    @property
    def head_width(self) -> int:
        return self.dim // self.heads

    @property
    def image_attention(self) -> bool:
        """Whether the image has keys and values of its own beside the text's (`k_img`, `v_img`, `norm_k_img`)."""
        return self.has_text and self.image_dim is not None

    def tokens(self, rows: int, columns: int) -> int:
        """Tokens of one latent frame. Raises ValueError where the patches do not fit."""
        if rows % self.patch[1] or columns % self.patch[2] or rows < 1 or columns < 1:
            raise ValueError(f"a latent frame of {rows} x {columns} is not whole patches of {self.patch[1:]}")
        return rows // self.patch[1] * (columns // self.patch[2])

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> WanConfig:
        """The inverse of `to_json`, lists as tuples. Raises ValueError on a field that this version does not know."""
        unknown = sorted(set(raw) - {f.name for f in fields(cls)})
        if unknown:
            raise ValueError(f"unknown fields in the transformer's configuration: {unknown}; update worldstream")
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in raw.items()}
        return cls(**values)


WAN_1_3B = WanConfig()
WAN_14B = WanConfig(dim=5120, ffn_dim=13824, heads=40, layers=40)
WAN_1_3B_I2V = WanConfig(in_channels=36, image_dim=1280)  # Wan2.1-Fun InP; Wan-Video published no 1.3B of this kind
WAN_14B_I2V = WanConfig(dim=5120, ffn_dim=13824, heads=40, layers=40, in_channels=36, image_dim=1280)
WAN_VACE_1_3B = WanConfig(vace_layers=tuple(range(0, 30, 2)))
WAN_VACE_14B = WanConfig(dim=5120, ffn_dim=13824, heads=40, layers=40, vace_layers=tuple(range(0, 40, 5)))
MATRIX_GAME_2 = WanConfig(in_channels=36, has_text=False, image_dim=1280)  # without its action modules

SHAPES = {
    "wan-1.3b": WAN_1_3B,
    "wan-14b": WAN_14B,
    "wan-1.3b-i2v": WAN_1_3B_I2V,
    "wan-14b-i2v": WAN_14B_I2V,
    "wan-vace-1.3b": WAN_VACE_1_3B,
    "wan-vace-14b": WAN_VACE_14B,
    "matrix-game-2": MATRIX_GAME_2,
}
