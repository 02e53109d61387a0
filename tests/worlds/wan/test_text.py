"""UMT5 as Wan uses it: both published layouts, padding rows and all, equal to transformers and to a plain loop."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor, nn

from tests.worlds.wan.tiny_encoders import library, relative_error, text_network, to_published, write_tokenizer
from worldstream.worlds.errors import WeightsError
from worldstream.worlds.wan import transformers_library
from worldstream.worlds.wan.embeddings import EmbeddingStore
from worldstream.worlds.wan.layout_parts import TextShape as PublishedShape
from worldstream.worlds.wan.layout_parts import text_encoder
from worldstream.worlds.wan.offload import Offload
from worldstream.worlds.wan.prompts import MAX_CHARACTERS, clean_prompt
from worldstream.worlds.wan.text import (
    TextEncoder,
    TextShape,
    load_text_network,
    load_tokenizer,
    pad_rows,
    to_transformers,
)

ROOT = Path(__file__).resolve().parents[3]
PROMPT = "walk along the shore, mist between the trees"
TEXT_LEN = 24
TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def network() -> nn.Module:
    return text_network()


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tokenizer(tmp_path_factory.mktemp("tokenizer") / "tokenizer.json")


@pytest.fixture(scope="module")
def text(network: nn.Module, tokenizer: Path) -> TextEncoder:
    return encoder(network, tokenizer)


@pytest.fixture
def folder(tmp_path: Path, network: nn.Module) -> Path:
    """A model folder as Wan publishes it: a pickle and google/umt5-xxl/."""
    write_tokenizer(tmp_path / "google/umt5-xxl/tokenizer.json")
    torch.save(to_published(network.state_dict()), tmp_path / "models_t5_umt5-xxl-enc-bf16.pth")
    return tmp_path


def encoder(network: nn.Module, tokenizer: Path) -> TextEncoder:
    return TextEncoder(network, "cpu", torch.float32, tokenizer=tokenizer, text_len=TEXT_LEN)


def plain_encoder(weights: dict[str, Tensor], ids: Tensor, heads: int) -> Tensor:
    """UMT5 in Wan's names, one prompt [L] -> [L, D], written from the paper: T5 without scaling, biases per layer."""

    def norm(x: Tensor, name: str) -> Tensor:
        return x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt() * weights[name + ".weight"]

    def bucket(distance: int, buckets: int) -> int:
        half, exact = buckets // 2, buckets // 4
        far, distance = (half if distance > 0 else 0), abs(distance)
        if distance < exact:
            return far + distance
        return far + min(half - 1, exact + int(math.log(distance / exact) / math.log(128 / exact) * (half - exact)))

    x = weights["token_embedding.weight"][ids]
    for layer in range(sum(name.endswith("attn.q.weight") for name in weights)):
        at = f"blocks.{layer}."
        table = weights[at + "pos_embedding.embedding.weight"]
        bias = torch.stack([
            torch.stack([table[bucket(k - q, table.shape[0])] for k in range(len(ids))]) for q in range(len(ids))
        ])  # fmt: skip  # [L, L, heads]
        y = norm(x, at + "norm1")
        q, k, v = ((y @ weights[f"{at}attn.{n}.weight"].T).unflatten(1, (heads, -1)) for n in "qkv")
        scores = torch.einsum("ihd,jhd->hij", q, k) + bias.permute(2, 0, 1)
        mixed = torch.einsum("hij,jhd->ihd", scores.softmax(-1), v).flatten(1)
        x = x + mixed @ weights[at + "attn.o.weight"].T
        y = norm(x, at + "norm2")
        gate = F.gelu(y @ weights[at + "ffn.gate.0.weight"].T, approximate="tanh")
        x = x + (gate * (y @ weights[at + "ffn.fc1.weight"].T)) @ weights[at + "ffn.fc2.weight"].T
    return norm(x, "norm")


def test_rows_equal_transformers_on_a_padded_prompt(network: nn.Module, tokenizer: Path) -> None:
    """The reference pads, masks and zeroes, as Self-Forcing does; ours never computes the padding."""
    fast = library("transformers").PreTrainedTokenizerFast(
        tokenizer_file=str(tokenizer), pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    )
    for prompt in (PROMPT, "", "mist " * 100):
        batch = fast(
            [prompt], return_tensors="pt", padding="max_length", truncation=True, max_length=TEXT_LEN,
            add_special_tokens=True,
        )  # fmt: skip
        with torch.no_grad():
            theirs = network(**batch).last_hidden_state[0]
        count = int(batch.attention_mask.sum())
        theirs[count:] = 0
        ours = encoder(network, tokenizer).encode(prompt)
        assert ours.shape == (TEXT_LEN, 16)
        assert int(ours.abs().sum(1).gt(0).sum()) == count
        error = relative_error(ours, theirs)
        print(f"{count} tokens: max relative error {error:.1e}")
        assert error <= TOLERANCE


def test_the_published_names_mean_what_transformers_computes(network: nn.Module, tokenizer: Path) -> None:
    long_prompt = " ".join([PROMPT] * 60)  # far enough apart for the logarithmic buckets of distance
    text = TextEncoder(network, "cpu", torch.float32, tokenizer=tokenizer, text_len=200)
    ids = torch.tensor(text.token_ids(long_prompt))
    theirs = plain_encoder(to_published(network.state_dict()), ids, heads=4)
    error = relative_error(text.rows(long_prompt), theirs)
    print(f"{len(ids)} tokens: max relative error {error:.1e}")
    assert len(ids) == 200
    assert error <= TOLERANCE


def test_the_names_map_both_ways(network: nn.Module) -> None:
    theirs = {k: v for k, v in network.state_dict().items() if k != "encoder.embed_tokens.weight"}
    published = to_published(theirs)
    assert published.keys() == text_encoder(PublishedShape(layers=2)).keys()
    back = to_transformers(published)
    assert back.keys() == theirs.keys()
    assert all(back[name] is value for name, value in theirs.items())


def test_every_key_at_full_size() -> None:
    """24 layers x 4,096, 64 heads, ffn 10,240, 256,384 pieces, on the meta device."""
    model = TextShape().build()
    expected = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    expected.pop("encoder.embed_tokens.weight")
    table = text_encoder(PublishedShape())
    assert len(table) == 2 + 24 * 10
    assert table["token_embedding.weight"] == (256_384, 4096)
    assert table["blocks.23.ffn.gate.0.weight"] == (10_240, 4096)
    assert table["blocks.23.pos_embedding.embedding.weight"] == (32, 64)
    assert sum(math.prod(shape) for shape in table.values()) == 5_680_910_336  # what 11.4 GB of bfloat16 hold
    state = {name: torch.empty(shape, device="meta") for name, shape in table.items()}
    assert {name: tuple(value.shape) for name, value in to_transformers(state).items()} == expected
    model.load_state_dict(
        {**(mapped := to_transformers(state)), "encoder.embed_tokens.weight": mapped["shared.weight"]}, assign=True
    )
    assert TextShape.of(mapped) == TextShape()


def test_both_layouts_load_from_a_folder(folder: Path, network: nn.Module, tmp_path: Path) -> None:
    wan = TextEncoder(folder, "cpu", torch.float32, text_len=TEXT_LEN)
    assert not wan.loaded
    expected = encoder(network, folder / "google/umt5-xxl/tokenizer.json").encode(PROMPT)
    assert torch.equal(wan.encode(PROMPT), expected)

    other = tmp_path / "diffusers"
    (other / "text_encoder").mkdir(parents=True)
    write_tokenizer(other / "tokenizer/tokenizer.json")
    state = {k: v.contiguous() for k, v in network.state_dict().items() if k != "encoder.embed_tokens.weight"}
    names = sorted(state)
    halves = {"a.safetensors": names[:7], "b.safetensors": names[7:]}
    for file, held in halves.items():
        save_file({name: state[name] for name in held}, other / "text_encoder" / file)
    index = {name: file for file, held in halves.items() for name in held}
    (other / "text_encoder/model.safetensors.index.json").write_text(f'{{"weight_map": {index}}}'.replace("'", '"'))
    sharded = TextEncoder(other, "cpu", torch.float32, text_len=TEXT_LEN)
    assert torch.equal(sharded.encode(PROMPT), expected)

    (other / "text_encoder/b.safetensors").unlink()
    with pytest.raises(WeightsError, match=r"needs the shard b\.safetensors, which is missing"):
        TextEncoder(other, "cpu", torch.float32).encode(PROMPT)


def test_the_embedding_table_is_one_tensor(folder: Path) -> None:
    loaded: Any = load_text_network(folder / "models_t5_umt5-xxl-enc-bf16.pth", torch.bfloat16)
    assert loaded.encoder.embed_tokens.weight is loaded.shared.weight
    assert {p.dtype for p in loaded.parameters()} == {torch.bfloat16}
    assert not any(p.is_meta for p in loaded.parameters())


def test_offloaded_and_back(folder: Path) -> None:
    text = TextEncoder(folder, "cpu", torch.float32, text_len=TEXT_LEN)
    before = text.encode(PROMPT)
    for policy, loaded in ((Offload.KEEP, True), (Offload.CPU, True), (Offload.FREE, False)):
        text.offload(policy)
        assert text.loaded is loaded
    assert torch.equal(text.encode(PROMPT), before)


def test_a_stored_prompt_needs_no_network(folder: Path, tmp_path: Path) -> None:
    text = TextEncoder(folder, "cpu", torch.float32, text_len=TEXT_LEN)
    store = EmbeddingStore(tmp_path / "store", "ab" * 32, text, text_len=TEXT_LEN)
    first = store.embedding(PROMPT)
    assert not text.loaded  # put aside after use
    (folder / "models_t5_umt5-xxl-enc-bf16.pth").unlink()
    assert torch.equal(store.embedding(PROMPT), first)
    assert torch.equal(first[len(text.token_ids(PROMPT)) :], torch.zeros(TEXT_LEN - len(text.token_ids(PROMPT)), 16))
    with pytest.raises(WeightsError, match=r"models_t5_umt5-xxl-enc-bf16\.pth is missing"):
        store.embedding("another prompt")


def test_a_network_in_memory_cannot_be_freed(network: nn.Module, tokenizer: Path) -> None:
    with pytest.raises(ValueError, match=r"Offload\.CPU"):
        encoder(network, tokenizer).offload(Offload.FREE)


def test_bad_input_is_named(folder: Path, tmp_path: Path, network: nn.Module, tokenizer: Path) -> None:
    with pytest.raises(ValueError, match="overflows in float16"):
        TextEncoder(folder, "cpu", torch.float16)
    with pytest.raises(WeightsError, match=r"models_t5_umt5-xxl-enc-bf16\.pth is missing"):
        TextEncoder(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="needs the path of its tokenizer"):
        TextEncoder(network)
    path = folder / "google/umt5-xxl/tokenizer.json"
    path.unlink()
    with pytest.raises(WeightsError, match=r"google/umt5-xxl/tokenizer\.json is missing"):
        TextEncoder(folder)
    with pytest.raises(WeightsError, match=r"tokenizer\.json is missing"):
        load_tokenizer(path)
    path.write_text("{")
    with pytest.raises(WeightsError, match=r"tokenizer\.json cannot be read"):
        TextEncoder(folder)
    broken = library("tokenizers").Tokenizer.from_file(str(tokenizer))
    broken.post_processor = library("tokenizers").processors.TemplateProcessing(single="$A", special_tokens=[])
    broken.save(str(path))
    with pytest.raises(WeightsError, match="does not end a prompt with </s>"):
        TextEncoder(folder)


@pytest.mark.parametrize("change", ["missing", "stranger", "shape", "integers"])
def test_weights_of_something_else_are_refused(folder: Path, network: nn.Module, change: str) -> None:
    path = folder / "models_t5_umt5-xxl-enc-bf16.pth"
    state = to_published(network.state_dict())
    if change == "missing":
        del state["blocks.1.attn.o.weight"]
    elif change == "stranger":
        state["blocks.0.attn.bias"] = torch.zeros(1)
    elif change == "shape":
        state["blocks.1.norm1.weight"] = torch.zeros(17)
    else:
        state["blocks.0.attn.q.weight"] = state["blocks.0.attn.q.weight"].to(torch.int8)
    torch.save(state, path)
    with pytest.raises(WeightsError, match=path.name) as caught:
        load_text_network(path, torch.float32)
    assert len(str(caught.value).splitlines()) == 1


def test_a_token_beyond_the_table_is_refused(network: nn.Module, tokenizer: Path) -> None:
    small: Any = text_network()
    small.shared.weight.data = small.shared.weight.data[:3]
    with pytest.raises(WeightsError, match="wrong pair"):
        encoder(small, tokenizer).rows(PROMPT)


def test_code_in_a_pickle_is_refused(folder: Path) -> None:
    path = folder / "models_t5_umt5-xxl-enc-bf16.pth"
    torch.save({"token_embedding.weight": os.system}, path)
    with pytest.raises(WeightsError, match="holds code, not only weights, and is not opened"):
        load_text_network(path, torch.float32)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(WeightsError, match="is truncated or no checkpoint"):
        load_text_network(path, torch.float32)


def test_cleaning_is_wans() -> None:
    assert clean_prompt("  a\tforest\r\n at   dawn ") == "a forest at dawn"
    assert clean_prompt("cats &amp;amp; dogs &lt;3") == "cats & dogs <3"
    assert clean_prompt("“don’t”，ｆｏｒｅｓｔ　ﬁre") == '"don\'t",forest fire'
    assert clean_prompt("\x93oh\x94\x85 \u0149 \u2028 5") == '"oh"… \'n 5'
    assert clean_prompt("re\x00d \x1b[31mcar\ufeff") == "red car"
    assert clean_prompt("cafe\u0301") == "caf\u00e9"
    assert clean_prompt("\ud83d\ude00 \ud800") == "\U0001f600 \ufffd"


def test_an_installed_ftfy_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ftfy.py").write_text("def fix_text(text): return text.replace('sÃ¼ÃŸ', 'süß')\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "ftfy", raising=False)
    assert clean_prompt(" sÃ¼ÃŸ ") == "süß"
    monkeypatch.delitem(sys.modules, "ftfy")


hostile = st.one_of(
    st.text(max_size=200),
    st.text(st.characters(categories=["Cc", "Cf", "Cs", "Co", "Zs", "Zl"]), max_size=50),
    st.sampled_from(["", " ", "</s>", "<pad><pad>", "&#0;&#xD800;", "\x00" * 100, "森" * 500, "a" * 100_000]),
    st.builds(lambda text, times: text * times, st.text(min_size=1, max_size=10), st.integers(1, 2000)),
)


@given(prompt=hostile)
@settings(max_examples=40)
def test_any_prompt_gives_rows(prompt: str, text: TextEncoder) -> None:
    cleaned = clean_prompt(prompt)
    assert cleaned == cleaned.strip()
    assert len(cleaned) <= MAX_CHARACTERS
    cleaned.encode()  # no lone surrogates
    count = len(text.token_ids(prompt))
    rows = text.encode(prompt)
    assert rows.shape == (TEXT_LEN, 16)
    assert bool(torch.isfinite(rows).all())
    assert bool((rows[count:] == 0).all())
    assert bool((rows[:count].abs().sum(1) > 0).all())


def test_rows_that_cannot_be_padded() -> None:
    for count in (0, 25):
        with pytest.raises(ValueError, match=f"1 to 24 rows, got {count}"):
            pad_rows(torch.zeros(count, 16), TEXT_LEN)


def test_without_transformers_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(WeightsError, match=r"pip install 'worldstream\[open\]'"):
        TextShape().build()
    assert transformers_library.EXTRA == "open"


def test_torchvision_is_never_imported(tmp_path: Path) -> None:
    """Not even where it is installed, broken here as by a build for another torch; `transformers` would import it."""
    (tmp_path / "torchvision").mkdir()
    (tmp_path / "torchvision/__init__.py").write_text("raise RuntimeError('operator torchvision::nms does not exist')")
    (tmp_path / "torchvision-9.9.9.dist-info").mkdir()
    (tmp_path / "torchvision-9.9.9.dist-info/METADATA").write_text(
        "Metadata-Version: 2.1\nName: torchvision\nVersion: 9.9.9\n"
    )
    script = (
        "import sys\n"
        "from worldstream.worlds.wan import clip, embeddings, lora, text\n"
        "assert 'transformers' not in sys.modules, 'imported before it is needed'\n"
        "text.TextShape(vocabulary=8, width=8, ffn=8, layers=1, heads=1, head_width=8).build()\n"
        "clip.ClipShape(width=8, ffn=8, layers=1, heads=1).build()\n"
        "assert 'transformers.models.umt5.modeling_umt5' in sys.modules\n"
        "print([name for name in sys.modules if name.split('.')[0] == 'torchvision'])\n"
    )
    path = os.pathsep.join([str(tmp_path), str(ROOT / ".links")])
    done = subprocess.run(
        [sys.executable, "-c", script], env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True,
        check=False, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"
