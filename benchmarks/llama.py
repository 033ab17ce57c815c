"""A Llama-layout model through our backbone against transformers: the same logits, answers and no more time.

    unmask convert gguf SmolLM2-135M-Instruct.Q4_1.gguf --out models/smollm2
    python -m benchmarks.llama models/smollm2 --items 200

The model is exported in the Llama layout and loaded by transformers; both answer the first LAMBADA questions through
lm-evaluation-harness's own classes, ours and its `HFLM`, in turns.
"""

from __future__ import annotations

import statistics
import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks.command import begin, head
from unmask.bench.kit.clock import timed
from unmask.errors import UserError
from unmask.evaluation.lm_eval_adapter import UnmaskLM
from unmask.evaluation.tasks import local_data
from unmask.interop.llama import export_llama
from unmask.model.folder import load
from unmask.model.placement_options import PlacementOptions
from unmask.options import argument, option
from unmask.terminal import say


@dataclass(frozen=True)
class LlamaBenchOptions(PlacementOptions):
    """A Llama-layout model against transformers on LAMBADA."""

    does = "bench_llama"

    model: str = argument("RUN", "a run, a checkpoint or a model folder")
    items: int = option(200, "questions", least=1)
    rounds: int = option(4, "turns that the questions are cut into", least=1)
    batch_size: int = option(8, "of transformers", least=1)
    threads: int = option(0, "0: all cores", least=0)


def bench_llama(options: LlamaBenchOptions) -> dict[str, Any]:
    """Largest difference of logits, LAMBADA accuracy and seconds of both, as JSON values."""
    if options.rounds < 1 or options.items < options.rounds:
        raise UserError(f"items is {options.items} and rounds {options.rounds}; give at least one item a round")
    if options.threads:
        torch.set_num_threads(options.threads)
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = load(options.model, options.device, options.dtype, verify=options.verify)
    if model.kind != "arm" or model.tokenizer is None:
        raise UserError(f"{options.model} is no autoregressive model with a tokenizer; give one that is")
    docs = list(local_data.lambada()["test"].select(range(options.items)))
    requests = [
        Instance("loglikelihood", doc, (doc["context"], doc["continuation"]), 0, (None, None, None)) for doc in docs
    ]
    with tempfile.TemporaryDirectory() as folder:
        exported = export_llama(options.model, Path(folder) / "llama")
        network = AutoModelForCausalLM.from_pretrained(exported, dtype=model.dtype).eval().to(model.device)
        tokenizer = AutoTokenizer.from_pretrained(exported)
    ids = torch.tensor([model.encode(docs[0]["context"])], device=model.device)
    with torch.no_grad():
        difference = float((network(ids).logits.float() - model.network(ids)).abs().max())
    arms = {
        "unmask": UnmaskLM(model=model, progress=False),
        "transformers": HFLM(
            pretrained=network, tokenizer=tokenizer, batch_size=options.batch_size, device=str(model.device)
        ),
    }
    answers: dict[str, list[tuple[float, bool]]] = {name: [] for name in arms}
    seconds: dict[str, list[float]] = {name: [] for name in arms}
    for turn in range(options.rounds):
        part = requests[turn :: options.rounds]
        for name, arm in arms.items():
            answered, taken = timed(partial(arm.loglikelihood, part))
            answers[name] += answered
            seconds[name].append(taken)
        say(f"bench: turn {turn + 1} of {options.rounds}")
    ratios = [b / a for a, b in zip(seconds["unmask"], seconds["transformers"], strict=True)]
    pairs = list(zip(answers["unmask"], answers["transformers"], strict=True))
    return {
        **head("llama", options, model),
        "largest_logit_difference": difference,
        "largest_logprob_difference": max(abs(ours[0] - theirs[0]) for ours, theirs in pairs),
        "accuracy": {name: sum(hit for _, hit in own) / len(own) for name, own in answers.items()},
        "same_answers": sum(ours[1] == theirs[1] for ours, theirs in pairs),
        "seconds": seconds,
        "speedup": statistics.median(ratios),
        "speedup_range": [min(ratios), max(ratios)],
    }


def in_words(result: dict[str, Any]) -> str:
    low, high = result["speedup_range"]
    accuracy = ", ".join(f"{name} {value:.4f}" for name, value in result["accuracy"].items())
    return "\n".join(
        [
            f"largest difference of logits {result['largest_logit_difference']:.1e}, of log-likelihoods "
            f"{result['largest_logprob_difference']:.1e} nats",
            f"LAMBADA accuracy on {result['options']['items']}: {accuracy} ({result['same_answers']} answers the same)",
            f"{result['speedup']:.2f}x ({low:.2f}-{high:.2f}) as fast as transformers, threads {result['threads']}",
        ]
    )


if __name__ == "__main__":
    begin(LlamaBenchOptions, "llama")
