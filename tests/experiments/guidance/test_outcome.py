"""The verdict on guidance and its words, from intervals made by hand."""

from __future__ import annotations

from typing import Any

from unmask.experiments.guidance import outcome
from unmask.experiments.guidance.scores import TWICE

Bounds = tuple[float, float]


def figure(low: float, high: float) -> dict[str, Any]:
    return {"estimate": (low + high) / 2, "low": low, "high": high, "n": 6300, "clusters": 59}


def way(gain: Bounds, unguided: float = 0.6, chance: float = 0.5, at_chance: bool = False, **less: Bounds) -> Any:
    accuracy = {name: figure(unguided, unguided) for name in ("unguided", "guided", "pmi", "without_prompt")}
    return {
        **{"gain": figure(*gain), "pmi_gain": figure(0, 0.01), "guided_less_pmi": figure(0.01, 0.03)},
        **{name: figure(*bounds) for name, bounds in less.items()},
        **{"accuracy": accuracy, "chance": chance, "at_chance": at_chance},
        "in_range": 0.4 <= unguided <= 0.8 and not at_chance,
        "chosen": {"guidance": ["w=16", TWICE], "pmi": ["pmi 0.5", "pmi 1"], "at_an_end": [True, False]},
    }


def made(tests: int = 2100, seeds: int = 3, **ways: Any) -> dict[str, Any]:
    base = {"name": "mdm-1", "kind": "mdm", "weights_sha256": "a", "tokens": 7.5e7, "flops": 2.56e14,
            "bits_per_byte": figure(1.5, 1.7), "nats_per_token": figure(2.9, 3.1)}  # fmt: skip
    arm = {**base, "name": "arm-1", "kind": "arm", "weights_sha256": "b", "flops": 1.6e13}
    runs = {
        f"{task}-{kind}{dropout}-{seed}": {"epochs": 1 + (kind == "mdm"), "lr": 1e-3, "flops": 1.7e13}
        for task in ways for kind in ("mdm", "arm") for dropout in ("", "-dropout") for seed in range(seeds)
    }  # fmt: skip
    items = {"test": tests, "clusters": {"test": 59}, "effective_clusters": 50.4, "chance": 0.5}
    return {
        **{"headline": {task: {"unsupervised": one} for task, one in ways.items()}, "seeds": list(range(seeds))},
        **{"tasks": {task: {"unsupervised": one} for task, one in ways.items()}},
        **{"items": dict.fromkeys(ways, items), "bases": {"base-mdm-0": base, "base-arm-0": arm}, "fine_tuning": runs},
    }


def test_verdicts() -> None:
    both = outcome.holds(made(headword=way((0.01, 0.03)), continuation=way((0.01, 0.02))))
    assert both.startswith("yes: it gains on headword, continuation; more than PMI on headword (+2.0 [+1.0, +3.0])")
    alone = outcome.holds(made(headword=way((0.01, 0.03)), continuation=way((-0.01, 0.02))))
    assert alone.startswith("in part: it gains on headword; none seen on continuation (+0.5 [-1.0, +2.0])")
    assert "PMI on continuation" not in alone
    assert outcome.holds(made(headword=way((-0.03, -0.01)))) == "no: it loses on headword"
    assert outcome.holds(made(headword=way((-0.03, 0.01)))).startswith("not seen")
    assert "headword +2.0 [+1.0, +3.0] (59 words)" in outcome.figure(made(headword=way((0.01, 0.03))))


def test_a_task_that_can_show_nothing_is_left_out_and_named() -> None:
    blind = way((-0.05, 0.05), unguided=0.5, at_chance=True)
    said = outcome.holds(made(continuation=way((0.01, 0.03)), headword=blind))
    assert said.startswith("yes: it gains on continuation;") and "headword: at chance (50%), says nothing" in said
    easy = outcome.holds(made(headword=way((0.01, 0.03), unguided=0.9)))
    assert easy == "not known: no task can show it; headword: 90% without guidance, outside 40 to 80%, says nothing"


def test_what_others_gain_is_told_as_far_as_it_is_known() -> None:
    unsure = way((0.03, 0.11), guided_less_pmi=(-0.027, 0.089), gain_less_arm=(-0.05, -0.01))
    said = outcome.holds(made(continuation=unsure))
    assert "no difference from PMI seen on continuation (+3.1 [-2.7, +8.9])" in said
    assert "an ARM that leaves the prompt out gains more on continuation (-3.0 [-5.0, -1.0])" in said
    said = outcome.holds(made(continuation=way((0.03, 0.11), gain_less_standard=(0.01, 0.02))))
    assert "more than standard guidance on continuation" in said and "ARM" not in said


def test_a_first_look_says_so() -> None:
    few = made(tests=400, seeds=1, continuation=way((0.01, 0.03)))
    assert outcome.holds(few).endswith("under 2,000 items: continuation 400; 1 of 3 seeds")
    assert "A first look, no result: under 2,000 items: continuation 400; 1 of 3 seeds." in outcome.reading(few)
    assert "first look" not in outcome.reading(made(continuation=way((0.01, 0.03))))


def test_the_reading_tells_chance_the_grid_and_what_models_cost() -> None:
    text = outcome.reading(made(continuation=way((0.01, 0.03), gain_less_arm=(-0.01, 0.01))))
    for words in (
        "2,100 items of 59 documents, in effect 50; a blind guess has 50%",
        "| MDM, unsupervised | 60.0% [60.0, 60.0] | 60.0% [60.0, 60.0] | 16†, 0 | 60.0% [60.0, 60.0] | +2.0 [+1.0,",
        "| PMI's gain | less PMI | less an ARM that leaves the prompt out |",
        "mdm-1 (MDM) at most 1.600 [1.500, 1.700] bits/byte",
        "3.00 nats/token, 7.50e+07 tokens, 2.56e+14 FLOPs", "The MDM had 16 times the ARM's FLOPs",
        "MDM on continuation 2 epochs, 1.70e+13 FLOPs; ARM on continuation 1 epoch, 1.70e+13 FLOPs;", "rate 0.001",
        "Seeds are of fine-tuning on one base of each kind",
    ):  # fmt: skip
        assert words in text, words
    unknown = made(continuation=way((0.01, 0.03)))
    unknown["bases"]["base-arm-0"] = {**unknown["bases"]["base-arm-0"], "flops": None}
    assert "unknown FLOPs" in outcome.reading(unknown) and "times the ARM's" not in outcome.reading(unknown)
