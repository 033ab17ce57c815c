"""Ways to train take turns."""

from __future__ import annotations

import dataclasses

from unmask.training.fastest import arms_of, ways_of
from unmask.training.trial import Crew, Way, rounds, survivors


def test_survivors_are_those_whose_best_turn_is_near_the_leaders_median():
    rates = {"a": [10.0, 11.0, 12.0], "b": [5.0, 9.9], "c": [1.0, 2.0], "d": [8.0]}
    assert survivors(rates, 0.9) == ["a", "b"]
    assert survivors(rates, 0.7) == ["a", "b", "d"]
    assert survivors({"a": [3.0]}, 1.0) == ["a"]


def test_ratios_are_of_the_rounds_in_which_both_ran():
    ways = ways_of(1, False)[:1] + [Way("fp32", True, 1, 1, {1: 30.0, 2: 40.0}), Way("bf16", True, 1, 1, stopped="no")]
    ways[0].rates = {0: 1.0, 1: 10.0, 2: 20.0}
    base, compiled, unmeasured = arms_of(ways)
    assert (base.ratio, base.tokens_per_second) == (1.0, 10.0)
    assert (compiled.ratio, compiled.q1, compiled.q3) == (2.5, 32.5, 37.5)
    assert (unmeasured.tokens_per_second, unmeasured.stopped) == (0.0, "no")


def test_rounds_stop_who_falls_behind_but_never_the_base(recipe, monkeypatch):
    speed = {"base": 1.0, "good": 10.0, "near": 9.0, "bad": 2.0}
    crews = [Crew(Way(name, False, 1, 1), recipe) for name in speed]
    order = []

    def turn(crew: Crew, index: int) -> None:
        order.append((index, crew.way.precision))
        crew.way.rates[index] = speed[crew.way.precision]

    monkeypatch.setattr(Crew, "turn", turn)
    rounds(crews, first=0, count=3, share=0.85, until=float("inf"))
    assert [len(crew.way.rates) for crew in crews] == [3, 3, 3, 1]
    assert [crew.way.stopped for crew in crews] == ["", "", "", "behind after round 1"]
    assert [name for index, name in order if index == 1] == ["good", "near", "base"]
    order.clear()
    rounds(crews, first=3, count=9, share=0.85, until=0.0)
    assert max(index for index, _ in order) == 5  # three rounds where the time is over


def test_a_process_that_fails_is_told_in_its_row(recipe):
    crew = Crew(Way("fp32", False, 1, 1), dataclasses.replace(recipe, context=1 << 13))
    crew.start(1)
    crew.ask(0.0, 1)
    assert crew.answers() is None
    assert "context 8192 is longer" in crew.way.stopped
    slow = Crew(Way("fp32", False, 1, 1), recipe)
    slow.start(1)
    slow.ask(30.0, 1)
    assert slow.answers(within=0.1) is None and slow.way.stopped == "took too long"


def test_where_no_way_was_ready_in_time_there_are_no_rounds(recipe):
    crew = Crew(Way("fp32", False, 1, 1, stopped="took too long"), recipe)
    rounds([crew], 0, 2, 0.5, until=0.0)
    assert not crew.way.rates
