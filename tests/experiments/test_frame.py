"""Experiments by name, their settings, figures with intervals, and a folder's kept stages.

make test ARGS=tests/experiments/test_frame.py
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from unmask.errors import UserError
from unmask.experiments import command, frame, table
from unmask.experiments.command import ExperimentOptions, run_experiment
from unmask.experiments.estimates import in_words
from unmask.experiments.frame import Experiment, Settings, experiment, experiments, figures, merged, seeds_of

FIGURE = {"estimate": 0.5, "low": 0.25, "high": 0.75, "n": 8, "clusters": 4}


# ---------------------------------------------------------------- names and settings


def test_every_experiment_has_a_claim_and_the_time_of_each_size() -> None:
    for one in experiments().values():
        assert one.claim and set(one.time) == set(frame.SIZES)
        for size in ("quick", "full"):
            merged(one.fields["settings"], one.fields.get(size) or {}, size)  # overrides name settings that exist


def test_the_demo_is_listed_and_is_no_finding() -> None:
    listed = run_experiment(ExperimentOptions())
    assert set(listed["demo"]) == {"about", "time"} and "no finding" in listed["demo"]["about"]
    assert command.in_words(listed).splitlines()[-2].startswith("demo: no finding")
    assert "demo" not in experiments() and "demo" not in [one["name"] for one in listed["experiments"]]
    for name, words in (("demo", "options of its own, behind its name"), ("dmeo", "did you mean 'demo'")):
        with pytest.raises(UserError, match=words):
            run_experiment(ExperimentOptions(name))


def test_listing_imports_no_torch() -> None:
    code = (
        "import sys; from unmask.cli import main\n"
        "try: main(['experiment'])\n"
        "except SystemExit as end: print('torch' in sys.modules, end.code, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr.split() == ["False", "0"]


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


def test_seeds_are_a_count_or_a_list() -> None:
    assert seeds_of("3") == (0, 1, 2) and seeds_of("0,4") == (0, 4) and seeds_of("4,") == (4,)
    for text in ("", "0", "x", "1,1", "-1", "1,-2"):
        with pytest.raises(UserError, match="--seeds"):
            seeds_of(text)


def test_quick_goes_into_no_folder_of_results() -> None:
    for out in ("results", "results/reversal"):
        with pytest.raises(UserError, match="--quick is no result"):
            ExperimentOptions("x", quick=True, out=out).settings()
    assert ExperimentOptions("x", quick=True).settings().out == Path("runs/experiments/x")
    assert ExperimentOptions("x", quick=True).settings().seeds == (0,)
    with pytest.raises(UserError, match="leave out one"):
        ExperimentOptions("x", quick=True, full=True)


# ---------------------------------------------------------------- figures


def test_figures_of_a_nested_headline() -> None:
    assert list(figures({"mdm": {"reversed": {"name_accuracy": FIGURE}}, "arm": FIGURE})) == [
        "mdm.reversed.name_accuracy",
        "arm",
    ]


# ---------------------------------------------------------------- the folder


# ---------------------------------------------------------------- the command and the page


class Pretend:
    """Stands for an experiment's module."""

    def run(self, settings: Settings) -> dict:
        settings.out.mkdir(parents=True)
        return {"headline": {"mdm": FIGURE}}

    def plot(self, result: dict, folder: Path) -> list[Path]:
        (folder / "one.png").write_bytes(b"png")
        return [folder / "one.png"]

    def reading(self, result: dict) -> str:
        return "It is so."

    def holds(self, result: dict) -> str:
        return "yes"

    def figure(self, result: dict) -> str:
        return in_words(result["headline"]["mdm"])


@pytest.fixture
def pretend(monkeypatch: pytest.MonkeyPatch) -> Experiment:
    one = Experiment("pretend", "A | claim.", dict.fromkeys(frame.SIZES, "1 min"), {"settings": {"a": 1}})
    monkeypatch.setattr(Experiment, "module", property(lambda self: Pretend()))
    monkeypatch.setattr(frame, "experiments", lambda: {"pretend": one})
    monkeypatch.setattr(table, "experiments", lambda: {"pretend": one})
    monkeypatch.setattr(command, "experiments", lambda: {"pretend": one})
    return one


def test_a_result_carries_how_to_have_it_again_and_its_page(pretend: Experiment, tmp_path: Path) -> None:
    out = tmp_path / "runs" / "pretend"
    options = ExperimentOptions("pretend", out=str(out), plot=True, data="/some/where/set", seeds="2")
    run_experiment(options)
    result = json.loads((out / "result.json").read_text())
    assert result["command"] == "unmask experiment pretend --seeds 2 --data set --plot"
    assert result["seeds"] == [0, 1] and result["versions"]["torch"] and result["figure"] == "50% [25, 75]"
    page = (out / "README.md").read_text()
    assert "![one](one.png)" in page and "| `mdm` | 0.5000 | 0.2500 to 0.7500 | 8 | 4 |" in page
    assert str(tmp_path) not in page + json.dumps(result)

    kept = table.keep(out, tmp_path / "results")
    assert sorted(path.name for path in kept.iterdir()) == ["README.md", "one.png", "result.json"]
    rows = table.table(table.results(tmp_path / "results"))
    assert "A \\| claim." in rows and "50% [25, 75] | yes |" in rows
    assert "not run yet" in table.table({})


def test_a_quick_result_is_not_kept(pretend: Experiment, tmp_path: Path) -> None:
    run_experiment(ExperimentOptions("pretend", out=str(tmp_path / "x"), quick=True))
    with pytest.raises(UserError, match="is of --quick"):
        table.keep(tmp_path / "x", tmp_path / "results")
    (tmp_path / "results" / "pretend").mkdir(parents=True)
    (tmp_path / "x" / "result.json").rename(tmp_path / "results" / "pretend" / "result.json")
    with pytest.raises(UserError, match="is of --quick"):
        table.results(tmp_path / "results")
    with pytest.raises(UserError, match="has no result.json"):
        table.keep(tmp_path / "x", tmp_path / "results")


def test_a_headline_must_be_made_of_figures(pretend: Experiment) -> None:
    for headline in ({}, {"a": {"estimate": 1}}):
        with pytest.raises(ValueError, match="headline"):
            command.check_headline({"experiment": "x", "headline": headline})


def test_the_page_of_this_checkout_is_what_its_results_say() -> None:
    root = Path(__file__).parents[2]
    assert (root / "docs" / "results.md").read_text() == table.table(table.results(root / "results"))
