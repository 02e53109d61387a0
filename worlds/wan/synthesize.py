"""Random weights in the published layout, for tests and benchmarks where the published ones cannot be had.

Tensors are made and written one after another, so that 14B takes disk and no memory. Every tensor has a random
generator of its own, from the seed and its key: the same numbers whatever is written before it.
"""

from __future__ import annotations

import json
import shutil
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from ..errors import CheckpointError
from . import families as names
from .families import Family
from .layout import Layout, TransformerShape, parameters, transformer
from .layout_parts import ClipShape, TaehvShape, TextShape, VaeShape, clip, lora, taehv, text_encoder, vae
from .memory import GIB
from .safetensors_header import DTYPES

SCALES = ("tiny", "full")
STEP = 1 << 22  # numbers made at once
RANK = {"tiny": 4, "full": 256}
VAE_FILE = "Wan2.1_VAE.pth"
TAEHV_FILE = "taew2_1.safetensors"
TEXT_FILE = "models_t5_umt5-xxl-enc-bf16.pth"
CLIP_FILE = "models_clip_open-clip-xlm-roberta-large-vit-huge-14.pth"
LORA_FILE = "models/lora.pt"
TOKENIZER_FOLDER = "google/umt5-xxl"

TINY_TEXT = TextShape(vocabulary=384, dim=64, ffn=96, heads=4, layers=2)
TINY_CLIP = ClipShape(
    dim=160, layers=3, embed=32, text_layers=1, text_dim=32, vocabulary=64, text_tokens=18
)  # 3 layers: the last is not used  # fmt: skip
TINY_VAE = VaeShape(dim=8)
TINY_TAEHV = TaehvShape(widths=(16, 8, 8, 8), encoder=8)


def tiny(shape: TransformerShape) -> TransformerShape:
    """The same kind of transformer with two heads and two blocks."""
    action = replace(shape.action, blocks=1, hidden=16, inner=128) if shape.action else None
    return replace(
        shape, dim=256, ffn=320, layers=2, vace_layers=min(shape.vace_layers, 1), action=action,
        text=TINY_TEXT.dim if shape.text else 0, image=TINY_CLIP.dim if shape.image else 0,
    )  # fmt: skip


def synthesize(
    family: Family, folder: Path, scale: str = "tiny", seed: int = 0, say: Callable[[str], None] = lambda _: None
) -> list[Path]:
    """Write all files of one named checkpoint into `folder`, as published; returns them. Raises ValueError or OSError.

    A file appears under its name only when it is whole.
    """
    if scale not in SCALES:
        raise ValueError(f"the scale must be one of {', '.join(SCALES)}, got {scale!r}")
    small = scale == "tiny"
    shape = tiny(family.shape) if small else family.shape
    table = {family.prefix + key: size for key, size in transformer(shape).items()}
    todo: list[tuple[str, Layout, torch.dtype, str]] = [(family.file, table, family.dtype, family.root)]
    if {names.DECODER, names.VAE} & set(family.needs):
        todo.append((VAE_FILE, vae(TINY_VAE if small else VaeShape()), torch.float32, ""))
        todo.append((TAEHV_FILE, taehv(TINY_TAEHV if small else TaehvShape()), torch.float16, ""))
    if names.TEXT in family.needs:
        todo.append((TEXT_FILE, text_encoder(TINY_TEXT if small else TextShape()), torch.bfloat16, ""))
    if names.CLIP in family.needs:
        todo.append((CLIP_FILE, clip(TINY_CLIP if small else ClipShape()), torch.float32, ""))
    if names.LORA in family.needs:
        todo.append((LORA_FILE, lora(shape, RANK[scale]), torch.bfloat16, "generator_lora"))
    _check_disk(folder, sum(parameters(layout) * dtype.itemsize for _, layout, dtype, _ in todo))
    written: list[Path] = []
    for file, layout, dtype, root in todo:
        path = folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        say(f"{path}: {parameters(layout) * dtype.itemsize / GIB:.2f} GiB")
        if path.suffix == ".safetensors":
            written += write_shards(path, layout, dtype, seed, family.shards if path.name == family.file else 1)
        else:
            write_pickle(path, layout, dtype, seed, root)
            written.append(path)
    if names.TOKENIZER in family.needs:
        written += write_tokenizer(folder / TOKENIZER_FOLDER)
    card = folder / "README.md"
    card.write_text(
        f"---\nlicense: cc0-1.0\n---\nRandom numbers in the layout of {family.source}. Not a trained model.\n"
    )
    return [*written, card]


def _check_disk(folder: Path, needed: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise ValueError(f"{folder} has {free / GIB:.1f} GiB free, {needed / GIB:.1f} are needed; choose another --out")


def values(key: str, shape: tuple[int, ...], dtype: torch.dtype, seed: int) -> Iterator[Tensor]:
    """One tensor's numbers, flat, in pieces: norms 1, biases 0, weights so that activations keep their size."""
    count = parameters({key: shape})
    leaf = key.rsplit(".", 1)[-1]
    generator = torch.Generator().manual_seed((zlib.crc32(key.encode()) << 20) ^ seed)
    scale = max(1, parameters({key: shape[1:]})) ** -0.5
    if leaf == "modulation" or ".lora_B." in key:
        scale = 0.02
    for start in range(0, count, STEP):
        size = min(STEP, count - start)
        if leaf == "bias":
            piece = torch.zeros(size)
        elif leaf in ("gamma", "log_scale") or len(shape) == 1:
            piece = torch.ones(size)
        else:
            piece = torch.randn(size, generator=generator) * scale
        yield piece.to(dtype)


def write_shards(path: Path, layout: Layout, dtype: torch.dtype, seed: int, shards: int = 1) -> list[Path]:
    """A safetensors file, or as many of about equal size and an index named after `path`."""
    if shards == 1:
        write_safetensors(path, layout, dtype, seed)
        return [path]
    share, total, done = parameters(layout) / shards, parameters(layout) * dtype.itemsize, 0
    parts: list[Layout] = [{} for _ in range(shards)]
    for key, size in layout.items():
        parts[min(int(done / share), shards - 1)][key] = size
        done += parameters({key: size})
    paths = [path.with_name(f"{path.stem}-{n:05}-of-{shards:05}.safetensors") for n in range(1, shards + 1)]
    for part_path, part in zip(paths, parts, strict=True):
        write_safetensors(part_path, part, dtype, seed)
    where = {key: part_path.name for part_path, part in zip(paths, parts, strict=True) for key in part}
    index = path.with_name(path.name + ".index.json")
    index.write_text(json.dumps({"metadata": {"total_size": total}, "weight_map": where}, indent=1) + "\n")
    return [*paths, index]


def write_safetensors(path: Path, layout: Layout, dtype: torch.dtype, seed: int) -> None:
    """The header by hand, then each tensor as it is made: the library would want all of them at once."""
    name = next(text for text, known in DTYPES.items() if known == dtype)
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    reached = 0
    for key, shape in layout.items():
        end = reached + parameters({key: shape}) * dtype.itemsize
        header[key] = {"dtype": name, "shape": list(shape), "data_offsets": [reached, end]}
        reached = end
    raw = json.dumps(header, separators=(",", ":")).encode()
    raw += b" " * (-len(raw) % 8)
    part = path.with_name(path.name + ".part")
    with part.open("wb") as file:
        file.write(struct.pack("<Q", len(raw)) + raw)
        for key, shape in layout.items():
            for piece in values(key, shape, dtype, seed):
                file.write(piece.view(torch.uint8).numpy().data)
    part.replace(path)


def write_pickle(path: Path, layout: Mapping[str, tuple[int, ...]], dtype: torch.dtype, seed: int, root: str) -> None:
    """What `torch.save` writes, with the numbers filled in afterwards, tensor by tensor."""
    part = path.with_name(path.name + ".part")
    empty = {key: torch.empty(shape, dtype=dtype) for key, shape in layout.items()}  # pages nobody touches cost nothing
    with torch.serialization.skip_data():
        torch.save({root: empty} if root else empty, part)
    with part.open("r+b") as file:
        for (key, shape), offset in zip(layout.items(), _storages(part), strict=True):
            file.seek(offset)
            for piece in values(key, shape, dtype, seed):
                file.write(piece.view(torch.uint8).numpy().data)
    part.replace(path)


def _storages(path: Path) -> Iterator[int]:
    """Where the bytes of each tensor begin in what torch.save wrote: `data/0`, `data/1`, … in the order of the dict."""
    with zipfile.ZipFile(path) as archive, path.open("rb") as file:
        places = {entry.filename.split("/", 1)[1]: entry.header_offset for entry in archive.infolist()}
        for index in range(sum(name.startswith("data/") for name in places)):
            file.seek(places[f"data/{index}"] + 26)
            name, extra = struct.unpack("<HH", file.read(4))
            yield places[f"data/{index}"] + 30 + name + extra


def write_tokenizer(folder: Path) -> list[Path]:
    """A small tokenizer with UMT5's conventions: <pad> 0, </s> 1 at the end, <unk> 2, then single characters."""
    try:
        from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers, processors
        from tokenizers import decoders as decoding
    except ImportError as error:
        raise CheckpointError(f"a tokenizer needs the package tokenizers; install transformers ({error})") from None
    special = ["<pad>", "</s>", "<unk>"]
    letters = ["▁", *(chr(code) for code in range(33, 127))]
    pieces = [(text, 0.0) for text in special] + [(text, -5.0) for text in letters]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=2, byte_fallback=False))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoding.Metaspace()
    tokenizer.add_special_tokens([AddedToken(text, special=True) for text in special])
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    folder.mkdir(parents=True, exist_ok=True)
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 512, "pad_token": "<pad>",
        "eos_token": "</s>", "unk_token": "<unk>",
    }  # fmt: skip
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=1) + "\n")
    return [folder / "tokenizer.json", folder / "tokenizer_config.json"]
