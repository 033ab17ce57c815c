"""Experiments by name, their settings, and figures with intervals.

make test ARGS=tests/experiments/test_frame.py
"""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments.pretending import FIGURE
from unmask.errors import UserError
from unmask.experiments import frame
from unmask.experiments.frame import Experiment, Settings, experiment, experiments, figures, merged, seeds_of


def test_every_experiment_has_a_claim_and_the_time_of_each_size() -> None:
    for one in experiments().values():
        assert one.claim and set(one.time) == set(frame.SIZES)
        for size in ("quick", "full"):
            merged(one.fields["settings"], one.fields.get(size) or {}, size)  # overrides name settings that exist


def test_an_unknown_name_suggests_the_nearest(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {"reversal": Experiment("reversal", "", {})}
    monkeypatch.setattr(frame, "experiments", lambda: known)
    with pytest.raises(UserError, match="did you mean 'reversal'"):
        experiment("reversl")


def test_settings_of_a_size_and_of_the_command_line() -> None:
    one = Experiment("x", "", {}, {"settings": {"a": 1, "b": {"c": "w", "d": None}}, "quick": {"b": {"c": "v"}}})
    assert one.settings_of(Settings(Path("o"))) == {"a": 1, "b": {"c": "w", "d": None}}
    quick = Settings(Path("o"), quick=True, changes=("b.d=[1, 2]", "a=2.5"))
    assert one.settings_of(quick) == {"a": 2.5, "b": {"c": "v", "d": [1, 2]}}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("a", "KEY=VALUE"),
        ("e=1", "e is no setting"),
        ("b=1", "b is a group"),
        ("b.cc=1", "did you mean 'c'"),
        ("b.c=3", "give text"),
        ("a=[1]", "give a number"),
    ],
)
def test_settings_that_are_none_are_one_line(change: str, words: str) -> None:
    one = Experiment("x", "", {}, {"settings": {"a": 1, "b": {"c": "w"}}})
    with pytest.raises(UserError, match=words):
        one.settings_of(Settings(Path("o"), changes=(change,)))


def test_an_option_that_would_be_passed_over_is_refused() -> None:
    with_stage, with_base = Settings(Path("o"), until="choice"), Settings(Path("o"), base=("runs/mdm",))
    for name, settings, line in (
        ("guidance", with_stage, "--until does not go with guidance: it has no stage to stop after; leave it out"),
        ("speed", with_stage, "--until does not go with speed"),
        ("temporal", with_base, "--base does not go with temporal: it trains all its models itself; leave it out"),
    ):
        with pytest.raises(UserError, match=line):
            experiment(name).refuse_untaken(settings)
    experiment("reversal").refuse_untaken(with_stage)
    for name in ("reversal", "guidance", "speed"):
        experiment(name).refuse_untaken(with_base)


def test_packages_lie_in_the_folder_that_is_given_or_beside_the_runs(tmp_path: Path) -> None:
    assert Settings(out=tmp_path).packages() == tmp_path / "packages"
    assert Settings(out=tmp_path, data=str(tmp_path)).packages() == tmp_path
    (tmp_path / "file").write_text("")
    for wrong in ("file", "typed"):
        with pytest.raises(UserError, match=f"--data .*{wrong} is no folder; make it to have the packages fetched"):
            Settings(out=tmp_path, data=str(tmp_path / wrong)).packages()


def test_seeds_are_a_count_or_a_list() -> None:
    assert seeds_of("3") == (0, 1, 2) and seeds_of("0,4") == (0, 4) and seeds_of("4,") == (4,)
    for text in ("", "0", "x", "1,1", "-1", "1,-2"):
        with pytest.raises(UserError, match="--seeds"):
            seeds_of(text)


def test_figures_of_a_nested_headline() -> None:
    assert list(figures({"mdm": {"reversed": {"name_accuracy": FIGURE}}, "arm": FIGURE})) == [
        "mdm.reversed.name_accuracy",
        "arm",
    ]


