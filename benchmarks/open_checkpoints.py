"""Open checkpoints at their full shapes with random weights: block time, frame rate and memory.

    python benchmarks/open_checkpoints.py [--quick] [--json FILE] [--device cuda|cpu] [--only NAME ...]

Random weights of the published shapes take as long as trained ones. No files are read: the transformer and both
decoders are made where they run. Every case warms up past its window, then times blocks of a walk, pictures copied
back included. `--quick` is a rehearsal: tiny shapes, for any machine; its times say nothing about the models.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.report import Figure, at_most, print_table, write
from worldstream.worlds.core import Action
from worldstream.worlds.wan.assembly import empty_transformer, fitted, transformer_config
from worldstream.worlds.wan.chunk_fused import FusedStep
from worldstream.worlds.wan.chunk_graph import GraphStep
from worldstream.worlds.wan.chunk_step import EagerStep
from worldstream.worlds.wan.families import FAMILIES
from worldstream.worlds.wan.fused_transformer import FusedTransformer
from worldstream.worlds.wan.layout import TransformerShape
from worldstream.worlds.wan.live import live
from worldstream.worlds.wan.rollout import WanModel, WanRollout
from worldstream.worlds.wan.start_picture import SETTLED
from worldstream.worlds.wan.synthesize import tiny
from worldstream.worlds.wan.taehv import TAEHV, TAEHVConfig
from worldstream.worlds.wan.transformer import WanTransformer
from worldstream.worlds.wan.vae import VAEConfig, WanVAE

GIB = 2**30
TINY_PX = (64, 48)
IMAGE_TOKENS = 257


@dataclass(frozen=True, slots=True)
class Case:
    """One row of the table."""

    family: str
    window: int
    decoder: str = "taehv"
    limit_gib: float | None = None  # what was promised

    def name(self, small: bool) -> str:
        """`small`: of the rehearsal, so that nobody takes its times for the model's."""
        width, height = TINY_PX if small else FAMILIES[self.family].sizes[0]
        return f"{'TINY ' * small}{self.family}, {width}×{height}, window {self.window}, {self.decoder}"


CASES = (
    Case("self-forcing", 12, limit_gib=14.0),
    Case("self-forcing", 21),
    Case("self-forcing", 12, "vae"),
    Case("longlive", 12),
    Case("causal-forcing-framewise", 12),
    Case("matrix-game-2-universal", 6),
    Case("matrix-game-2-universal", 6, "vae"),
    Case("matrix-game-2-gta-drive", 4),
)


def randomly(module: nn.Module, device: torch.device, dtype: torch.dtype) -> nn.Module:
    """A module from the meta device with weights that keep numbers of about unit size."""
    module.to_empty(device=device)
    module.to(dtype)
    g = torch.Generator(device).manual_seed(0)
    for name, p in module.named_parameters():
        if p.ndim == 1 and name.endswith("weight"):
            p.data.fill_(1.0)
        elif p.ndim == 1:
            p.data.zero_()
        else:
            p.data.normal_(0.0, 0.7 * p[0].numel() ** -0.5, generator=g)
    return module.eval().requires_grad_(False)


def made(case: Case, device: torch.device, dtype: torch.dtype, small: bool) -> WanModel:
    """The case's model in memory."""
    family, preset = FAMILIES[case.family], live(case.family)
    shape: TransformerShape = tiny(family.shape) if small else family.shape
    preset = fitted(preset, shape, case.window)
    actions, config = preset.actions, transformer_config(shape, IMAGE_TOKENS)
    network = empty_transformer(config, actions)
    with torch.device("meta"):
        full = WanVAE(VAEConfig(width=8) if small else VAEConfig())
        light = TAEHV(TAEHVConfig(widths=(16, 8, 8, 8), encoder_width=8) if small else TAEHVConfig())
    transformer, vae = randomly(network, device, dtype), randomly(full, device, dtype)
    assert isinstance(transformer, WanTransformer)
    assert isinstance(vae, WanVAE)
    decoder = vae if case.decoder == "vae" else randomly(light, device, dtype)
    width, height = TINY_PX if small else family.sizes[0]
    g = torch.Generator().manual_seed(1)
    words = torch.randn(24, config.text_dim, generator=g)
    image = torch.randn(1, IMAGE_TOKENS, config.image_dim or 1, generator=g)
    picture = torch.randint(0, 256, (height, width, 3), generator=g, dtype=torch.uint8).numpy()
    return WanModel(
        transformer, decoder, preset, width, height, case.window,  # type: ignore[arg-type]
        prompt=(lambda _: words) if config.has_text else None,
        encoder=vae if config.image_dim else None,
        look=(lambda _: image) if config.image_dim else None,
        paint=lambda seed, prompt: picture,
    )  # fmt: skip


# how blocks are run: plain torch pass by pass, one recording of that, one recording of fused operators, and with the
# commit in the next block's first pass
WAYS: dict[str, tuple[bool, type[EagerStep]]] = {
    "eager": (False, EagerStep), "graph": (False, GraphStep), "kernels + graph": (True, GraphStep),
    "kernels + fused commit": (True, FusedStep),
}  # fmt: skip


def measured(
    case: Case, device: torch.device, dtype: torch.dtype, small: bool, blocks: int, way: str
) -> Iterator[Figure]:
    """Block time, frames a second, stages and memory of one case, run one way."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    model, (fused, kind) = made(case, device, dtype, small), WAYS[way]
    if fused:
        model = replace(model, transformer=FusedTransformer.of(model.transformer))
    rollout = WanRollout(replace(model, step=kind))
    rollout.reset(1, "a forest in the morning")
    action, block = Action(forward_m=3.0, yaw_rad=0.2), live(case.family).block
    times: list[float] = []
    denoise: list[float] = []
    decode: list[float] = []
    # past the window, and past the latents of the first picture, which are made as the walk goes
    warm = max(case.window, SETTLED if rollout.begins_from_pictures else 0) // block + 2
    name = f"{case.name(small)}, {way}"
    for i in range(warm + blocks):
        at = time.perf_counter()
        frames = list(rollout.step(action))
        if i >= warm:
            times.append(1e3 * (time.perf_counter() - at))
            denoise.append(frames[0].stages_ms["denoise"])
            decode.append(times[-1] - denoise[-1])
    ms, count = statistics.median(times), live(case.family).frames
    yield Figure(f"{name}: block of {count} frames", ms, "ms")
    yield Figure(f"{name}: frames/s", 1e3 * count / ms, "fps")
    at = time.perf_counter()
    drawn = sum(1 for _ in rollout.ahead(action for _ in range(blocks)))
    yield Figure(
        f"{name}: frames/s with nobody waiting, decoded beside the next block",
        drawn / (time.perf_counter() - at),
        "fps",
    )
    yield Figure(f"{name}: denoise and cache pass", statistics.median(denoise), "ms")
    yield Figure(f"{name}: decode and copy back", statistics.median(decode), "ms")
    if device.type == "cuda":
        peak = torch.cuda.max_memory_allocated() / GIB
        what = f"{name}: peak memory"
        yield at_most(what, peak, "GiB", case.limit_gib) if case.limit_gib else Figure(what, peak, "GiB")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="tiny shapes, a few blocks: a rehearsal")
    parser.add_argument("--json", type=Path, help="also write the figures here, after every case")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=sorted({case.family for case in CASES}))
    parser.add_argument("--blocks", type=int, default=20, help="timed blocks of a case (default 20)")
    parser.add_argument("--ways", nargs="+", choices=list(WAYS), default=list(WAYS), help="how blocks are run")
    options = parser.parse_args()
    device = torch.device(options.device)
    if device.type == "cpu" and not options.quick:
        parser.error("full shapes need a GPU; rehearse with --quick")
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    facts = {
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
        "weights": "random",
        "dtype": str(dtype),
    }
    if options.quick:
        facts["shapes"] = "tiny: a rehearsal"
    figures: list[Figure] = []
    for case in CASES:
        if options.only and case.family not in options.only:
            continue
        for way in options.ways:
            figures += measured(case, device, dtype, options.quick, 3 if options.quick else options.blocks, way)
        if options.json:
            write(options.json, figures, facts)
    print_table(figures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
