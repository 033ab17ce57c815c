"""The verb: the list, what a result carries, its page, and where --quick may not go."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from experiments.pretending import Pretend
from unmask.errors import UserError
from unmask.experiments import command, table
from unmask.experiments.command import run_experiment
from unmask.experiments.frame import Experiment, experiments
from unmask.experiments.options import ExperimentOptions


def test_listing_imports_no_torch() -> None:
    code = (
        "import sys; from unmask.cli import main\n"
        "try: main(['experiment'])\n"
        "except SystemExit as end: print('torch' in sys.modules, end.code, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr.split() == ["False", "0"]


def test_quick_goes_into_no_folder_of_results() -> None:
    for out in ("results", "results/reversal"):
        with pytest.raises(UserError, match="--quick is no result"):
            ExperimentOptions("x", quick=True, out=out).settings()
    assert ExperimentOptions("x", quick=True).settings().out == Path("runs/experiments/x")
    assert ExperimentOptions("x", quick=True).settings().seeds == (0,)
    with pytest.raises(UserError, match="leave out one"):
        ExperimentOptions("x", quick=True, full=True)


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


def test_a_picture_that_fails_costs_no_result(
    pretend: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise ValueError("no picture")

    monkeypatch.setattr(Pretend, "plot", fails)
    with pytest.raises(ValueError, match="no picture"):
        run_experiment(ExperimentOptions("pretend", out=str(tmp_path / "a"), plot=True))
    assert json.loads((tmp_path / "a" / "result.json").read_text())["figure"] == "50% [25, 75]"


def test_what_is_printed_ends_with_what_was_written_and_a_try_says_so(pretend: Experiment, tmp_path: Path) -> None:
    words = command.in_words(run_experiment(ExperimentOptions("pretend", out=str(tmp_path / "a"), plot=True)))
    assert words.splitlines()[-1] == f"written to {tmp_path / 'a'}: README.md, result.json, one.png"
    assert command.QUICK not in words
    words = command.in_words(run_experiment(ExperimentOptions("pretend", out=str(tmp_path / "b"), quick=True)))
    assert command.QUICK in words and words.endswith("no picture (--plot draws them)")
    assert command.QUICK in (tmp_path / "b" / "README.md").read_text()


def test_an_option_that_is_not_taken_leaves_nothing_behind(pretend: Experiment, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--until does not go with pretend"):
        run_experiment(ExperimentOptions("pretend", out=str(tmp_path / "c"), until="runs"))
    assert not (tmp_path / "c").exists()


def test_a_headline_must_be_made_of_figures(pretend: Experiment) -> None:
    for headline in ({}, {"a": {"estimate": 1}}):
        with pytest.raises(ValueError, match="headline"):
            command.check_headline({"experiment": "x", "headline": headline})


def test_the_demo_is_listed_and_is_no_finding() -> None:
    listed = run_experiment(ExperimentOptions())
    assert set(listed["demo"]) == {"about", "time"} and "no finding" in listed["demo"]["about"]
    assert command.in_words(listed).splitlines()[-2].startswith("demo: no finding")
    assert "demo" not in experiments() and "demo" not in [one["name"] for one in listed["experiments"]]
    for name, words in (("demo", "options of its own, behind its name"), ("dmeo", "did you mean 'demo'")):
        with pytest.raises(UserError, match=words):
            run_experiment(ExperimentOptions(name))


def test_many_figures_are_folded_away(pretend: Experiment, tmp_path: Path) -> None:
    out = tmp_path / "pretend"
    run_experiment(ExperimentOptions("pretend", out=str(out)))
    result = json.loads((out / "result.json").read_text())
    figure = result["headline"]["mdm"]
    result["headline"] = {f"mdm{number}": figure for number in range(40)}
    page = command.page(result, [])
    assert page.index("All 40 figures") < page.index("| `mdm39` |") < page.index("</details>")
    assert "<details>" not in (out / "README.md").read_text()
