"""The Wan 2.1 transformer, to be run in two ways on the same weights: a whole clip at once, or chunk after chunk.

Parameter names are the published ones, so that a published state dict loads once its prefixes are stripped. `forward`
is bidirectional over a clip. `chunk` draws the next latent frames of a session: bidirectional within the chunk, causal
towards the past in a `KVCache`. Denoising passes leave the cache alone; one more pass over the clean chunk, at the
timestep that the model was trained for (`context_noise`, mostly 0), commits it, as in Self-Forcing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .attention import Context, CrossAttention, SelfAttention, contexts
from .attention import attend as attend_to
from .block import Act as Act
from .block import ApplyActions as ApplyActions
from .block import Attend, Head
from .block import Block as Block
from .block import Grid as Grid
from .config import WanConfig
from .kv_cache import KVCache
from .layers import ImageEmbedding, LayerNorm, RMSNorm, RotaryPositions, rotate, sinusoid


class WanTransformer(nn.Module):
    """Velocity of noisy latents. `action` gives the action module of a block's index, or None for a block without."""

    def __init__(self, config: WanConfig, action: Callable[[int], nn.Module | None] | None = None) -> None:
        super().__init__()
        self.config = config
        dim = config.dim
        self.patch_embedding = nn.Conv3d(config.in_channels, dim, config.patch, config.patch)
        if config.has_text:
            self.text_embedding = nn.Sequential(
                nn.Linear(config.text_dim, dim), nn.GELU(approximate="tanh"), nn.Linear(dim, dim)
            )
        self.time_embedding = nn.Sequential(nn.Linear(config.freq_dim, dim), nn.SiLU(), nn.Linear(dim, dim))
        self.time_projection = nn.Sequential(nn.SiLU(), nn.Linear(dim, 6 * dim))
        if config.image_dim is not None:
            self.img_emb = ImageEmbedding(config.image_dim, dim)
        self.blocks = nn.ModuleList(Block(config, action(i) if action else None) for i in range(config.layers))
        self.head = Head(config)
        self._positions = RotaryPositions(config.head_width)
        self._acts = any(block.action_model is not None for block in self._blocks())

    @property
    def dtype(self) -> torch.dtype:
        """Of the tokens."""
        return self.patch_embedding.weight.dtype

    @property
    def device(self) -> torch.device:
        return self.patch_embedding.weight.device

    def cast(self, dtype: torch.dtype) -> WanTransformer:
        """Weights to `dtype`, in place; norms, modulation and the embedding of time stay or become float32, as in
        diffusers: they are small, and what they do is lost first in half precision. Action modules go to `dtype` as a
        whole."""
        fine = {id(p) for m in self.modules() if isinstance(m, RMSNorm | LayerNorm) for p in m.parameters()}
        fine |= {id(p) for p in self.time_embedding.parameters()}
        for name, parameter in self.named_parameters():
            exact = id(parameter) in fine or name.endswith("modulation")
            parameter.data = parameter.data.to(torch.float32 if exact else dtype)
        return self

    def context(self, text: Tensor | None = None, image: Tensor | None = None) -> Context:
        """Keys and values of a prompt, `[B, S, text_dim]` with S up to text_len, and of an image's CLIP tokens
        `[B, image_tokens, image_dim]`. Short prompts are padded with zeros. Raises ValueError on what the model does
        not take or lacks."""
        c = self.config
        _expect("text", text, c.has_text, c.text_dim, c.text_len, exact=False)
        _expect("image", image, c.image_dim is not None, c.image_dim or 0, c.image_tokens, exact=True)
        seen = None if image is None else self.img_emb(image.to(self.dtype))
        if text is not None:
            padded = F.pad(text.to(self.dtype), (0, 0, 0, c.text_len - text.shape[1]))
            return contexts(self._cross_attentions(), self.text_embedding(padded), seen)
        assert seen is not None
        return contexts(self._cross_attentions(), seen, None)

    def forward(
        self,
        x: Tensor,
        timestep: Tensor,
        text: Tensor | None = None,
        image: Tensor | None = None,
        *,
        context: Context | None = None,
        actions: ApplyActions | None = None,
    ) -> Tensor:
        """Velocity `[B, out_channels, T, H, W]` of a whole clip x `[B, in_channels, T, H, W]`, every frame attending to
        every frame. timestep in [0, 1000], `[B]` or one for each latent frame `[B, T]`. A `context` made before stands
        for text and image. Raises ValueError on shapes that do not fit."""
        context = self.context(text, image) if context is None else context
        grid = self._grid(x, timestep, context, actions)
        rotation = self._positions.at(0, *grid, x.device)

        def attend(layer: int, attention: SelfAttention, tokens: Tensor) -> Tensor:
            return attention(tokens, rotation)

        return self._run(x, timestep, context, grid, attend, self._acting(actions, grid, commit=False))

    @torch.no_grad()
    def chunk(
        self,
        x: Tensor,
        timestep: Tensor,
        context: Context,
        cache: KVCache,
        *,
        commit: bool = False,
        actions: ApplyActions | None = None,
    ) -> Tensor:
        """Velocity `[B, out_channels, T, H, W]` of the next T latent frames x `[B, in_channels, T, H, W]`, which attend
        to each other and to the past in `cache`. timestep in [0, 1000], `[B]` or `[B, T]`. `commit` makes x, then
        clean, the newest part of the past. Nothing waits for the device. Raises ValueError on shapes that do not fit.
        """
        grid = self._grid(x, timestep, context, actions)
        if cache.grid != grid[1:] or cache.batch != x.shape[0]:
            raise ValueError(
                f"the cache is for {cache.batch} x {cache.grid} tokens a frame, not {x.shape[0]} x {grid[1:]}"
            )
        if cache.keys.dtype != self.dtype:
            raise ValueError(f"the cache holds {cache.keys.dtype}, the model works in {self.dtype}: make them the same")
        plan = cache.begin(grid[0], commit)

        def attend(layer: int, attention: SelfAttention, tokens: Tensor) -> Tensor:
            unrotated, values = attention.keys_values(tokens)
            keys, values = cache.attended(layer, unrotated, values, plan)
            out: Tensor = attention.o(attend_to(rotate(attention.queries(tokens), plan.rotation), keys, values))
            if commit:
                cache.keep(layer, unrotated, keys, values, plan)
            return out

        out = self._run(x, timestep, context, grid, attend, self._acting(actions, grid, commit))
        if commit:
            cache.advance(plan)
        return out

    @torch.no_grad()
    def commit(
        self,
        x: Tensor,
        timestep: Tensor,
        context: Context,
        cache: KVCache,
        *,
        actions: ApplyActions | None = None,
    ) -> None:
        """Make the clean latents x the newest part of the past: `chunk(commit=True)` whose velocity nobody wants."""
        self.chunk(x, timestep, context, cache, commit=True, actions=actions)

    @torch.no_grad()
    def chunk_pair(
        self,
        clean: Tensor,
        noisy: Tensor,
        timesteps: tuple[float, float],
        context: Context,
        cache: KVCache,
        *,
        actions: ApplyActions | None = None,
    ) -> Tensor:
        """Velocity of the noisy chunk that follows a clean one, which is committed in the same pass: the same numbers
        as `chunk(clean, commit=True)` and then `chunk(noisy)`, with the weights read once.

        Both `[B, in_channels, T, H, W]`; `timesteps` of each. Layer by layer the noisy tokens need only the keys and
        values that the clean ones have made in that layer. `actions` is called with the tokens of both.
        """
        x, frames = torch.cat([clean, noisy], 2), clean.shape[2]
        told = told_pair(timesteps, x)
        grid = self._grid(x, told, context, actions)
        plans = cache.begin_pair(frames)

        def attend(layer: int, attention: SelfAttention, tokens: Tensor) -> Tensor:
            queries, (unrotated, values) = attention.queries(tokens), attention.keys_values(tokens)
            half, out = tokens.shape[1] // 2, []
            for part, plan in zip((slice(half), slice(half, None)), plans, strict=True):
                own = unrotated[:, part]
                keys, all_values = cache.attended(layer, own, values[:, part], plan)
                out.append(attend_to(rotate(queries[:, part], plan.rotation), keys, all_values))
                if plan is plans[0]:
                    cache.keep(layer, own, keys, all_values, plan)
            joined: Tensor = attention.o(torch.cat(out, 1))
            return joined

        time, parts = self._time(told)
        tokens = self._patches(x, self.patch_embedding)
        tokens = self._through(tokens, parts, context, attend, self._acting(actions, grid, commit=True))
        cache.advance(plans[0])
        half = tokens.shape[1] // 2
        return self._pixels(self.head(tokens[:, half:], time[:, frames:]), (frames, grid[1], grid[2]))

    def recache(
        self,
        latents: Tensor,
        context: Context,
        cache: KVCache,
        *,
        timestep: float = 0.0,
        keep_sink: bool = True,
        bidirectional: bool = False,
    ) -> None:
        """Write the newest clean frames `[B, C, T, H, W]` into the cache again under a new prompt (LongLive).

        Give it as many frames as the window has, or all that there are. They go through chunk by chunk, which is a
        block-causal mask; `bidirectional` sends them through together, which is what LongLive v1.0's code does: its
        cached attention ignores the mask that it is given. A sink that is kept remembers the old prompt (LongLive's
        `global_sink`) and takes the place of the oldest frames; else these become the sink. Raises ValueError where
        there were fewer frames than T.
        """
        sink = cache.sink_before(cache.next - latents.shape[2]) if keep_sink else 0
        if sink:
            latents = latents[:, :, -(cache.window - sink) :]
        frames = latents.shape[2]
        cache.rewind(frames, keep_sink)
        for part in latents.split(frames if bidirectional else cache.chunk, 2):
            time = torch.full((part.shape[0],), timestep, device=part.device)
            self.commit(part, time, context, cache)

    def _run(
        self,
        x: Tensor,
        timestep: Tensor,
        context: Context,
        grid: Grid,
        attend: Attend,
        act: Act | None,
    ) -> Tensor:
        time, parts = self._time(timestep)
        tokens = self._through(self._patches(x, self.patch_embedding), parts, context, attend, act)
        return self._pixels(self.head(tokens, time), grid)

    def _through(
        self,
        tokens: Tensor,
        parts: Tensor,
        context: Context,
        attend: Attend,
        act: Act | None = None,
        hints: Mapping[int, Tensor] | None = None,
    ) -> Tensor:
        """All blocks, with what is added to the tokens after some of them."""
        for layer, block in enumerate(self._blocks()):
            acting = partial(act, layer) if act else None
            tokens = block(tokens, parts, context.layers[layer], partial(attend, layer), acting)
            if hints and layer in hints:
                tokens = tokens + hints[layer]
        return tokens

    def _blocks(self) -> list[Block]:
        return [block for block in self.blocks if isinstance(block, Block)]

    def _cross_attentions(self) -> list[CrossAttention]:
        """In the order of `Context.layers`."""
        return [block.cross_attn for block in self._blocks()]

    def _time(self, timestep: Tensor) -> tuple[Tensor, Tensor]:
        """`[B, G, dim]` and, as float32, `[B, G, 6, dim]` of timesteps `[B]` (G = 1) or `[B, G]`."""
        groups = timestep if timestep.dim() == 2 else timestep[:, None]
        exact = next(self.time_embedding.parameters()).dtype
        time: Tensor = self.time_embedding(sinusoid(groups, self.config.freq_dim).to(exact)).to(self.dtype)
        return time, self.time_projection(time).unflatten(-1, (6, -1)).float()

    def _patches(self, x: Tensor, embedding: nn.Conv3d) -> Tensor:
        """`[B, C, T, H, W]` to tokens `[B, N, dim]`. A convolution whose stride is its size is one matrix product."""
        _, rows, columns = self.config.patch
        cells = x.to(self.dtype).unflatten(4, (-1, columns)).unflatten(3, (-1, rows))  # [B, C, T, h, p, w, q]
        flat = cells.permute(0, 2, 3, 5, 1, 4, 6).flatten(4).flatten(1, 3)  # [B, N, C * p * q]
        return F.linear(flat, embedding.weight.flatten(1), embedding.bias)

    def _pixels(self, patches: Tensor, grid: Grid) -> Tensor:
        """`[B, N, p * q * C]` to `[B, C, T, H, W]`."""
        _, rows, columns = self.config.patch
        cells = patches.unflatten(-1, (rows, columns, -1)).unflatten(1, grid)  # [B, T, h, w, p, q, C]
        return cells.permute(0, 6, 1, 2, 4, 3, 5).flatten(5, 6).flatten(3, 4)

    def _acting(self, actions: ApplyActions | None, grid: Grid, commit: bool) -> Act | None:
        if actions is None:
            return None
        return lambda layer, module, x: actions(module, x, grid, layer, commit)

    def _grid(self, x: Tensor, timestep: Tensor, context: Context, actions: ApplyActions | None) -> Grid:
        """Frames, rows and columns of tokens. Raises ValueError on inputs that do not fit the model or each other."""
        c = self.config
        if x.dim() != 5 or x.shape[1] != c.in_channels:
            raise ValueError(f"x must be [B, {c.in_channels}, T, H, W], got {tuple(x.shape)}")
        batch, frames = x.shape[0], x.shape[2]
        if timestep.shape not in ((batch,), (batch, frames)):
            raise ValueError(f"timestep must be [{batch}] or [{batch}, {frames}], got {tuple(timestep.shape)}")
        if context.batch not in (1, batch):
            raise ValueError(f"the context is of {context.batch} prompts, the latents of {batch} videos")
        if self._acts != (actions is not None):
            raise ValueError("this model draws by actions: pass them" if self._acts else "this model takes no actions")
        c.tokens(x.shape[3], x.shape[4])
        return frames, x.shape[3] // c.patch[1], x.shape[4] // c.patch[2]


def told_pair(timesteps: tuple[float, float], x: Tensor) -> Tensor:
    """Timesteps `[B, 2 T]` of two chunks that lie behind each other in x `[B, C, 2 T, h, w]`: made on the device, so
    that nothing is copied there while a graph is recorded."""
    frames = x.shape[2] // 2
    return torch.cat([x.new_full((x.shape[0], frames), told, dtype=torch.float32) for told in timesteps], 1)


def _expect(name: str, given: Tensor | None, wanted: bool, width: int, most: int, exact: bool) -> None:
    """Raises ValueError on a prompt or image that the model does not take, lacks, or has in another shape."""
    if (given is not None) != wanted:
        raise ValueError(f"this model needs {name} tokens" if wanted else f"this model takes no {name} tokens")
    if given is None:
        return
    fits = given.dim() == 3 and given.shape[2] == width and 0 < given.shape[1] <= most
    if not fits or (exact and given.shape[1] != most):
        count = most if exact else f"1 to {most}"
        raise ValueError(f"{name} tokens must be [B, {count}, {width}], got {tuple(given.shape)}")
