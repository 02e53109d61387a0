"""Keyboard and mouse for a Wan transformer: the action module of Matrix-Game 2.0 (2508.13009), in its published layout.

It sits between the cross-attention and the feed-forward of the first fifteen blocks. The mouse joins the video tokens,
which then attend over time alone, each spatial position for itself; the keyboard is attended to by every position. Both
look back over a window of latent frames, and within a chunk each frame sees all of them.

Nothing is repeated over the spatial positions: keyboard keys and values exist once, the queries of all positions go
through one attention against them; the mouse numbers pass their share of the first layer once per latent frame. Keys
are kept before rotation, so that positions count from the oldest kept frame and a walk has no longest length.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .upload import upload

ROWS_PER_LATENT = 4  # one row of keys and mouse for each video frame


@dataclass(frozen=True, slots=True)
class ActionConfig:
    """Shapes of the action module. The defaults are the universal variant's."""

    keyboard: int = 4  # numbers in a row: one per key
    mouse: int = 2  # (pitch, yaw); 0: the variant has no mouse branch
    blocks: int = 15  # of the transformer, from the first
    heads: int = 16
    width: int = 1024
    hidden: int = 128  # of an embedded keyboard row
    latents: int = 3  # whose rows every latent frame is given
    window: int = 6  # latent frames that are attended to, those of the chunk included
    rotated: int = 8  # channels of a head that say when; the others would say where, and are not turned
    theta: float = 256.0

    @property
    def rows(self) -> int:
        """Rows that every latent frame is given."""
        return self.latents * ROWS_PER_LATENT

    @property
    def head_width(self) -> int:
        return self.width // self.heads


@dataclass(frozen=True, slots=True)
class ActionRows:
    """What the latent frames of a chunk are given: the newest rows of the walk at each."""

    keyboard: Tensor  # [B, T, rows, keyboard], 0 or 1
    mouse: Tensor | None  # [B, T, rows, 2], about ±0.1

    def to(self, device: torch.device) -> ActionRows:
        """On the device, without waiting for what runs there."""
        return ActionRows(upload(self.keyboard, device), None if self.mouse is None else upload(self.mouse, device))

    @classmethod
    def at(cls, config: ActionConfig, keyboard: Tensor, mouse: Tensor | None, first: int, count: int) -> ActionRows:
        """For the latent frames `first` to `first + count`, of all rows so far, `[B, N, K]` and mouse `[B, N, 2]`.

        Latent frame j is given the rows 4j - 12 to 4j - 1, as in training; before the walk began the first row held.
        Raises ValueError where rows are missing.
        """
        last = ROWS_PER_LATENT * (first + count - 1) - 1
        if last >= keyboard.shape[1]:
            raise ValueError(f"latent frames up to {first + count - 1} need {last + 1} rows, got {keyboard.shape[1]}")
        if (mouse is None) != (config.mouse == 0):
            raise ValueError(f"this variant has {config.mouse} mouse numbers in a row")
        latent = torch.arange(first, first + count)[:, None] * ROWS_PER_LATENT
        index = (latent + torch.arange(-config.rows, 0)).clamp(min=0).to(keyboard.device)  # [T, rows]
        return cls(keyboard[:, index], None if mouse is None else mouse[:, index])


class Unweighted(nn.Module):
    """x / rms(x). The layout has a `weight` that the published code reads but never multiplies by; so it is here."""

    def __init__(self, width: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width), requires_grad=False)
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.eps)


class Past:
    """Keys (before rotation) and values of the window's earlier latent frames, for one block and one branch."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.kept: tuple[Tensor, Tensor] | None = None  # [N, frames, H, D] each
        self.fixed = False  # a recording reads what is kept where it is now: write there

    @property
    def full(self) -> bool:
        """Whether what is kept no longer grows."""
        return self.kept is not None and self.kept[0].shape[1] == self.most

    def with_chunk(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """The window: what is kept, then the chunk's own `[N, T, H, D]`."""
        room = max(0, self.most - keys.shape[1])
        if self.kept is None or not room:
            return keys, values
        return torch.cat([self.kept[0][:, -room:], keys], 1), torch.cat([self.kept[1][:, -room:], values], 1)

    def commit(self, keys: Tensor, values: Tensor) -> None:
        """Keep the clean chunk's."""
        newest = keys[:, -self.most :], values[:, -self.most :]
        if self.fixed and self.kept is not None:
            self.kept[0].copy_(newest[0])
            self.kept[1].copy_(newest[1])
        else:
            self.kept = (newest[0].contiguous(), newest[1].contiguous())


class ActionCache:
    """What the action modules of one walk remember. Owned by its rollout."""

    def __init__(self, config: ActionConfig) -> None:
        self._config = config
        self.reset()

    @property
    def pasts(self) -> tuple[Past, ...]:
        """Of all blocks and branches."""
        return (*self.keyboard, *self.mouse)

    @property
    def full(self) -> bool:
        """Whether what is kept no longer grows."""
        return all(past.full for past in self.pasts)

    def fix(self) -> None:
        """From now on what is kept stays at its place in memory. Only once all of it is full."""
        assert self.full
        for past in self.pasts:
            past.fixed = True

    def reset(self) -> None:
        """Forget the walk."""
        most = self._config.window
        self.keyboard = [Past(most) for _ in range(self._config.blocks)]
        self.mouse = [Past(most) for _ in range(self._config.blocks if self._config.mouse else 0)]

    def snapshot(self) -> list[tuple[Tensor, Tensor] | None]:
        """To come back to. Copies where what is kept is written to."""
        return [
            (past.kept[0].clone(), past.kept[1].clone()) if past.fixed and past.kept is not None else past.kept
            for past in self.pasts
        ]

    def put_back(self, state: list[tuple[Tensor, Tensor] | None]) -> None:
        """What a pass has overwritten, from a snapshot taken just before it; everything stays where it is in memory."""
        for past, kept in zip(self.pasts, state, strict=True):
            assert past.kept is not None
            assert kept is not None
            past.kept[0].copy_(kept[0])
            past.kept[1].copy_(kept[1])

    def restore(self, state: list[tuple[Tensor, Tensor] | None]) -> None:
        """Continue from a snapshot of the same model."""
        for past, kept in zip(self.pasts, state, strict=True):
            past.kept, past.fixed = kept, False

    @property
    def bytes(self) -> int:
        """Held now."""
        kept = [past.kept for past in self.pasts if past.kept is not None]
        return sum(tensor.nbytes for pair in kept for tensor in pair)


class ActionModule(nn.Module):
    """One block's. Parameter names are the published ones (`blocks.N.action_model.…`)."""

    def __init__(self, config: ActionConfig, dim: int) -> None:
        super().__init__()
        self.config = config
        width, hidden, head = config.width, config.hidden, config.head_width
        self.keyboard_embed = nn.Sequential(nn.Linear(config.keyboard, hidden), nn.SiLU(), nn.Linear(hidden, hidden))
        if config.mouse:
            self.mouse_mlp = nn.Sequential(
                nn.Linear(config.mouse * config.rows + dim, width),
                nn.GELU(approximate="tanh"),
                nn.Linear(width, width),
                nn.LayerNorm(width),
            )
            self.t_qkv = nn.Linear(width, 3 * width, bias=False)
            self.img_attn_q_norm, self.img_attn_k_norm = Unweighted(head), Unweighted(head)
            self.proj_mouse = nn.Linear(width, dim, bias=False)
        self.key_attn_q_norm, self.key_attn_k_norm = Unweighted(head), Unweighted(head)
        self.mouse_attn_q = nn.Linear(dim, width, bias=False)
        self.keyboard_attn_kv = nn.Linear(hidden * config.rows, 2 * width, bias=False)
        self.proj_keyboard = nn.Linear(width, dim, bias=False)

    def forward(
        self,
        x: Tensor,
        grid: tuple[int, int, int],
        rows: ActionRows,
        pasts: tuple[Past | None, Past | None],
        commit: bool,
    ) -> Tensor:
        """Tokens `[B, T * h * w, dim]` of a chunk, grid (T, h, w). `pasts` of keyboard and mouse; `commit` keeps the
        chunk's keys and values in them: on the pass over the clean chunk."""
        frames = x.unflatten(1, (grid[0], grid[1] * grid[2]))  # [B, T, S, dim]
        if self.config.mouse:
            assert rows.mouse is not None
            frames = frames + self.turned(frames, rows.mouse, pasts[1], commit)
        return (frames + self.pressed(frames, rows.keyboard, pasts[0], commit)).flatten(1, 2)

    def turned(self, frames: Tensor, mouse: Tensor, past: Past | None, commit: bool) -> Tensor:
        """What the mouse adds to the tokens `[B, T, S, dim]`: attention over time, each position for itself."""
        b, t, s, dim = frames.shape
        first = self.mouse_mlp[0]
        assert isinstance(first, nn.Linear)
        # the first layer on (token, mouse numbers) without writing the numbers beside every token
        told = F.linear(mouse.flatten(2).to(frames), first.weight[:, dim:], first.bias)  # [B, T, width]
        mixed = self.mouse_mlp[1:](F.linear(frames, first.weight[:, :dim]) + told[:, :, None])
        q, k, v = self.t_qkv(mixed).transpose(1, 2).reshape(b * s, t, 3, self.config.heads, -1).unbind(2)
        q, k = self.img_attn_q_norm(q).to(v), self.img_attn_k_norm(k).to(v)
        keys, values = (k, v) if past is None else past.with_chunk(k, v)
        if commit and past is not None:
            past.commit(keys, values)
        before = keys.shape[1] - t
        out = _attended(self._rotated(q, before), self._rotated(keys, 0), values)  # [B * S, T, width]
        added: Tensor = self.proj_mouse(out.view(b, s, t, -1).transpose(1, 2))
        return added

    def pressed(self, frames: Tensor, keyboard: Tensor, past: Past | None, commit: bool) -> Tensor:
        """What the keys add: the tokens of all positions attend to one row of keys for each latent frame."""
        b, t, s, _ = frames.shape
        told = self.keyboard_embed(keyboard.to(frames)).flatten(2)  # [B, T, rows * hidden]
        k, v = self.keyboard_attn_kv(told).unflatten(-1, (2, self.config.heads, -1)).unbind(2)
        q = self.mouse_attn_q(frames).unflatten(-1, (self.config.heads, -1))  # [B, T, S, H, D]
        q, k = self.key_attn_q_norm(q).to(v), self.key_attn_k_norm(k).to(v)
        keys, values = (k, v) if past is None else past.with_chunk(k, v)
        if commit and past is not None:
            past.commit(keys, values)
        before = keys.shape[1] - t
        turned = self._rotated(q.transpose(1, 2).flatten(0, 1), before).unflatten(0, (b, s)).flatten(1, 2)
        out = _attended(turned, self._rotated(keys, 0), values)  # [B, S * T, width]
        added: Tensor = self.proj_keyboard(out.unflatten(1, (s, t)).transpose(1, 2))
        return added

    def _rotated(self, x: Tensor, first: int) -> Tensor:
        """`[N, T, H, D]` turned by its frames' positions, the first of them `first`; pairs of channels lie together."""
        c = self.config
        frequency = c.theta ** (-torch.arange(0, c.rotated, 2, device=x.device, dtype=torch.float32) / c.rotated)
        angle = torch.arange(first, first + x.shape[1], device=x.device)[:, None] * frequency  # [T, rotated / 2]
        sin, cos = angle.sin()[:, None], angle.cos()[:, None]  # [T, 1, rotated / 2]
        even, odd = x[..., : c.rotated].float().unflatten(-1, (-1, 2)).unbind(-1)
        turned = torch.stack([even * cos - odd * sin, odd * cos + even * sin], -1).flatten(-2)
        return torch.cat([turned.to(x), x[..., c.rotated :]], -1)


def _attended(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """`[N, L, H, D]` attending to `[N, W, H, D]`, heads joined: `[N, L, H * D]`."""
    out = F.scaled_dot_product_attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2))
    return out.transpose(1, 2).flatten(2)
