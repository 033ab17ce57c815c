"""From texts, judgements and times to the answer: does a masked setting lie below the ARM's frontier at no more time?

    rows = rows_of(surveyed, times, plan, window)            # a row a setting
    chosen = choices(rows, plan)                             # {"mdm": {"batch 1": {"setting": ..., "why": None}, ...}}
    answer(rows_of(tested, times, plan, window), chosen, "batch 1", seeds=3)

A setting is chosen on the survey's words, once for every `Target`: of those that take no longer (median of the ratio to
the ARM's time) and reach the window of entropy, the one with the lowest gap. What counts is its gap on the test words,
all seeds of fine-tuning. `yes` needs the upper ends of all intervals below 0 (words, templates and seeds together, and
the latter two alone), a decided *no* all lower ends above 0, or no setting that is fast enough; with a further judge
both need its sign too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from unmask.experiments.speed.frontier import (
    Cell,
    Window,
    area,
    compare,
    group_draws,
    group_mean,
    headline,
    measured,
    word_draws,
)
from unmask.experiments.speed.plan import ARM, Plan

MOST_TOKENS_PER_PASS = 16.0  # of the area under quality
SLOW, ELSEWHERE = "all take longer", "none at that time reaches the window of entropy"
Key = tuple[str, str]  # role, setting
Chosen = Mapping[str, Mapping[str, Mapping[str, str | None]]]  # role, label of a target, "setting" and "why"


@dataclass
class Surveyed:
    """A setting's texts with their passes."""

    cell: Cell
    passes: float


@dataclass(frozen=True)
class Target:
    """What a setting is chosen for: at most `limit` of the ARM's time at a batch."""

    label: str
    batch: str
    limit: float


def targets(plan: Plan) -> list[Target]:
    """An answer's for every batch, and those of the claim's two halves at the first; the first is the headline's."""
    own = [Target(f"batch {batch}", str(batch), 1.0) for batch in plan.batches]
    return own + [Target(f"at_{limit:g}", str(plan.batches[0]), limit) for limit in plan.limits]


def window_of(plan: Plan, entropy: float) -> Window:
    """About the true glosses' entropy."""
    return Window(entropy + plan.window[0], entropy, entropy + plan.window[1])


def arms_of(surveyed: Mapping[Key, Surveyed], role: str = ARM) -> list[Cell]:
    """All curves of an autoregressive model's frontier."""
    return [one.cell for (its, _), one in surveyed.items() if its == role]


def rows_of(
    survey: Mapping[Key, Surveyed], times: Mapping[str, Any], plan: Plan, window: Window
) -> list[dict[str, Any]]:
    """A row a setting: passes, time over the ARM's by batch, the points; of a masked one its gap to the frontier, and
    the share of its points that the ARM beats."""
    arms = arms_of(survey)
    theirs = [point for arm in arms for point in points_of(arm, plan)]
    draws_BW = word_draws(arms[0].nats.shape[2])
    rows = []
    for (role, name), surveyed in survey.items():
        row: dict[str, Any] = {"role": role, "setting": name, "passes": surveyed.passes}
        row["tokens_per_pass"] = plan.written / surveyed.passes
        row["time"] = {batch: timed.get(f"{role}: {name}", {}).get("ratio") for batch, timed in times.items()}
        row["points"] = points_of(surveyed.cell, plan)
        if role in plan.masked():
            row |= {**compare(surveyed.cell, arms, window, draws_BW), "beaten": beaten(row["points"], theirs)}
        rows.append(row)
    return rows


def points_of(cell: Cell, plan: Plan) -> list[dict[str, float]]:
    """(temperature, entropy, perplexity) of a frontier: the means over its groups."""
    x, y = cell.curve()
    return [
        {"temperature": t, "entropy": float(x[:, i].mean()), "perplexity": math.exp(float(y[:, i].mean()))}
        for i, t in enumerate(plan.temperatures)
    ]


def beaten(points: Sequence[Mapping[str, float]], theirs: Sequence[Mapping[str, float]]) -> float:
    """The share of points than which some other point has no less entropy and no higher perplexity."""
    lost = [any(o["entropy"] >= p["entropy"] and o["perplexity"] <= p["perplexity"] for o in theirs) for p in points]
    return sum(lost) / len(lost)


def takes_at_most(row: Mapping[str, Any], batch: str, limit: float = 1.0) -> bool:
    ratio = row["time"].get(batch)
    return ratio is not None and ratio["median"] <= limit


def choose(rows: Sequence[Mapping[str, Any]], role: str, target: Target) -> dict[str, str | None]:
    """{"setting", "why"}: the lowest gap on the survey's words at no more time; why says what there is none for."""
    fast = [r for r in rows if r["role"] == role and takes_at_most(r, target.batch, target.limit)]
    usable = [row for row in fast if row.get("gap")]
    if not usable:
        return {"setting": None, "why": ELSEWHERE if fast else SLOW}
    return {"setting": min(usable, key=lambda row: row["gap"]["estimate"])["setting"], "why": None}


def choices(rows: Sequence[Mapping[str, Any]], plan: Plan) -> dict[str, dict[str, dict[str, str | None]]]:
    """By masked role and label of the target."""
    return {role: {t.label: choose(rows, role, t) for t in targets(plan)} for role in plan.masked()}


def finalists(rows: Sequence[Mapping[str, Any]], role: str, plan: Plan) -> list[str]:
    """Settings of a model worth more texts: all that were chosen and, so that areas reach as far, the one of the most
    tokens a pass; then others that none beats in gap and time."""
    batch = str(plan.batches[0])
    chosen = [choose(rows, role, target)["setting"] for target in targets(plan)]
    reach = [row for row in rows if row["role"] == role and row.get("gap")]
    widest = [max(reach, key=lambda row: float(row["tokens_per_pass"]))["setting"]] if reach else []
    names = list(dict.fromkeys(name for name in [*chosen, *widest] if name is not None))
    timed = [row for row in rows if row["role"] == role and row["time"].get(batch)]
    # Where none reaches the window the test words show at least by how much, over the entropies in common.
    by = "gap" if any(row.get("gap") for row in timed) else "gap_common"
    fastest = math.inf
    for row in sorted((row for row in timed if row.get(by)), key=lambda row: float(row[by]["estimate"])):
        if (time := row["time"][batch]["median"]) < fastest:
            fastest = time
            if len(names) < plan.most_finalists(role) and row["setting"] not in names:
                names.append(row["setting"])
    return names


def areas(tested: Mapping[Key, Surveyed], role: str, plan: Plan, window: Window) -> dict[str, Any]:
    """Area under quality against tokens per pass of a model's tested settings, with its interval."""
    arms = arms_of(tested)
    own = [one for (its, _), one in tested.items() if its == role]
    even = np.ones(len(arms[0].seeds))

    def under(weights_W: np.ndarray | None, times_G: np.ndarray) -> float:
        points = [
            (plan.written / one.passes, group_mean(measured(one.cell, arms, window, weights_W)[:, 0], times_G))
            for one in own
        ]
        return area(points, min(MOST_TOKENS_PER_PASS, float(plan.written)))

    n_words, draws = arms[0].nats.shape[2], 200
    pairs = zip(word_draws(n_words, draws), group_draws(arms[0], draws), strict=True)
    drawn = np.array([under(weights_W, times_G) for weights_W, times_G in pairs])
    found = headline(under(None, even), drawn, sum(one.cell.nats.size for one in own), n_words)
    assert found is not None, "an area is always a number"
    return dict(found)


def row_of(rows: Sequence[Mapping[str, Any]], role: str, name: str | None) -> Mapping[str, Any] | None:
    return next((row for row in rows if row["role"] == role and row["setting"] == name), None)


def answer(
    tested: Sequence[Mapping[str, Any]],
    chosen: Chosen,
    target: Target,
    seeds: int,
    further: Sequence[Mapping[str, Any]] | None = None,
) -> dict[str, Any]:
    """{"answer": "yes" or "no", "decided", "words"} from the chosen settings' rows on the test words.

    further: rows of the same texts under one more judge.
    """
    parts, yes, decided = [], False, True
    for role, by_label in chosen.items():
        choice = by_label[target.label]
        row = row_of(tested, role, choice["setting"])
        if row is None:
            parts.append(f"{role}: {choice['why']}")
            decided = decided and choice["why"] == SLOW
            continue
        if row.get("gap") is None:
            parts.append(f"{role}: {row['setting']}: on the test words {row['why']}")
            decided = False
            continue
        where = _where(row, seeds)
        gap, ratio = row["gap"], row["time"][target.batch]
        also = _also(row, further) if further is not None else ""
        if where and further is not None and where not in also:
            where = ""
        yes, decided = yes or where == "below", decided and bool(where)
        parts.append(
            f"{role}: {row['setting']}, {row['passes']:.1f} passes, {ratio['median']:.2f}x the ARM's time: "
            f"{where or 'not clearly off'} its frontier, "
            f"{gap['estimate']:+.3f} nats/token [{gap['low']:+.3f}, {gap['high']:+.3f}]{also}"
        )
    return {"answer": "yes" if yes else "no", "decided": bool(yes or decided), "words": "; ".join(parts)}


def _where(row: Mapping[str, Any], seeds: int) -> str:
    """below, above, or nothing where an interval holds 0 or is not known."""
    ends = [row["gap"], row["over_templates"]] + [row["over_seeds"]] * (seeds > 1)
    if all(end["high"] is not None and end["high"] < 0 for end in ends):
        return "below"
    return "above" if all(end["low"] is not None and end["low"] > 0 for end in ends) else ""


def _also(row: Mapping[str, Any], further: Sequence[Mapping[str, Any]]) -> str:
    """What the further judge says of a row, in words."""
    other = row_of(further, row["role"], row["setting"])
    if other is None or not other.get("gap"):
        return ", no gap under the further judge"
    estimate = other["gap"]["estimate"]
    return f", {'below' if estimate < 0 else 'above'} it under the further judge ({estimate:+.3f})"
