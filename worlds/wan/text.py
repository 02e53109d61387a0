"""UMT5-XXL: a prompt becomes 512 rows of 4,096 numbers, as the published Wan models were trained with.

The network is `transformers.UMT5EncoderModel`; the weights are Wan's own file or a folder in transformers' layout.
The encoder itself never sees padding, and the rows behind the prompt's tokens are exactly zero: the video model attends
to all 512 rows without a mask, so those zeros are part of what it learned. Sources: Wan-Video/Wan2.1,
wan/modules/{t5,tokenizers}.py; guandeh17/Self-Forcing, utils/wan_wrapper.py.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import WeightsError
from .offload import Offload, OffloadedModule, indexed
from .prompts import clean_prompt
from .sentencepiece_model import read_spiece
from .state_file import converted, find_file, first_reason, read_state
from .transformers_library import tokenizers_class, transformers_class

TEXT_LEN = 512  # rows that a Wan model attends to
END = "</s>"  # the last token of every prompt

# Where published folders keep the weights and the tokenizer, relative to the folder.
WEIGHTS_FILES = (
    "models_t5_umt5-xxl-enc-bf16.pth",
    "models_t5_umt5-xxl-enc-bf16.safetensors",
    "text_encoder/model.safetensors.index.json",
    "text_encoder/model.safetensors",
    "model.safetensors.index.json",
    "model.safetensors",
)
TOKENIZER_FILES = (
    "google/umt5-xxl/tokenizer.json",
    "tokenizer/tokenizer.json",
    "tokenizer.json",
    "google/umt5-xxl/spiece.model",
    "tokenizer/spiece.model",
    "spiece.model",
)

# Wan's names -> transformers' names. N is the number of a layer.
_PUBLISHED = {
    "token_embedding.weight": "shared.weight",
    "norm.weight": "encoder.final_layer_norm.weight",
    "blocks.N.norm1.weight": "encoder.block.N.layer.0.layer_norm.weight",
    "blocks.N.attn.q.weight": "encoder.block.N.layer.0.SelfAttention.q.weight",
    "blocks.N.attn.k.weight": "encoder.block.N.layer.0.SelfAttention.k.weight",
    "blocks.N.attn.v.weight": "encoder.block.N.layer.0.SelfAttention.v.weight",
    "blocks.N.attn.o.weight": "encoder.block.N.layer.0.SelfAttention.o.weight",
    "blocks.N.pos_embedding.embedding.weight": ("encoder.block.N.layer.0.SelfAttention.relative_attention_bias.weight"),
    "blocks.N.norm2.weight": "encoder.block.N.layer.1.layer_norm.weight",
    "blocks.N.ffn.gate.0.weight": "encoder.block.N.layer.1.DenseReluDense.wi_0.weight",
    "blocks.N.ffn.fc1.weight": "encoder.block.N.layer.1.DenseReluDense.wi_1.weight",
    "blocks.N.ffn.fc2.weight": "encoder.block.N.layer.1.DenseReluDense.wo.weight",
}
_NUMBER = re.compile(r"(?<=\.)\d+(?=\.)")


@dataclass(frozen=True, slots=True)
class TextShape:
    """The size of a UMT5 encoder; the defaults are UMT5-XXL's."""

    vocabulary: int = 256_384
    width: int = 4096
    ffn: int = 10_240
    layers: int = 24
    heads: int = 64
    head_width: int = 64
    buckets: int = 32  # of relative distance; the largest distance told apart is 128

    @classmethod
    def of(cls, state: Mapping[str, Tensor]) -> TextShape:
        """Read off transformers' names. Raises KeyError on a name that is missing, ValueError on a wrong shape."""
        attention, layer = "encoder.block.0.layer.0.SelfAttention.", "encoder.block.0.layer.1.DenseReluDense."
        vocabulary, width = state["shared.weight"].shape
        buckets, heads = state[attention + "relative_attention_bias.weight"].shape
        blocks = [name for name in state if name.endswith("SelfAttention.q.weight")]
        inner, ffn = state[attention + "q.weight"].shape[0], state[layer + "wi_0.weight"].shape[0]
        return cls(vocabulary, width, ffn, len(blocks), heads, inner // heads, buckets)

    def build(self) -> nn.Module:
        """The network without memory for its weights, on the meta device."""
        config = transformers_class("UMT5Config")(
            vocab_size=self.vocabulary, d_model=self.width, d_kv=self.head_width, d_ff=self.ffn,
            num_layers=self.layers, num_heads=self.heads, relative_attention_num_buckets=self.buckets,
            relative_attention_max_distance=128, feed_forward_proj="gated-gelu", dropout_rate=0.0,
        )  # fmt: skip
        with torch.device("meta"):
            return transformers_class("UMT5EncoderModel")(config)


def to_transformers(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Wan's or transformers' names -> transformers' names, the tied embedding once. Raises KeyError on a stranger."""
    if "token_embedding.weight" not in state:
        named = {name: value for name, value in state.items() if name != "encoder.embed_tokens.weight"}
        if "shared.weight" not in named and "encoder.embed_tokens.weight" in state:
            named["shared.weight"] = state["encoder.embed_tokens.weight"]
        return named
    mapped: dict[str, Tensor] = {}
    for name, value in state.items():
        match = _NUMBER.search(name)
        pattern = name if match is None else name[: match.start()] + "N" + name[match.end() :]
        mapped[_PUBLISHED[pattern].replace(".N.", f".{match[0]}." if match else "")] = value
    return mapped


def load_text_network(path: Path, dtype: torch.dtype) -> nn.Module:
    """`transformers.UMT5EncoderModel` from either layout, on the CPU. Raises WeightsError that names the file."""
    try:
        state = to_transformers(read_state(path, dtype=dtype))
        model = TextShape.of(state).build()
        weights = {name: converted(value, dtype) for name, value in state.items()}
        weights["encoder.embed_tokens.weight"] = weights["shared.weight"]
        model.load_state_dict(weights, assign=True)
    except WeightsError:
        raise
    except KeyError as error:
        raise WeightsError(f"{path} is not a UMT5 encoder: unexpected or missing name {error}") from error
    except (RuntimeError, ValueError, ZeroDivisionError) as error:
        raise WeightsError(f"{path} does not fit a UMT5 encoder ({first_reason(error)})") from error
    network: Any = model
    network.encoder.embed_tokens.weight = network.shared.weight  # one tensor, also after a move
    return model.eval().requires_grad_(False)


def load_tokenizer(path: Path, text_len: int = TEXT_LEN) -> Any:
    """A `tokenizers.Tokenizer` that cuts after `text_len` tokens and ends each prompt with `</s>`.

    `path`: tokenizer.json or spiece.model of google/umt5-xxl. Raises WeightsError.
    """
    if not path.is_file():
        raise WeightsError(f"the tokenizer {path} is missing; copy tokenizer.json of google/umt5-xxl there")
    tokenizer = read_spiece(path, END) if path.suffix == ".model" else _read_tokenizer(path)
    tokenizer.no_padding()
    tokenizer.enable_truncation(text_len)
    if tokenizer.token_to_id(END) is None or tokenizer.encode("").ids != [tokenizer.token_to_id(END)]:
        raise WeightsError(f"the tokenizer {path} does not end a prompt with {END}; it is not google/umt5-xxl's")
    return tokenizer


def _read_tokenizer(path: Path) -> Any:
    try:
        return tokenizers_class("Tokenizer").from_file(str(path))
    except WeightsError:
        raise
    except Exception as error:  # tokenizers raises bare Exception
        raise WeightsError(f"the tokenizer {path} cannot be read ({error}); copy it again") from error


class TextEncoder:
    """Prompts -> the rows that a Wan model attends to. Loaded at the first prompt. Not thread-safe."""

    def __init__(
        self,
        source: Path | nn.Module,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.bfloat16,
        *,
        tokenizer: Path | None = None,
        text_len: int = TEXT_LEN,
    ) -> None:
        """`source`: a folder or file of weights, or a `UMT5EncoderModel`; the latter needs `tokenizer`, a file.

        Raises WeightsError where a file is missing, ValueError on float16, in which UMT5 overflows.
        """
        if dtype not in (torch.bfloat16, torch.float32):
            raise ValueError(f"the text encoder runs in bfloat16 or float32, not {dtype}: UMT5 overflows in float16")
        self.text_len = text_len
        if isinstance(source, nn.Module):
            if tokenizer is None:
                raise ValueError("a text encoder made from a network needs the path of its tokenizer.json")
            self._network = OffloadedModule(source.to(dtype), indexed(device))
        else:
            weights = find_file(source, WEIGHTS_FILES, "text encoder")
            tokenizer = tokenizer or find_file(_folder(source), TOKENIZER_FILES, "tokenizer")
            self._network = OffloadedModule(partial(load_text_network, weights, dtype), indexed(device))
        self._tokenizer = load_tokenizer(tokenizer, text_len)

    @property
    def loaded(self) -> bool:
        """Whether the network takes memory on the device or the host."""
        return self._network.loaded

    def token_ids(self, prompt: str) -> list[int]:
        """The tokens of a prompt, at most `text_len`, the last one `</s>`."""
        return list(self._tokenizer.encode(clean_prompt(prompt)).ids)

    @torch.no_grad()
    def rows(self, prompt: str) -> Tensor:
        """The embedding without padding: [tokens, width], tokens in 1 .. text_len."""
        network: Any = self._network()
        ids = torch.tensor([self.token_ids(prompt)])  # [1, L]
        if int(ids.max()) >= (known := network.shared.weight.shape[0]):  # on a GPU the look-up would end the process
            raise WeightsError(
                f"the tokenizer gives token {int(ids.max())}, the text encoder knows {known}: wrong pair"
            )
        return network(input_ids=ids.to(self._network.device)).last_hidden_state[0]  # [L, D]

    def encode(self, prompt: str) -> Tensor:
        """[text_len, width]; rows beyond the prompt's tokens are zero and are attended to like all others."""
        return pad_rows(self.rows(prompt), self.text_len)

    def offload(self, policy: Offload) -> None:
        """Give the GPU's memory back; the next prompt loads the network again. ValueError: see OffloadedModule."""
        self._network.offload(policy)


def pad_rows(rows: Tensor, text_len: int = TEXT_LEN) -> Tensor:
    """[L, D] -> [text_len, D] with zeros behind. Raises ValueError where L is 0 or above text_len."""
    if not 1 <= rows.shape[0] <= text_len:
        raise ValueError(f"a prompt has 1 to {text_len} rows, got {rows.shape[0]}")
    padded = rows.new_zeros(text_len, rows.shape[1])
    padded[: rows.shape[0]] = rows
    return padded


def _folder(source: Path) -> Path:
    return source.parent if source.is_file() else source
