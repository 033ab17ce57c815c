"""Makes what the release before wrote: runs stopped half-way, data, defaults, a trace, results, a sweep half run.

    python tests/frozen/artefacts.py OUT       # needs the extras eval; about two minutes

What lies in `artefacts/` was made at the commit that its `made.json` names; `test_artefacts.py` loads, resumes
and compares it with what came later. It is made anew only where a format is meant to be left behind, in a commit that
says so. No file of it may hold an absolute path: all runs are made within OUT, by relative names.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
import yaml

from unmask._version import __version__
from unmask.model.config import ModelConfig
from unmask.model.folder import save
from unmask.model.number_types import processor_flags, processor_name
from unmask.model.tokenizers import Tokenizer
from unmask.model.transformer import Transformer

TEXT = (
    "The quick brown fox jumps over the lazy dog. A masked model fills in what is hidden. "
    "We hold these truths to be self-evident, that all men are created equal. "
)
HALF, STEPS = 6, 12
PRETRAINING: dict[str, Any] = {
    "data": "data", "context": 16, "batch_size": 4, "steps": STEPS, "threads": 1, "precision": "fp32", "log_every": 1,
    "model": {"n_layer": 1, "n_head": 2, "n_embd": 16}, "objective": {"masking": "fixed"}, "optimizer": {"lr": 3e-3},
    "validation": {"windows": 4, "draws": 2}, "checkpoint": {"every": HALF},
}  # fmt: skip
TUNING: dict[str, Any] = {
    "data": "rows.jsonl", "init": "model", "context": 24, "batch_size": 6, "steps": STEPS, "threads": 1, "log_every": 1,
    "optimizer": {"lr": 3e-3, "warmup": 0}, "validation": {"windows": 4, "draws": 4}, "sft": {"template": "raw"},
    "checkpoint": {"every": HALF}, "precision": "fp32",
}  # fmt: skip
# name: (recipe, ranks)
RUNS: dict[str, tuple[dict[str, Any], int]] = {
    "mdm": ({**PRETRAINING, "ema": 0.9}, 1),
    "arm": ({**PRETRAINING, "objective": {"kind": "arm"}}, 1),
    "sft": (TUNING, 1),
    "lora": ({**TUNING, "lora": {"rank": 2, "alpha": 8}}, 1),
    "ddp": (PRETRAINING, 2),
    "fsdp": ({**PRETRAINING, "parallel": {"kind": "fsdp"}}, 2),
}


def here() -> dict[str, str]:
    """Where bits are the same."""
    flags = hashlib.sha256(" ".join(sorted(processor_flags())).encode()).hexdigest()[:16]
    return {"processor": processor_name(), "flags": flags, "torch": torch.__version__}


def command(*words: str, ranks: int = 1) -> list[str]:
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks)] if ranks > 1 else []
    return [sys.executable, *launcher, "-m", "unmask", *words]


def run(folder: Path, *words: str, ranks: int = 1) -> str:
    """Within the folder, so that names are relative; what was printed."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command(*words, ranks=ranks), cwd=folder, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def outcome(run_folder: Path) -> dict[str, Any]:
    """The last checkpoint's weights by their sum, and the losses of all steps."""
    lines = [json.loads(line) for line in (run_folder / "metrics.jsonl").read_text().splitlines()]
    weights = (run_folder / "checkpoints" / f"step-{STEPS:08d}" / "model.safetensors").read_bytes()
    return {
        "sha256": hashlib.sha256(weights).hexdigest(),
        "train": [line["loss"] for line in lines if line["kind"] == "train"],
        "validation": [line["loss"] for line in lines if line["kind"] == "validation"],
    }


def cut(run_folder: Path) -> None:
    """As if it had been killed right after its first checkpoint."""
    shutil.rmtree(run_folder / "checkpoints" / f"step-{STEPS:08d}")
    metrics = run_folder / "metrics.jsonl"
    lines = metrics.read_text().splitlines(keepends=True)
    metrics.write_text("".join(line for line in lines if json.loads(line).get("step", 0) <= HALF))


def make_texts(folder: Path) -> None:
    (folder / "text").mkdir(parents=True)
    for i in range(20):
        (folder / "text" / f"{i:02d}.txt").write_text(f"Chapter {i}. " + TEXT * (1 + i % 3))
    rows = [{"prompt": f"{i} and 1 is ", "completion": str(i + 1)} for i in range(24)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    tokenizer = Tokenizer.plain_bytes()
    for name, causal in (("model", False), ("twin", True)):
        shape = {"n_layer": 1, "n_head": 2, "n_embd": 16, "block_size": 128, "vocab_size": tokenizer.vocab_size}
        network = Transformer(ModelConfig(**shape, causal=causal, eos_id=tokenizer.eos_id), seed=1)
        save(folder / name, network, tokenizer)


def make_runs(folder: Path) -> dict[str, Any]:
    ends = {}
    (folder / "runs").mkdir()
    for name, (recipe, ranks) in RUNS.items():
        path = folder / f"{name}.yaml"
        path.write_text(yaml.safe_dump({**recipe, "out": f"runs/{name}"}))
        run(folder, "train", path.name, ranks=ranks)
        ends[name] = outcome(folder / "runs" / name)
        cut(folder / "runs" / name)
        path.unlink()
    return ends


def make_results(folder: Path) -> None:
    """A trace, defaults, an evaluation and half of one, a speed table, and a sweep with one of its two runs done."""
    run(folder, "sample", "model", "--prompt", "The", "--length", "12", "--trace", "trace.json")
    words = ["--arm", "twin", "--judge", "twin", "--data", "data-bytes", "--samples", "4", "--rounds", "2"]
    words += ["--gaps", "4", "--length", "8", "--prompt", "4", "--batch", "1", "--no-transformers"]
    words += ["--only", "confidence, L/2 steps"]
    run(folder, "bench", "decode", "model", *words, "--only", "ancestral, L steps", "--out", "decode.json")
    shutil.copytree(folder / "model", folder / "tuned")
    run(folder, "tune", "tuned", "--from", "decode.json")
    run(folder, "eval", "model", "--tasks", "unmask_boolq", "--limit", "4", "--out", "eval.json")
    make_half_an_evaluation(folder)
    settings = {
        "data": "data", "context": 16, "scoring": {"sequences": 8, "draws": 2}, "most_epochs": 50, "precision": "fp32",
        "batch": {"mdm": {"tokens": 64}, "arm": {"tokens": 64}},
        "parts": [{"part": kind, "objective": kind, "sizes": ["16x2"], "tokens": [512]} for kind in ("arm", "mdm")],
    }  # fmt: skip
    (folder / "sweep.yaml").write_text(yaml.safe_dump(settings))
    run(folder, "scale", "plan", "sweep.yaml", "--out", "plan.yaml")
    run(folder, "scale", "run", "plan.yaml", "--out", "sweep", "--only", "arm", "--jobs", "1", "--threads", "1")


def make_half_an_evaluation(folder: Path) -> None:
    """Of two tasks the first is done when it ends; what it leaves goes on by the same command."""
    from unmask.evaluation import lm_eval_adapter
    from unmask.evaluation.benchmarks import evaluate

    whole, asked = lm_eval_adapter.score_pairs, []

    def dies(*args: Any, **options: Any) -> Any:
        asked.append(args)
        if len(asked) == 2:
            raise KeyboardInterrupt
        return whole(*args, **options)

    lm_eval_adapter.score_pairs = dies
    os.chdir(folder)
    try:
        evaluate("model", ["unmask_boolq", "lambada"], limit=4, out="half.json", device="cpu")
    except KeyboardInterrupt:
        pass
    finally:
        lm_eval_adapter.score_pairs = whole


def forget_places(folder: Path) -> None:
    """Absolute paths within the folder become relative to it: who reads these files stands there."""
    for path in folder.rglob("*"):
        if path.name == ".verified.json":  # what was checked where: of that machine
            path.unlink()
        elif path.suffix in (".yaml", ".json", ".jsonl") and str(folder) in (text := path.read_text()):
            path.write_text(text.replace(f"{folder}/", ""))


def main(out: Path) -> None:
    make_texts(out)
    split = ["--split", "random:0.2", "--workers", "1"]
    run(out, "prepare", "text", "--out", "data", "--tokenizer", "bpe:300", *split)
    run(out, "prepare", "text", "--out", "data-bytes", "--tokenizer", "bytes", *split)
    ends = make_runs(out)
    make_results(out)
    git = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short=12", "HEAD"]
    commit = subprocess.run(git, capture_output=True, text=True, check=True)
    made = {"version": __version__, "commit": commit.stdout.strip(), "machine": here(), "ends": ends}
    forget_places(out)
    (out / "made.json").write_text(json.dumps(made, indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
