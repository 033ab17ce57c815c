"""The verdict on time, from intervals made by hand."""

from __future__ import annotations

from typing import Any

import pytest

from unmask.experiments.frame import Settings, experiment
from unmask.experiments.temporal import outcome
from unmask.experiments.temporal.texts import IN_PERIOD

Bounds = tuple[float, float] | None


def figure(bounds: tuple[float, float]) -> dict[str, Any]:
    return {"estimate": sum(bounds) / 2, "low": bounds[0], "high": bounds[1], "n": 6, "clusters": 3}


def made(later: Bounds, kernel: Bounds, beyond: Bounds = None) -> dict[str, Any]:
    def head(bounds: Bounds) -> dict[str, Any]:
        return {"difference": {"later": figure(bounds), "later written": figure(bounds)} if bounds else {},
                "slope_per_decade": {}, "mdm_shift": figure((0.3, 0.4)), "arm_shift": figure((0.4, 0.5)),
                "shift_at_equal_flops": figure((-0.2, -0.1))}  # fmt: skip

    points = [
        {"kind": kind, "seed": seed, IN_PERIOD: loss + seed, "later": 3.0, "compared": True, "tokens": tokens}
        for kind, loss, tokens in (("mdm", 2.5, 50), ("mdm", 2.4, 100), ("arm", 2.6, 1), ("arm", 2.1, 6))
        for seed in (0, 1)
    ]
    corpus = {
        "points": points, "points_compared": [2, 1], "compute_ratio_at_equal_loss": [22.0, None],
        "epochs": {"mdm-0": 3.4, "mdm-1": 3.4, "arm-0": 0.2, "arm-1": 0.2}, "clusters": {IN_PERIOD: 28, "later": 106},
        "training_bytes": {"messages": 1, "gcide": 3},
        "media": {"written": {IN_PERIOD: 28, "later": 29}, "spoken": {IN_PERIOD: 0, "later": 96}},
    }  # fmt: skip
    headline = {"speeches": head(later), "kernel": head(kernel), "reversed": head(None)}
    if beyond:
        headline["speeches"]["beyond_control"] = {"reversed": figure(beyond)}
    own = experiment("temporal").settings_of(Settings(None))  # type: ignore[arg-type]
    return {"corpora": {name: corpus for name in headline}, "headline": headline, "settings": own}


@pytest.mark.parametrize(
    ("later", "kernel", "verdict"),
    [
        ((-0.2, -0.1), (-0.1, -0.05), "yes"), ((0.1, 0.2), (0.1, 0.2), "no: "), ((-0.1, 0.1), (-0.1, 0.1), "not seen"),
        ((-0.2, -0.1), (-0.1, 0.1), "in part: messages after 1912 below the line, what is new in Linux 6.12 no diff"),
        (None, (0.1, 0.2), "no: the MDM lies above the ARM's line on later text; messages after 1912: no loss in com"),
        (None, None, "not known: no text can show it; messages after 1912: no loss in common; what is new"),
    ],
)  # fmt: skip
def test_verdicts(later: Bounds, kernel: Bounds, verdict: str) -> None:
    result = made(later, kernel)
    assert outcome.holds(result).startswith(verdict)
    assert "MDM less ARM at equal loss" in outcome.figure(result)


def test_a_gain_that_the_control_has_too_is_not_of_time() -> None:
    result = made((-0.2, -0.1), (-0.1, 0.1), beyond=(-0.05, 0.05))
    words = "not seen: messages after 1912 below the line, but not seen to be more so than in the control (messages"
    assert outcome.holds(result).startswith(words)
    assert "the gain is not of time" in outcome.reading(result)
    assert "less the control's (reversed)" in outcome.figure(result)
    assert outcome.holds(made((-0.2, -0.1), (-0.2, -0.1), beyond=(-0.05, 0.05))).startswith("in part: ")
    more = made((-0.2, -0.1), (-0.1, -0.05), beyond=(-0.2, -0.05))
    assert outcome.holds(more).startswith("yes: ") and "more than on text that is not later" in outcome.reading(more)
    assert "messages after 1912: only some controls beside it" in outcome.holds(more)
    assert "Linux 6.12: no control beside it" in outcome.holds(more)


def test_controls_alone_decide_nothing() -> None:
    result = made(None, None)
    for part in ("corpora", "headline"):
        result[part] = {"reversed": result[part]["reversed"]}
    assert outcome.holds(result) == "not known: only controls were run"
    assert "controls alone" in outcome.figure(result) and "bound" in outcome.reading(result)


def test_the_reading_says_what_the_figures_cannot_carry() -> None:
    text = outcome.reading(made((-0.2, -0.1), None))
    for words in (
        "3 of the MDMs' 4 points lie within", "the MDM had 22 times",
        "not at equal loss (in the period ARM 2.60, MDM 2.90)", "later written ones", "28 written", "gcide 75%",
        "106 clusters (years, folders of pages) on later text", "the sweep's rule",
        "There the MDM had read its text 1.70 to 3.40 times, the ARM 0.07 to 0.10.", "equal loss is not equal reading",
        "says little", "change arm.points",
    ):  # fmt: skip
        assert words in text, words


def test_decades_stand_in_one_table() -> None:
    result = made((-0.2, -0.1), None)
    decades = {f"{year}s": figure((0.1, 0.2)) for year in (1920, 1930, 1940, 1950)}
    result["headline"]["speeches"]["difference"] |= decades
    result["headline"]["reversed"]["difference"] = {"later": figure((0.0, 0.1)), "1790s": figure((-0.2, -0.1))}
    text = outcome.reading(result)
    assert "| Decade | messages after 1912 | control: messages before 1913 |" in text
    assert "| 1790s |  | -0.150 [-0.200, -0.100] |\n| 1920s | +0.150 [+0.100, +0.200] |  |" in text
    assert "By group: 1920s" not in text


def test_text_that_is_no_harder_decides_nothing() -> None:
    result = made((-0.2, -0.1), (0.1, 0.2))
    by_group = {"changed pages": figure((-0.1, 0.0))}
    result["headline"]["kernel"] |= {"arm_shift": figure((-0.04, 0.13)), "arm_shift_by_group": by_group}
    assert outcome.holds(result).startswith("yes: ") and "Linux 6.12: not seen to be harder" in outcome.holds(result)
    text = outcome.reading(result)
    assert "Of the ARM: changed pages -0.05 [-0.10, +0.00]." in text and "says little of who degrades less" in text


def test_what_a_control_differs_in_is_said_with_it() -> None:
    text = outcome.reading(made((-0.1, 0.1), None, beyond=(-0.2, -0.05)))
    assert "of messages before 1913, whose medium runs backwards as well" in text and "no gain is seen" in text
    assert outcome.named("reversed", "later written") == "written ones outside the period"
    names = [outcome.named("speeches", group) for group in ("later", "later written without 1972 to 1974", "in period")]
    assert names == ["all later", "later written ones without 1972 to 1974", "in period"]
