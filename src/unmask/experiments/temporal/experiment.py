"""`unmask experiment temporal`: trains both kinds of model up to a year, tests them on what was written after it.

    unmask experiment temporal --quick
    unmask experiment temporal --seeds 3 --data packages --jobs 2 --plot

After the paper's comparison of an MDM and an ARM matched on their training distribution (arXiv 2410.18514, "temporal
quality degradation"). `texts.py` says what is trained on and tested on, `points.py` what is trained and scored,
`analysis.py` how the two are compared. `--data` is a folder that holds, or shall hold, the packages' files (by default
they are fetched into `OUT/packages`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from unmask.errors import UserError
from unmask.evaluation.temporal import LEAST_TOKENS
from unmask.experiments.frame import Settings, at_least, experiment
from unmask.experiments.temporal.analysis import LATER, Points, Shift, beyond_control, compute_ratio
from unmask.experiments.temporal.folders import Texts, gathered
from unmask.experiments.temporal.outcome import figure, holds, is_decade, reading
from unmask.experiments.temporal.plots import plot
from unmask.experiments.temporal.points import KINDS, Planned, Scored, check_points, longest_first, planned, scores
from unmask.experiments.temporal.texts import CONTROLS, IN_PERIOD, Test
from unmask.experiments.workplace import Workplace

__all__ = ["figure", "holds", "plot", "reading", "run"]


def run(settings: Settings) -> dict[str, Any]:
    """The result. Raises `UserError` for settings, packages and folders that cannot be used."""
    own = experiment("temporal").settings_of(settings)
    check(own)
    packages = settings.packages()
    place = Workplace(settings, own, "temporal")
    torch.set_num_threads(settings.threads)
    packages.mkdir(exist_ok=True)
    texts = {name: gathered(name, place.out / "data", packages, own) for name in own["corpora"]}
    runs = [one for name in own["corpora"] for seed in settings.seeds for one in planned(name, seed, texts[name], own)]
    place.train({one.name: one.recipe for one in longest_first(runs)})
    found = scores(place, runs, texts, own)
    corpora: dict[str, Any] = {}
    shifts: dict[str, Shift] = {}
    for name in own["corpora"]:
        of_it = [one for one in runs if one.corpus == name]
        corpora[name], shifts[name] = described(texts[name], of_it, found, own)
    headline = {name: corpus.pop("headline") for name, corpus in corpora.items()}
    for name, controls in CONTROLS.items():
        beyond = {
            control: less
            for control in controls
            if {name, control} <= set(shifts)
            and (less := beyond_control(shifts[name], shifts[control], own["bootstrap"])) is not None
        }
        if beyond:
            headline[name]["beyond_control"] = beyond
    return {"headline": headline, "corpora": corpora, "times": place.times()}


def check(own: Mapping[str, Any]) -> None:
    """Raises `UserError` naming the setting that makes no sense."""
    at_least(own, {"windows": 1, "draws": 2, "bootstrap": 10})
    if not own["corpora"] or len(set(own["corpora"])) < len(own["corpora"]):
        raise UserError(f"corpora is {own['corpora']}; give each at most once, and one at least")
    for name in ("held_out", "held_out_pages", "warmup"):
        if not 0 < own[name] < 0.5:
            raise UserError(f"{name} is {own[name]}; give a share between 0 and 0.5")
    check_points(own)


def described(
    texts: Texts, runs: Sequence[Planned], found: Mapping[str, Scored], own: Mapping[str, Any]
) -> tuple[dict[str, Any], Shift]:
    """What a result says of a corpus, its `headline` among it; and what that is computed from."""
    tests = texts.tests()
    long = np.flatnonzero(np.isfinite(found[runs[0].name].points.bytes_N))
    kept = [tests[int(i)] for i in long]
    seeds = sorted({one.seed for one in runs})
    by_kind = {kind: {one.seed: one for one in runs if one.kind == kind} for kind in KINDS}
    some = {(one.kind, one.seed): found[one.name].points.of(long) for one in runs}
    pairs = [(some["mdm", seed], some["arm", seed]) for seed in seeds]
    shift = Shift(*columns(kept), pairs)
    headline: dict[str, Any] = {
        "difference": shift.differences(own["bootstrap"]),
        "slope_per_decade": shift.slopes(own["bootstrap"]),
    }
    for kind in KINDS:
        headline[f"{kind}_shift"] = shift.raw([some[kind, seed] for seed in seeds], draws=own["bootstrap"])
        groups = [group for group in dict.fromkeys(shift.groups_N) if group != IN_PERIOD and not is_decade(group)]
        if len(groups) > 1:
            runs_of = [some[kind, seed] for seed in seeds]
            by_group = {group: shift.raw(runs_of, draws=own["bootstrap"], group=group) for group in groups}
            headline[f"{kind}_shift_by_group"] = by_group
    early = [found[by_kind["mdm"][seed].name].equal for seed in seeds]
    equal = [one.of(long) for one in early if one is not None]
    if len(equal) == len(seeds):
        arms = [some["arm", seed] for seed in seeds]
        headline["shift_at_equal_flops"] = shift.raw(equal, arms, draws=own["bootstrap"])
    usable = dict(zip(seeds, shift.usable(), strict=True))
    points = [row for one in runs for row in rows_of(one, some[one.kind, one.seed], shift, usable[one.seed])]
    return {"headline": headline, **counted(texts, tests, kept, shift), "points": points,
            "epochs": {f"{one.kind}-{one.seed}": round(one.epochs, 2) for one in runs},
            "compute_ratio_at_equal_loss": [compute_ratio(mdm, arm, shift.period_N) for mdm, arm in pairs],
            "points_compared": [int(at.sum()) for at in usable.values()]}, shift  # fmt: skip


def columns(tests: Sequence[Test]) -> tuple[list[str], list[int], list[str], list[str]]:
    """Groups, years, media and clusters."""
    return [t.group for t in tests], [t.year for t in tests], [t.medium for t in tests], [t.cluster for t in tests]


def rows_of(run: Planned, points: Points, shift: Shift, usable_M: np.ndarray) -> list[dict[str, Any]]:
    """A run's points; `compared`: whether the MDM's lies within the ARM's reach. The ARM's are its line."""
    inside_P, after_P = points.loss(shift.period_N.astype(float)), points.loss(shift.later_N.astype(float))
    compared = usable_M if run.kind == "mdm" else np.ones(len(run.points), dtype=bool)
    tokens = run.recipe["context"] * run.recipe["batch_size"]
    return [
        {"kind": run.kind, "seed": run.seed, "tokens": step * tokens, "flops": float(flops), IN_PERIOD: float(inside),
         LATER: float(after), "compared": bool(at)}
        for step, flops, inside, after, at in zip(
            run.points, points.flops_P, inside_P, after_P, compared, strict=True)
    ]  # fmt: skip


def counted(texts: Texts, tests: Sequence[Test], kept: Sequence[Test], shift: Shift) -> dict[str, Any]:
    """Documents, their clusters, bytes and media; what the training text is made of."""
    sides = {IN_PERIOD: shift.period_N, LATER: shift.later_N}
    bytes_N = shift.runs[0][0].bytes_N
    media = sorted({t.medium for t in kept if t.medium})
    return {
        "documents": {**{side: int(of.sum()) for side, of in sides.items()}, "too short": len(tests) - len(kept)},
        "clusters": {side: shift.count(of) for side, of in sides.items()},
        "bytes": {side: int(of @ bytes_N) for side, of in sides.items()},
        "media": {m: {side: sum(t.medium == m and t.in_period == (side == IN_PERIOD) for t in kept) for side in sides}
                  for m in media},
        "training_bytes": texts.bytes_by_source, "tests_sha256": texts.tests_sum, "least_tokens": LEAST_TOKENS,
    }  # fmt: skip
