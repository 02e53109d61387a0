"""VACE: a Wan transformer that also sees a control video. Edits under a mask, references, pose or depth as a guide.

Half as many blocks again walk through the control's tokens; what they make is added to the tokens of the video after
every second block. The control has 96 channels: 16 latents of what is kept, 16 of what is drawn anew (or of a pose or
depth video, which is all "anew"), and 64 of the mask. Pictures to refer to stand as latent frames before the first.
Sources: ali-vilab/VACE `vace/models/wan`, Wan-Video/Wan2.1 `wan/modules/vace_model.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .attention import Context, CrossAttention, SelfAttention
from .block import ApplyActions, Block
from .config import WanConfig
from .layers import Rotation
from .transformer import WanTransformer

Encode = Callable[[Tensor], Tensor]  # rgb [B, 3, F, H, W] in [-1, 1] to normalised latents [B, 16, t, h, w]
CELL_PX = 8  # pixels of a latent cell, each way


class VaceBlock(Block):
    """A block of the control's branch. The first takes the video's tokens in."""

    def __init__(self, config: WanConfig, first: bool) -> None:
        super().__init__(config)
        if first:
            self.before_proj = nn.Linear(config.dim, config.dim)
        self.first = first
        self.after_proj = nn.Linear(config.dim, config.dim)


class WanVace(WanTransformer):
    """`WanTransformer` with a control's branch. Raises ValueError for a configuration without `vace_layers`."""

    def __init__(self, config: WanConfig) -> None:
        if not config.vace_layers:
            raise ValueError("VACE needs the blocks after which its hints are added: set vace_layers")
        super().__init__(config)
        self.vace_blocks = nn.ModuleList(VaceBlock(config, first=layer == 0) for layer in config.vace_layers)
        self.vace_patch_embedding = nn.Conv3d(config.vace_channels, config.dim, config.patch, config.patch)

    def forward(
        self,
        x: Tensor,
        timestep: Tensor,
        text: Tensor | None = None,
        image: Tensor | None = None,
        *,
        context: Context | None = None,
        actions: ApplyActions | None = None,
        control: Tensor | None = None,
        scale: float | Sequence[float] = 1.0,
    ) -> Tensor:
        """As `WanTransformer.forward`, led by `control` `[B, 96, T, H, W]` where there is one. `scale` is how much of
        it, for all hints or for each. Raises ValueError on shapes that do not fit."""
        if control is None:
            return super().forward(x, timestep, text, image, context=context, actions=actions)
        scales = [float(scale)] * len(self.vace_blocks) if isinstance(scale, int | float) else list(scale)
        if control.shape != (x.shape[0], self.config.vace_channels, *x.shape[2:]):
            shape = [x.shape[0], self.config.vace_channels, *x.shape[2:]]
            raise ValueError(f"control must be {shape} beside such latents, got {list(control.shape)}")
        if len(scales) != len(self.vace_blocks):
            raise ValueError(f"scale must be one number or {len(self.vace_blocks)}, got {len(scales)}")
        context = self.context(text, image) if context is None else context
        grid = self._grid(x, timestep, context, actions)
        rotation = self._positions.at(0, *grid, x.device)
        time, parts = self._time(timestep)
        tokens = self._patches(x, self.patch_embedding)
        made = self._hints(tokens, self._patches(control, self.vace_patch_embedding), parts, context, rotation)
        hints = {at: hint * s for at, hint, s in zip(self.config.vace_layers, made, scales, strict=True)}

        def attend(_layer: int, attention: SelfAttention, tokens: Tensor) -> Tensor:
            return attention(tokens, rotation)

        return self._pixels(self.head(self._through(tokens, parts, context, attend, hints=hints), time), grid)

    def _hints(
        self, tokens: Tensor, control: Tensor, parts: Tensor, context: Context, rotation: Rotation
    ) -> list[Tensor]:
        """What each block of the branch says, `[B, N, dim]`."""
        out = []
        for index, block in enumerate(self._vace_blocks()):
            if block.first:
                control = block.before_proj(control) + tokens
            layer = context.layers[self.config.layers + index]
            control = block(control, parts, layer, lambda attention, t: attention(t, rotation))
            out.append(block.after_proj(control))
        return out

    def _vace_blocks(self) -> list[VaceBlock]:
        return [block for block in self.vace_blocks if isinstance(block, VaceBlock)]

    def _cross_attentions(self) -> list[CrossAttention]:
        return super()._cross_attentions() + [block.cross_attn for block in self._vace_blocks()]


def control_latents(
    video: Tensor,
    encode: Encode,
    mask: Tensor | None = None,
    references: Sequence[Tensor] = (),
) -> Tensor:
    """The 96 channels of control `[B, 96, R + t, h, w]`.

    video `[B, 3, F, H, W]` in [-1, 1], F = 4t - 3; grey (0) where there is none. mask `[B, 1, F, H, W]` in [0, 1], 1 is
    drawn anew, None everywhere. references: R pictures `[B, 3, H, W]` in [-1, 1] (`on_canvas` makes them fit). The
    latents to be denoised have R + t frames too, of which the first R are dropped before decoding. Raises ValueError on
    shapes that do not fit.
    """
    batch, _, frames, height, width = video.shape
    if frames % 4 != 1 or height % (2 * CELL_PX) or width % (2 * CELL_PX):
        raise ValueError(f"a video for VACE has 4n + 1 frames of a multiple of 16 pixels, got {tuple(video.shape)}")
    mask = torch.ones_like(video[:, :1]) if mask is None else mask
    if mask.shape != (batch, 1, frames, height, width):
        raise ValueError(f"the mask must be {[batch, 1, frames, height, width]}, got {list(mask.shape)}")
    anew = (mask > 0.5).to(video.dtype)
    latents = torch.cat([encode(video * (1 - anew)), encode(video * anew)], 1)  # [B, 32, t, h, w]
    cells = mask_cells(mask).to(latents.dtype)
    whole = torch.cat([latents, cells], 1)
    return torch.cat([*(_reference(picture, video, encode, cells) for picture in references), whole], 2)


def _reference(picture: Tensor, video: Tensor, encode: Encode, cells: Tensor) -> Tensor:
    """A picture as a latent frame of control `[B, 96, 1, h, w]`: kept, nothing drawn anew, mask 0."""
    if picture.shape != video[:, :, 0].shape:
        raise ValueError(f"a reference must be {list(video[:, :, 0].shape)}, got {list(picture.shape)}; see on_canvas")
    kept = encode(picture[:, :, None])
    return torch.cat([kept, torch.zeros_like(kept), torch.zeros_like(cells[:, :, :1])], 1)


def mask_cells(mask: Tensor) -> Tensor:
    """`[B, 1, F, H, W]` to `[B, 64, t, H / 8, W / 8]`: the pixels of a cell as channels, frames thinned to latents."""
    frames = mask.shape[2]
    cells = mask[:, 0].unflatten(3, (-1, CELL_PX)).unflatten(2, (-1, CELL_PX))  # [B, F, h, 8, w, 8]
    channels = cells.permute(0, 3, 5, 1, 2, 4).flatten(1, 2)  # [B, 64, F, h, w]
    return F.interpolate(channels, size=((frames + 3) // 4, *channels.shape[3:]), mode="nearest-exact")


def on_canvas(picture: Tensor, height: int, width: int) -> Tensor:
    """A picture `[B, 3, h, w]` in [-1, 1], scaled to fit and centred on white, `[B, 3, height, width]`."""
    if picture.shape[2:] == (height, width):
        return picture
    scale = min(height / picture.shape[2], width / picture.shape[3])
    rows, columns = max(1, int(picture.shape[2] * scale)), max(1, int(picture.shape[3] * scale))
    small = F.interpolate(picture, size=(rows, columns), mode="bilinear", align_corners=False)
    top, left = (height - rows) // 2, (width - columns) // 2
    return F.pad(small, (left, width - columns - left, top, height - rows - top), value=1.0)
