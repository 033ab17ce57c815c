"""`unmask experiment temporal`: trains both kinds of model up to a year, tests them on what was written after it.

    unmask experiment temporal --quick
    unmask experiment temporal --seeds 3 --data packages --jobs 2 --plot

After the paper's comparison of an MDM and an ARM matched on their training distribution (arXiv 2410.18514, "temporal
quality degradation"). `texts.py` says what is trained on and tested on, `analysis.py` how the two are compared.
`--data` is a folder of the packages' files (by default they are fetched into `OUT/packages`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from unmask.data.manifest import Manifest
from unmask.data.options import PrepareOptions
from unmask.data.prepare import prepare
from unmask.data.publish import building
from unmask.errors import UserError
from unmask.evaluation.temporal import LEAST_TOKENS, score_documents
from unmask.experiments.frame import Settings, at_least, experiment
from unmask.experiments.temporal.analysis import LATER, Points, Shift, compute_ratio
from unmask.experiments.temporal.outcome import figure, holds, plot, reading
from unmask.experiments.temporal.texts import CONTROLS, IN_PERIOD, Choice, Test, build
from unmask.experiments.workplace import Workplace, write_lines
from unmask.files import file_sha256
from unmask.model.checkpoints import checkpoints, step_of
from unmask.model.folder import WEIGHTS, load
from unmask.terminal import say

__all__ = ["figure", "holds", "plot", "reading", "run"]
KINDS = ("mdm", "arm")
BITS = float(np.log(2))


@dataclass(frozen=True)
class Planned:
    """A training run: of which corpus, kind and seed, its recipe, and how many steps lie between its points."""

    corpus: str
    kind: str
    seed: int
    recipe: dict[str, Any]
    every: int
    epochs: float

    @property
    def name(self) -> str:
        return f"{self.corpus}-{self.kind}-{self.seed}"


def run(settings: Settings) -> dict[str, Any]:
    """The result. Raises `UserError` for settings, packages and folders that cannot be used."""
    own = experiment("temporal").settings_of(settings)
    check(own)
    place = Workplace(settings, own, "temporal")
    packages = Path(settings.data) if settings.data else place.out / "packages"
    folders = {name: gathered(name, place.out / "data", packages, own) for name in own["corpora"]}
    planned = [
        plan(name, kind, seed, folders[name], own)
        for name in own["corpora"]
        for kind in KINDS
        for seed in (settings.seeds[: int(own["control_seeds"])] if name in CONTROLS else settings.seeds)
    ]
    runs = place.train({training.name: training.recipe for training in planned})
    corpora: dict[str, Any] = {}
    for name in own["corpora"]:
        tests = read_tests(folders[name])
        trained = [training for training in planned if training.corpus == name]
        pointed = {(one.kind, one.seed): points(place, one, runs[one.name], tests, own) for one in trained}
        corpora[name] = described(tests, trained, pointed, own)
    return {"headline": {name: corpus.pop("headline") for name, corpus in corpora.items()}, "corpora": corpora,
            "times": place.times()}  # fmt: skip


def check(own: Mapping[str, Any]) -> None:
    """Raises `UserError` naming the setting that makes no sense."""
    at_least(own, {"checkpoints": 2, "windows": 1, "draws": 2, "bootstrap": 10, "control_seeds": 1})
    if not own["corpora"] or len(set(own["corpora"])) < len(own["corpora"]):
        raise UserError(f"corpora is {own['corpora']}; give each at most once, and one at least")
    for name in ("held_out", "held_out_pages"):
        if not 0 < own[name] < 0.5:
            raise UserError(f"{name} is {own[name]}; give a share between 0 and 0.5")


# ---------------------------------------------------------------------- text


def gathered(name: str, home: Path, packages: Path, own: Mapping[str, Any]) -> Path:
    """The folder of a corpus: its texts, and the same prepared by a tokenizer of the training text alone."""
    folder = home / name
    if not (folder / "tests.jsonl").is_file():
        say(f"temporal: {name}: reading its text")
        shares = own["held_out"], own["held_out_pages"]
        choice = Choice(*shares, tuple(own["sources"]), tuple(own["late_sources"]), own["pages"], 0, own["messages"])
        corpus = build(name, packages, choice)
        home.mkdir(parents=True, exist_ok=True)
        with building(folder, replace=folder.exists()) as partial:
            inside = [test.text for test in corpus.tests if test.in_period]
            write_lines(
                partial / "period.jsonl",
                [{"text": text, "split": "train"} for text in corpus.train]
                + [{"text": text, "split": "validation"} for text in inside],
            )
            write_lines(partial / "tests.jsonl", [vars(test) for test in corpus.tests])
    period, data = str(folder / "period.jsonl"), tokens_of(folder)
    prepare(PrepareOptions([period], data, f"bpe:{own['vocab']}", split="field:split", workers=1))
    return folder


def read_tests(folder: Path) -> list[Test]:
    lines = (folder / "tests.jsonl").read_text(encoding="utf-8").splitlines()
    return [Test(**json.loads(line)) for line in lines]


def tokens_of(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}-tokens")


# ---------------------------------------------------------------------- runs and their points


def plan(corpus: str, kind: str, seed: int, folder: Path, own: Mapping[str, Any]) -> Planned:
    """The recipe of a run: as many steps as its tokens, capped at the epochs allowed, are, with its points even."""
    data = tokens_of(folder)
    there = Manifest.load(data).splits["train"].tokens
    special = {name: value for name, value in own[kind].items() if name != "tokens"}
    objective = {**own["recipe"]["objective"], **special.pop("objective", {}), "kind": kind}
    recipe = {**own["recipe"], **special, "objective": objective, "data": str(data), "seed": seed}
    tokens = min(float(own[kind]["tokens"]), own["most_epochs"] * there)
    every = max(1, int(tokens / (recipe["context"] * recipe["batch_size"] * own["checkpoints"])))
    recipe["steps"] = every * own["checkpoints"]
    recipe["checkpoint"] = {"every": every, "keep": own["checkpoints"] + 1}
    epochs = recipe["steps"] * recipe["context"] * recipe["batch_size"] / there
    return Planned(corpus, kind, seed, recipe, every, epochs)


def points(place: Workplace, training: Planned, folder: Path, tests: Sequence[Test], own: Mapping[str, Any]) -> Points:
    """The tests' bits at each checkpoint of a run, kept checkpoint by checkpoint. nan where a text is too short."""
    trained = place.trained(training.name)
    steps, bits, flops, n_bytes = [], [], [], np.zeros(0)
    for path in checkpoints(folder):
        if (step := step_of(path.name)) % training.every:
            continue

        def score(path: Path = path, step: int = step) -> list[list[float] | None]:
            say(f"temporal: {training.name}: scoring {len(tests)} texts at step {step}")
            scored = score_documents(load(path), [test.text for test in tests], own["windows"], own["draws"])
            return [None if s is None else [s.nats / BITS, s.n_bytes] for s in scored]

        rows = place.kept(f"{training.name}-{step}", score, weights=file_sha256(path / WEIGHTS))
        steps.append(step)
        bits.append([np.nan if row is None else row[0] for row in rows])
        n_bytes = np.array([np.nan if row is None else row[1] for row in rows])
        flops.append(trained["flops"] * step / trained["steps"])
    if len(steps) < 2:
        raise UserError(f"{folder} has {len(steps)} of its {own['checkpoints']} checkpoints left; give another --out")
    return Points(np.array(bits), np.array(flops), n_bytes)


def described(
    tests: Sequence[Test], planned: Sequence[Planned], pointed: Mapping[tuple[str, int], Points], own: Mapping[str, Any]
) -> dict[str, Any]:
    """What a result says of a corpus; its `headline` among it."""
    long = np.flatnonzero(np.isfinite(next(iter(pointed.values())).bytes_N))
    kept = [tests[int(i)] for i in long]
    some = {key: Points(p.bits_PN[:, long], p.flops_P, p.bytes_N[long]) for key, p in pointed.items()}
    seeds = sorted({seed for _, seed in some})
    pairs = [(some["mdm", seed], some["arm", seed]) for seed in seeds]
    shift = Shift([t.group for t in kept], [t.year for t in kept], [t.medium for t in kept], pairs)
    differences = shift.differences(own["bootstrap"])
    period, later = shift.period_N.astype(float), 1.0 - shift.period_N
    headline: dict[str, Any] = {"difference": differences, "slope_per_decade": shift.slopes(own["bootstrap"])}
    for kind in KINDS:
        headline[f"{kind}_shift"] = raw_shift([some[kind, seed] for seed in seeds], shift, own["bootstrap"])
    ratios = [compute_ratio(mdm, arm, shift.period_N) for mdm, arm in pairs]
    return {
        "headline": headline,
        "documents": {"in period": int(period.sum()), "later": int(later.sum()), "too short": len(tests) - len(kept)},
        "bytes": {"in period": int(period @ pairs[0][0].bytes_N), "later": int(later @ pairs[0][0].bytes_N)},
        "least_tokens": LEAST_TOKENS,
        "media": {m: sum(t.medium == m and t.group != IN_PERIOD for t in kept) for m in {t.medium for t in kept} if m},
        "epochs": {f"{training.kind}-{training.seed}": round(training.epochs, 2) for training in planned},
        "compute_ratio_at_equal_loss": ratios,
        "points_compared": [int(at.sum()) for at in shift.usable()],
        "points": [
            {"kind": kind, "seed": seed, "flops": float(flops), IN_PERIOD: float(inside), LATER: float(after)}
            for (kind, seed), p in some.items()
            for flops, inside, after in zip(p.flops_P, p.loss(period), p.loss(later), strict=True)
        ],
    }


def raw_shift(runs: Sequence[Points], shift: Shift, draws: int, seed: int = 0) -> dict[str, Any]:
    """Later less in period at the last point, bits per byte: how much worse one kind gets, whatever the other."""
    rng, drawn, period = np.random.default_rng(seed), [], shift.period_N

    def of(weight_N: np.ndarray, chosen: Sequence[Points]) -> float:
        return float(np.mean([(p.loss(weight_N * ~period) - p.loss(weight_N * period))[-1] for p in chosen]))

    for _ in range(draws):
        weight_N = shift.again(rng)
        drawn.append(of(weight_N, [runs[i] for i in rng.integers(0, len(runs), len(runs))]))
    estimate = of(np.ones(len(period)), runs)
    low, high = np.quantile(drawn, (0.025, 0.975))
    n = len(period)
    return {"estimate": estimate, "low": float(min(low, estimate)), "high": float(max(high, estimate)),
            "n": n * len(runs), "clusters": n, "seeds": len(runs)}  # fmt: skip
