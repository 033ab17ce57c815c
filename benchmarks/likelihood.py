"""How long a likelihood takes, our way and the reference's, on the same model and the same questions.

    python -m benchmarks.likelihood runs/mdm --items 16 --out score.json

Two tables from one run, the arms in turns:

1. *Monte Carlo at equal error.* Real HellaSwag and LAMBADA items. Truth is the exact NELBO where an answer is short
   enough to enumerate, and else a long run whose own error is told. The reference draws 32 Bernoulli masks a request
   (and 128; the paper takes 1,024), one request at a time, logits everywhere. Ours is asked with fewer and fewer draws;
   the fewest whose root mean square error is still no larger is the one whose time is compared.
2. *The chain rule*, random weights of the paper's sizes and a vocabulary of 32,000: one request at a time with logits
   everywhere, batched with logits everywhere, and ours. The head alone bounds what leaving out logits can gain.

Several `--dtype` are measured against each other, with errors in nats, in place of these tables (`number_types.py`).
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import compress
from typing import Any

import numpy as np
import torch

from benchmarks.command import begin, head, written
from benchmarks.number_types import likelihood, likelihood_in_words, random_model, random_pairs
from benchmarks.reference_likelihood import batched_chain_everywhere, reference_bound, reference_chain
from unmask.bench.kit.turns import in_turns
from unmask.errors import UserError
from unmask.evaluation.tasks import local_data
from unmask.likelihood.estimators import Estimator
from unmask.likelihood.methods.exact import EXACT_LIMIT
from unmask.likelihood.pairs import Pair
from unmask.likelihood.passes import CPU_BATCH_TOKENS
from unmask.likelihood.scoring import score_pairs
from unmask.model.folder import Model, load
from unmask.model.placement import check_types
from unmask.model.placement_options import TypesOptions
from unmask.model.presets import preset
from unmask.options import argument, option
from unmask.terminal import say

OUR_DRAWS = (3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128)
LONG_RUN = 2048  # draws of the truth where it cannot be enumerated


@dataclass(frozen=True)
class LikelihoodBenchOptions(TypesOptions):
    """Likelihoods: our way against the reference's, at equal error; of several types these against each other."""

    does = "bench_likelihood"

    model: str = argument("RUN", "a run, a checkpoint or a model folder")
    items: int = option(12, "questions of each benchmark", least=1)
    draws: list[int] = option([32, 128], "masks of the reference; repeatable", least=1)
    repeats: int = option(5, "seeds for the errors", least=2)
    rounds: int = option(3, "turns for the times", least=1)
    sizes: list[str] = option(["6M", "19M"], "of the chain rule's models; repeatable", flag="--size")
    chain_items: int = option(4, "requests of each benchmark for the chain rule", least=1)
    seed: int = option(0, "of the masks")
    threads: int = option(0, "0: all cores", least=0)
    out: str | None = option(None, "the result as JSON", metavar="FILE")


def bench_likelihood(options: LikelihoodBenchOptions) -> dict[str, Any]:
    """Both tables as JSON values; written to `out` where given."""
    check_types(options.dtype, options.device)
    if options.threads:
        torch.set_num_threads(options.threads)
    models = {name: load(options.model, options.device, name, verify=options.verify) for name in options.dtype}
    model = models[options.dtype[0]]
    if model.kind != "mdm" or model.tokenizer is None:
        raise UserError(f"{options.model} is no masked diffusion model with a tokenizer; give one that is")
    questions = {"hellaswag": hellaswag_pairs(model, options.items), "lambada": lambada_pairs(model, options.items)}
    result = head("score", options, model)
    shapes = [pair for pairs in questions.values() for pair in pairs[: options.chain_items]]
    if len(models) > 1:
        result["types"] = types(models, questions, shapes, options)
    else:
        result["monte_carlo"] = {name: monte_carlo(model, pairs, options) for name, pairs in questions.items()}
        result["chain_rule"] = {size: chain_rule(size, shapes, options) for size in options.sizes}
    return written(result, options.out)


def types(
    models: dict[str, Model], questions: dict[str, list[Pair]], shapes: list[Pair], options: LikelihoodBenchOptions
) -> list[dict[str, Any]]:
    """The model's likelihoods of real questions in each type, then random weights of the paper's sizes."""
    rows = []
    for name, pairs in questions.items():
        rows += likelihood(models, pairs, options.rounds, options.seed, name)
    for size in options.sizes:
        config = preset(size, vocab_size=32000, causal=False)
        held = {name: random_model(config, options.device, name) for name in models}
        rows += likelihood(held, random_pairs(config, shapes, options.seed), options.rounds, options.seed, size)
    return rows


def hellaswag_pairs(model: Model, items: int) -> list[Pair]:
    """The four endings of each question."""
    docs = local_data.hellaswag()["validation"].select(range(items))
    texts = [(doc["query"], f" {choice}") for doc in docs for choice in doc["choices"]]
    return fitting(model, texts)


def lambada_pairs(model: Model, items: int) -> list[Pair]:
    docs = local_data.lambada()["test"].select(range(items))
    return fitting(model, [(doc["context"], doc["continuation"]) for doc in docs])


def fitting(model: Model, texts: list[tuple[str, str]]) -> list[Pair]:
    """Those whose answer fits the model at once."""
    made = (Pair.make_pieces(model, *text, index=i) for i, text in enumerate(texts))
    return [pieces[0] for pieces in made if len(pieces) == 1]


def monte_carlo(model: Model, pairs: list[Pair], options: LikelihoodBenchOptions) -> dict[str, Any]:
    """Errors and times of both ways on these pairs."""
    say(f"bench: truth of {len(pairs)} requests")
    short = [pair.n_tokens <= EXACT_LIMIT - 3 for pair in pairs]
    exact = iter(score_pairs(model, list(compress(pairs, short)), Estimator("exact")))
    others = [pair for pair, is_short in zip(pairs, short, strict=True) if not is_short]
    long = iter(score_pairs(model, others, Estimator("mc-fixed", LONG_RUN), seed=options.seed + 10_000))
    truths = [next(exact if is_short else long) for is_short in short]
    truth = np.array([-exact_score.logprob for exact_score in truths])

    def reference(draws: int, seed: int) -> np.ndarray:
        return np.array([reference_bound(model, pair, draws, seed * 7919 + i) for i, pair in enumerate(pairs)])

    def ours(draws: int, seed: int) -> np.ndarray:
        scores = score_pairs(model, pairs, Estimator("mc-fixed", draws), seed=seed)
        return -np.array([score.logprob for score in scores])

    say("bench: errors")
    seeds = [options.seed + 1 + r for r in range(options.repeats)]
    ours_rmse = {draws: rmse([ours(draws, seed) - truth for seed in seeds]) for draws in OUR_DRAWS}
    against = []
    for theirs in options.draws:
        theirs_rmse = rmse([reference(theirs, seed) - truth for seed in seeds])
        enough = [draws for draws in OUR_DRAWS if ours_rmse[draws] <= theirs_rmse]
        draws = min(enough) if enough else max(OUR_DRAWS)
        arms = {"reference": partial(reference, theirs, 1), "ours": partial(ours, draws, 1)}
        times = in_turns(arms, options.rounds, f"{draws} draws against {theirs}")
        ratios = (times["reference"] / times["ours"]).tolist()
        against.append(
            {
                "reference": {"draws": theirs, "rmse": theirs_rmse, "seconds": times["reference"].tolist()},
                "ours": {"draws": draws, "rmse": ours_rmse[draws], "seconds": times["ours"].tolist()},
                "equal_error_reached": bool(enough),
                "speedup": statistics.median(ratios),
                "speedup_range": [min(ratios), max(ratios)],
            }
        )
    return {
        "requests": len(pairs),
        "answer_tokens": [pair.n_tokens for pair in pairs],
        "truth_se": float(np.sqrt(np.mean([exact_score.se**2 for exact_score in truths]))),
        "truth_enumerated": sum(short),
        "ours_rmse_by_draws": {str(draws): value for draws, value in ours_rmse.items()},
        "against": against,
    }


def chain_rule(size: str, shapes: list[Pair], options: LikelihoodBenchOptions) -> dict[str, Any]:
    """Times of the three ways on random weights and random tokens, as long as the real requests."""
    config = preset(size, vocab_size=32000, causal=False)
    model = random_model(config, options.device, options.dtype[0])
    pairs = random_pairs(config, shapes, options.seed)
    say(f"bench: chain rule at {size}, {sum(pair.n_tokens for pair in pairs)} answer tokens")
    estimator = Estimator("chain-rule")
    arms: dict[str, Callable[[], Any]] = {
        "reference": lambda: np.array([reference_chain(model, pair) for pair in pairs]),
        "batched, logits everywhere": lambda: batched_chain_everywhere(model, pairs, CPU_BATCH_TOKENS),
        "ours": lambda: -np.array([exact_score.logprob for exact_score in score_pairs(model, pairs, estimator)]),
    }
    values = [arm() for arm in arms.values()]
    times = in_turns(arms, options.rounds, f"chain rule at {size}")
    result: dict[str, Any] = {
        "requests": len(pairs),
        "answer_tokens": sum(pair.n_tokens for pair in pairs),
        "largest_difference_nats": float(max(abs(value - values[-1]).max() for value in values)),
        "head_alone_bound": 1 + config.vocab_size * config.n_embd / config.n_params_non_embedding,
        "seconds": {name: taken.tolist() for name, taken in times.items()},
    }
    for name in list(arms)[:-1]:
        ratios = (times[name] / times["ours"]).tolist()
        result[f"speedup over {name}"] = {"median": statistics.median(ratios), "range": [min(ratios), max(ratios)]}
    return result


def rmse(errors: Sequence[np.ndarray]) -> float:
    return math.sqrt(float(np.mean(np.square(np.stack(errors)))))


def in_words(result: dict[str, Any]) -> str:
    lines = [f"threads {result['threads']}", ""]
    if "types" in result:
        return "\n".join([*lines, *likelihood_in_words(result["types"])])
    lines.append("Monte Carlo at equal error (nats)")
    lines.append(f"{'benchmark':<10} {'reference':>22} {'ours':>22} {'faster':>18}")
    for name, measured in result["monte_carlo"].items():
        for arms in measured["against"]:
            cells = [f"{arm['draws']} draws, rmse {arm['rmse']:.2f}" for arm in (arms["reference"], arms["ours"])]
            note = "" if arms["equal_error_reached"] else " (error not reached)"
            low, high = arms["speedup_range"]
            lines.append(
                f"{name:<10} {cells[0]:>22} {cells[1]:>22} {arms['speedup']:>6.1f}x ({low:.1f}-{high:.1f}){note}"
            )
    lines += ["", "chain rule, random weights, V = 32,000"]
    for size, part in result["chain_rule"].items():
        for name, value in part.items():
            if name.startswith("speedup"):
                low, high = value["range"]
                what = name.removeprefix("speedup over ")
                lines.append(f"{size:<6} {value['median']:.2f}x ({low:.2f}-{high:.2f}) faster than {what}")
        lines.append(f"{'':<6} leaving out logits alone can give {part['head_alone_bound']:.2f}x")
    return "\n".join(lines)


if __name__ == "__main__":
    begin(LikelihoodBenchOptions, "likelihood")
