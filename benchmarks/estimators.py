"""Bias, variance and time of every estimator on real text, and whether the stated standard errors are honest.

    python -m benchmarks.estimators runs/mdm --data data/sotu --items 24 --out study.json --plot docs/likelihood.png

Held-out text in pieces: a context and `--length` tokens to score, few enough that the NELBO is known exactly by
enumeration. Each estimator is asked with several seeds. Bias and spread are in nats against that exact value (for
left-to-right chains the difference is not an error: they answer another question). Coverage is the share of 95%
intervals (Student's t over groups) that hold the exact value; `--until-se` is checked apart, since it stops by what it
sees.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.command import begin, head, written
from unmask.bench.kit.clock import timed
from unmask.data.shards import TokenData
from unmask.errors import UserError
from unmask.likelihood.estimators import Estimator
from unmask.likelihood.methods.exact import EXACT_LIMIT
from unmask.likelihood.pairs import Pair, make_pairs
from unmask.likelihood.scoring import Score, score_pairs
from unmask.model.folder import Model, load
from unmask.model.placement_options import PlacementOptions
from unmask.options import NEEDED, argument, option
from unmask.statistics import interval
from unmask.style import BLUE, GREY, RED, TEAL, drawn
from unmask.terminal import say

SETTINGS = [
    *(("mc-bernoulli", "left-to-right", draws) for draws in (16, 32, 64, 128)),
    *(("mc-fixed", "left-to-right", draws) for draws in (16, 32, 64, 128)),
    *(("chain-rule", "random", draws) for draws in (2, 4, 8)),
    *(("order-mixture", "left-to-right", draws) for draws in (2, 4, 8)),
    ("chain-rule", "left-to-right", None),
]
COLOURS = {"mc-bernoulli": RED, "mc-fixed": TEAL, "chain-rule random": BLUE, "order-mixture": GREY}


@dataclass(frozen=True)
class StudyOptions(PlacementOptions):
    """Bias, variance, coverage and time of every estimator on real text."""

    does = "study"

    model: str = argument("RUN", "a run, a checkpoint or a model folder")
    data: str = option(NEEDED, "prepared data; its validation split is scored", metavar="FOLDER")
    items: int = option(24, "pieces of text", least=2)
    length: int = option(11, "tokens to score of each; at most 12", least=1)
    repeats: int = option(20, "seeds", least=2)
    until_se: float = option(1.0, "the stopping rule to check", metavar="NATS", above=0)
    seed: int = option(0, "of the masks")
    threads: int = option(0, "0: all cores", least=0)
    out: str | None = option(None, "the result as JSON", metavar="FILE")
    plot: str | None = option(None, "and as a picture", metavar="FILE")


def study(options: StudyOptions) -> dict[str, Any]:
    """The study as JSON values; written to `out` and drawn to `plot` where given."""
    if not 2 <= options.length <= EXACT_LIMIT:
        raise UserError(f"length is {options.length}; give 2 to {EXACT_LIMIT}, so that the exact value can be had")
    if options.threads:
        torch.set_num_threads(options.threads)
    model = load(options.model, options.device, options.dtype, verify=options.verify)
    if model.kind != "mdm":
        raise UserError(f"{options.model} is autoregressive, its likelihood exact; give a masked diffusion model")
    pairs = pieces(model, options)
    say(f"bench: exact NELBO of {len(pairs)} pieces of {options.length} tokens")
    exact = np.array([-exact_score.logprob for exact_score in score_pairs(model, pairs, Estimator("exact"))])
    rows = []
    for method, order, draws in SETTINGS:
        estimator = Estimator(method, draws, order)
        say(f"bench: {method} {order if method == 'chain-rule' else ''} {draws or ''}")
        rows.append({"method": method, "order": order, "draws": draws, **ask(model, pairs, exact, estimator, options)})
    say(f"bench: until-se {options.until_se}")
    stopped = ask(model, pairs, exact, Estimator("mc-fixed"), options, options.until_se)
    result = {
        **head("estimators", options, model),
        "exact_nats": exact.tolist(),
        "rows": rows,
        "until_se": {"wanted": options.until_se, **stopped},
    }
    if options.plot is not None:
        draw(result, Path(options.plot))
    return written(result, options.out)


def pieces(model: Model, options: StudyOptions) -> list[Pair]:
    """Held-out text, spread evenly: what precedes `length` tokens, and these."""
    data = TokenData(options.data, "validation")
    context = model.config.block_size
    places = np.linspace(0, data.n_tokens - context, options.items).astype(int)
    rows = [data.read(int(place), context).tolist() for place in places]
    return make_pairs(model, [(row[: -options.length], row[-options.length :]) for row in rows])


def ask(
    model: Model,
    pairs: list[Pair],
    exact: np.ndarray,
    estimator: Estimator,
    options: StudyOptions,
    until_se: float | None = None,
) -> dict[str, Any]:
    """Bias, spread, coverage and time of one way to ask, over seeds."""
    repeats = options.repeats if estimator.sampled else 1
    seeds = [options.seed + 1 + repeat for repeat in range(repeats)]

    def scores() -> list[list[Score]]:
        return [score_pairs(model, pairs, estimator, seed=seed, until_se=until_se) for seed in seeds]

    repeated, seconds = timed(scores)
    nats_RN = np.array([[-score.logprob for score in scores] for scores in repeated])
    errors_RN = nats_RN - exact
    passes = float(np.mean([[score.draws for score in scores] for scores in repeated]))
    if estimator.method in ("chain-rule", "order-mixture"):
        passes = options.length * max(1.0, passes)
    row: dict[str, Any] = {
        "bias": float(errors_RN.mean()),
        "bias_se": float(errors_RN.mean(0).std(ddof=1) / math.sqrt(len(pairs))) if repeats == 1 else spread(errors_RN),
        "sd": float(np.sqrt(errors_RN.var(0, ddof=1).mean())) if repeats > 1 else 0.0,
        "rmse": float(np.sqrt((errors_RN**2).mean())),
        "passes": passes,
        "seconds": seconds / repeats / len(pairs),
    }
    row["bias_interval"] = interval(row["bias"], row["bias_se"], 1 + len(pairs) * max(1, repeats - 1))
    if estimator.sampled:
        sampled = [(s, e) for scores in repeated for s, e in zip(scores, exact, strict=True) if s.groups]
        held = [s.interval[0] <= -e <= s.interval[1] for s, e in sampled]
        row |= {
            "stated_se": float(np.sqrt(np.mean([s.se**2 for s, _ in sampled]))) if sampled else 0.0,
            "coverage": float(np.mean(held)) if held else 1.0,
            "coverage_se": float(np.sqrt(np.mean(held) * (1 - np.mean(held)) / len(held))) if held else 0.0,
            "intervals": len(held),
        }
        row["coverage_interval"] = interval(row["coverage"], row["coverage_se"], len(held))
    return row


def spread(errors_RN: np.ndarray) -> float:
    """Standard error of the mean error: seeds are independent, pieces too."""
    return float(np.sqrt(errors_RN.var(0, ddof=1).mean() / errors_RN.size))


def draw(result: dict[str, Any], path: Path) -> None:
    """Root mean square error against time, and coverage."""
    from matplotlib import ticker

    with drawn(path, 10, 3.8, columns=2) as (_, grid):
        left, right = grid[0]
        for name, colour in COLOURS.items():
            rows = [row for row in result["rows"] if label(row) == name]
            style = {"color": colour, "label": name}
            left.plot([1000 * row["seconds"] for row in rows], [row["sd"] for row in rows], "o-", **style)
            for row in rows:
                where = {"xytext": (5, 4), "textcoords": "offset points", "fontsize": 8, "color": colour}
                left.annotate(str(row["draws"]), (1000 * row["seconds"], row["sd"]), **where)
            if name != "order-mixture":
                passes, coverage = ([row[key] for row in rows] for key in ("passes", "coverage"))
                errors = [2 * row["coverage_se"] for row in rows]
                right.errorbar(passes, coverage, errors, fmt="o-", capsize=3, **style)
        left.set(xscale="log", yscale="log", xlabel="CPU milliseconds a text", ylabel="standard deviation, nats")
        left.set_title("Spread against time (numbers: draws or orders)", fontsize=10)
        right.axhline(0.95, color=GREY, linewidth=1, linestyle="--")
        right.set(xscale="log", xlabel="passes a text", ylabel="intervals that hold the exact value")
        right.xaxis.set_major_formatter(ticker.ScalarFormatter())
        right.set_xticks([16, 32, 64, 128], minor=False)
        right.xaxis.set_minor_locator(ticker.NullLocator())
        right.set_title("Coverage of the stated 95% intervals", fontsize=10)
        left.legend(fontsize=9)


def label(row: dict[str, Any]) -> str:
    return f"{row['method']} {row['order']}" if row["method"] == "chain-rule" else row["method"]


def in_words(result: dict[str, Any]) -> str:
    mean = float(np.mean(result["exact_nats"]))
    lines = [f"exact NELBO {mean:.2f} nats a text on average, {len(result['exact_nats'])} texts"]
    lines.append(
        f"{'method':<28} {'draws':>5} {'bias':>16} {'sd':>7} {'stated':>7} {'coverage':>15} {'passes':>7} {'ms':>8}"
    )
    rows = [*result["rows"], {"method": "mc-fixed, until-se", "order": "", "draws": None, **result["until_se"]}]
    for row in rows:
        stated = f"{row['stated_se']:.2f}" if "stated_se" in row else "-"
        covered = f"{row['coverage']:.1%} of {row['intervals']}" if "coverage" in row else "-"
        bias = f"{row['bias']:+.3f} ({row['bias_se']:.3f})"
        lines.append(
            f"{label(row):<28} {row['draws'] or '-':>5} {bias:>16} {row['sd']:>7.3f} {stated:>7} {covered:>15} "
            f"{row['passes']:>7.0f} {1000 * row['seconds']:>8.2f}"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    begin(StudyOptions, "estimators")
