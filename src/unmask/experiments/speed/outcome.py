"""From texts, judgements and times to the answer: does a masked setting lie below the ARM's frontier at no more time?

    rows = rows_of(surveyed, times, plan)                    # a row a setting
    chosen = finalists(rows, "mdm", plan)[:1]
    answer(rows_of(tested, times, plan), {"mdm": chosen[0]}, plan, seeds=3)

A setting is chosen on the survey's words: of those that take no longer than the ARM (median of the ratio, first batch
size) the one with the lowest gap. The headline is its gap on the test words, all seeds of fine-tuning. `yes` needs the
upper ends of the intervals over words, over templates and (with several) over seeds below 0.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from unmask.experiments.speed.frontier import Cell, area, compare, gaps, group_mean, headline, word_draws
from unmask.experiments.speed.plan import ARM, Plan

MOST_TOKENS_PER_PASS = 16.0  # of the area under quality
Key = tuple[str, str]  # role, setting

@dataclass
class Surveyed:
    """A setting's texts with their passes."""

    cell: Cell
    passes: float


def rows_of(survey: Mapping[Key, Surveyed], times: Mapping[str, Any], plan: Plan) -> list[dict[str, Any]]:
    """A row a masked setting: gap to the ARM's frontier, passes, time over the ARM's by batch, the points."""
    arm = next(s for (role, _), s in survey.items() if role == ARM)
    draws_BW = word_draws(arm.cell.nats.shape[2])
    rows = []
    for (role, name), surveyed in survey.items():
        row: dict[str, Any] = {"role": role, "setting": name, "passes": surveyed.passes}
        row["tokens_per_pass"] = plan.written / surveyed.passes
        row["time"] = {batch: timed.get(f"{role}: {name}", {}).get("ratio") for batch, timed in times.items()}
        row["points"] = points_of(surveyed.cell, plan)
        if role != ARM:
            row |= compare(surveyed.cell, arm.cell, draws_BW)
        rows.append(row)
    return rows


def points_of(cell: Cell, plan: Plan) -> list[dict[str, float]]:
    """(temperature, entropy, perplexity) of a frontier: the means over its groups."""
    x, y = cell.curve()
    return [
        {"temperature": t, "entropy": float(x[:, i].mean()), "perplexity": math.exp(float(y[:, i].mean()))}
        for i, t in enumerate(plan.temperatures)
    ]


def takes_no_longer(row: Mapping[str, Any], batch: str) -> bool:
    ratio = row["time"].get(batch)
    return ratio is not None and ratio["median"] <= 1


def finalists(rows: list[dict[str, Any]], role: str, plan: Plan) -> list[str]:
    """Settings of a model worth more texts: the best at no more time (first), then others that none beats in both."""
    batch = str(plan.batches[0])
    own = [row for row in rows if row["role"] == role and row.get("gap") and row["time"].get(batch)]
    own.sort(key=lambda row: row["gap"]["estimate"])
    first = choose(rows, role, plan)
    names = [first] if first is not None else []
    fastest = math.inf
    for row in own:
        if (time := row["time"][batch]["median"]) < fastest:
            fastest = time
            names.append(row["setting"])
    return list(dict.fromkeys(names))[: plan.finalists]


def areas(survey: Mapping[Key, Surveyed], role: str, plan: Plan) -> dict[str, Any]:
    """Area under quality against tokens per pass of a model's settings, with its interval over words."""
    arm = next(s for (r, _), s in survey.items() if r == ARM).cell
    own = [s for (r, _), s in survey.items() if r == role]

    def under(weights_W: np.ndarray | None) -> float:
        points = [(plan.written / s.passes, group_mean(gaps(s.cell, arm, weights_W)[:, 0])) for s in own]
        return area(points, min(MOST_TOKENS_PER_PASS, float(plan.written)))

    n_words = arm.nats.shape[2]
    drawn = np.array([under(weights_W) for weights_W in word_draws(n_words, 200)])
    return dict(headline(under(None), drawn, sum(s.cell.nats.size for s in own), n_words))


def answer(
    tested: list[dict[str, Any]], chosen: Mapping[str, str | None], plan: Plan, seeds: int
) -> dict[str, Any]:
    """{"answer": "yes" or "no", "decided", "words"} from the chosen settings' rows on the test words."""
    batch = str(plan.batches[0])
    parts, yes, decided = [], False, True
    for role, name in chosen.items():
        row = next((r for r in tested if r["role"] == role and r["setting"] == name), None)
        if row is None:
            parts.append(f"{role}: no setting takes at most the ARM's time and shares its entropies")
            decided = False
            continue
        if row.get("gap") is None:
            parts.append(f"{role}: {name}: {row['why']}")
            decided = False
            continue
        ends = [row["gap"], row["over_templates"]] + [row["over_seeds"]] * (seeds > 1)
        below = all(end["high"] is not None and end["high"] < 0 for end in ends)
        above = row["gap"]["low"] is not None and row["gap"]["low"] > 0
        yes, decided = yes or below, decided and (below or above)
        gap, ratio = row["gap"], row["time"][batch]
        where = "below" if below else "above" if above else "not clearly off"
        parts.append(
            f"{role}: {name}, {row['passes']:.1f} passes, {ratio['median']:.2f}x the ARM's time: {where} its frontier, "
            f"{gap['estimate']:+.3f} nats/token [{gap['low']:+.3f}, {gap['high']:+.3f}]"
        )
    return {"answer": "yes" if yes else "no", "decided": bool(yes or decided), "words": "; ".join(parts)}


def choose(rows: list[dict[str, Any]], role: str, plan: Plan) -> str | None:
    """The setting for the headline: the lowest gap on the survey's words at no more time; None where there is none."""
    batch = str(plan.batches[0])
    usable = [r for r in rows if r["role"] == role and r.get("gap") and takes_no_longer(r, batch)]
    return min(usable, key=lambda row: row["gap"]["estimate"])["setting"] if usable else None
