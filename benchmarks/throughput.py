"""Frames per second of the model alone, with the time of each stage, per engine, threads and steps.

    python benchmarks/throughput.py [--quick] [--json FILE] [--world NAME] [--open] [--seconds S]

On a GPU also the embedded world's CUDA graphs, and the open checkpoints at their full shapes with random weights, by
every backend, window and decoder (benchmarks/open_checkpoints.py says what is measured; `--open` rehearses that on a
CPU, tiny).

No server and no browser share the cores here (benchmarks/latency.py measures them together). Every case runs in a
process of its own, bound to the cores that its name says.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.report import Figure, at_least, print_table, write

CASE = """
import json, os, sys, time
name = sys.argv[1]
threads, steps, seconds, cores = int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]), int(sys.argv[5])
world_name, sessions = sys.argv[6] or None, int(sys.argv[7])
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
from worldstream.worlds.core import Action
from worldstream.worlds.weights import load_world
world = load_world(world_name, engine=name, threads=threads).with_steps(steps)
rollouts = [world.rollout() for _ in range(sessions)]
for i, rollout in enumerate(rollouts):
    rollout.reset(1 + i, "a forest in the morning")
    for _ in range(12):
        list(rollout.step(Action(forward_m=0.3)))
frames = []
until = time.perf_counter() + seconds
while time.perf_counter() < until:
    started = time.perf_counter()
    stages = {}
    for frame in rollouts[len(frames) % sessions].step(Action(forward_m=0.3, yaw_rad=0.01)):
        stages = frame.stages_ms
    frames.append({**stages, "frame": 1e3 * (time.perf_counter() - started)})
def median(key):
    return sorted(f[key] for f in frames)[len(frames) // 2]
print(json.dumps({"engine": world.engine, "p95": sorted(f["frame"] for f in frames)[int(len(frames) * 0.95)],
                  **{k: median(k) for k in frames[0]}}))
"""
EMBEDDED_FPS = 300.0  # promised of one session on one H100
ENVIRONMENT = {"OMP_WAIT_POLICY": "PASSIVE"}


def measure(
    engine: str, threads: int, steps: int, cores: int, seconds: float, world: str, sessions: int = 1
) -> dict[str, float] | None:
    """Median milliseconds per stage, or None where this engine is not installed. Several sessions draw by turns."""
    numbers = (str(threads), str(steps), str(seconds), str(cores))
    arguments = [sys.executable, "-c", CASE, engine, *numbers, world, str(sessions)]
    done = subprocess.run(arguments, capture_output=True, text=True, env={**os.environ, **ENVIRONMENT}, check=False)
    if done.returncode:
        print(f"{engine}, {threads} threads: {done.stderr.strip().splitlines()[-1] if done.stderr else 'failed'}")
        return None
    answer: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return answer


def cases(
    available: int, step_choices: tuple[int, ...], quick: bool, gpu: bool = False
) -> list[tuple[str, int, int, int]]:
    """(engine, threads, steps, cores): the default of this machine, its ladder, the other engine, and two cores. On a
    GPU its graphs, and of the others one each."""
    best = step_choices[0]
    if gpu:
        other = ("openvino", max(1, available - 1), best, available)
        return [*(("cuda", 1, steps, available) for steps in step_choices[: 1 if quick else None]), other]
    found = [("openvino", max(1, available - 1), best, available), ("eager", max(1, available - 1), best, available)]
    if available > 2:
        found.append(("openvino", 1, best, 2))
        found.append(("openvino", 2, best, 2))
    if not quick:
        found += [("openvino", max(1, available - 1), steps, available) for steps in step_choices[1:]]
        found += [
            ("openvino", threads, best, available) for threads in range(1, available + 1) if threads != available - 1
        ]
        found += [("eager", 1, best, available)]
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="also write the figures here")
    parser.add_argument("--quick", action="store_true", help="two seconds a case, fewer cases")
    parser.add_argument("--world", default="", help="name of the world; the shipped one by default")
    parser.add_argument("--open", action="store_true", help="the open checkpoints too, without a GPU: a rehearsal")
    parser.add_argument("--embedded", action="store_true", help="the embedded world alone, also on a GPU")
    parser.add_argument("--seconds", type=float, help="of the open checkpoints: begin no case after so long")
    arguments = parser.parse_args()
    import torch

    from worldstream.worlds import machine
    from worldstream.worlds.weights import find

    choices = tuple(len(s) for s in find(arguments.world or None).config.step_lists)
    available = machine.cores()
    figures, gpu = [], torch.cuda.is_available()
    for engine, threads, steps, cores in cases(available, choices, arguments.quick, gpu):
        stages = measure(engine, threads, steps, cores, 2.0 if arguments.quick else 8.0, arguments.world)
        if stages is None:
            continue
        label = f"{stages.pop('engine')}, {steps} steps, {threads} threads on {cores} cores"
        fps = 1e3 / stages["frame"]
        limit = {available: 24.0, 2: 15.0}.get(cores)
        name = f"frames/s, {label}"
        first = threads == max(1, cores - 1) and steps == choices[0] and engine == "openvino"
        if engine == "cuda" and steps == choices[0]:
            first, limit = True, EMBEDDED_FPS
        figures.append(at_least(name, fps, "fps", limit) if limit and first else Figure(name, fps, "fps"))
        figures += [Figure(f"  {stage}, {label}", value, "ms") for stage, value in stages.items()]
    if gpu:
        stages = measure("cuda", 1, choices[0], available, 3.0, arguments.world, sessions=4)
        if stages is not None:
            each = 1e3 / stages["frame"] / 4
            figures.append(at_least("frames/s of each of 4 sessions on one GPU", each, "fps", 24.0))
    facts = None
    if (gpu and not arguments.embedded) or arguments.open:
        figures, facts = with_open_checkpoints(figures, arguments.quick, arguments.seconds)
    print_table(figures)
    if arguments.json:
        write(arguments.json, figures, facts)
    return 0


def with_open_checkpoints(
    figures: list[Figure], quick: bool, seconds: float | None
) -> tuple[list[Figure], dict[str, str]]:
    """The figures and those of the open checkpoints, and what these depend on."""
    import torch

    from benchmarks import open_checkpoints

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    small = device.type == "cpu"
    plan = open_checkpoints.REHEARSED if small else open_checkpoints.PLAN
    blocks, most = 2 if small else 6 if quick else 12, seconds or (150.0 if quick else 320.0)
    more = open_checkpoints.figures(plan, device, small, blocks, most)
    return [*figures, *(figure for some in more for figure in some)], open_checkpoints.facts(device, small)


if __name__ == "__main__":
    raise SystemExit(main())
