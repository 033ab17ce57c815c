"""The report of a synthetic sweep with a plateau and repeated data: its files, its page, and what it refuses."""

import csv
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from scaling.synthetic import sweep
from unmask.errors import UserError
from unmask.scaling import report
from unmask.scaling.beside import beside_of, paper_gap
from unmask.scaling.options import PredictOptions, ReportOptions
from unmask.scaling.predict import scale_predict
from unmask.scaling.report import in_words, scale_report

UNIQUE = 5e5
COLUMNS = ("objective", "flops", "params", "tokens", "loss", "seed", "plateau", "unique", "best_loss", "best_tokens")


def rows_of(kind: str, rng: np.random.Generator, plateau: float = 0.0) -> list[dict]:
    runs, _ = sweep(kind, rng, noise=0.005)
    names = ("objective", "flops", "params", "tokens", "loss", "seed")
    rows = [{name: getattr(runs, name)[i] for name in names} for i in range(len(runs))]
    return [row | ({"plateau": plateau} if plateau else {}) for row in rows]


def repeats(kind: str, losses: dict[float, float]) -> list[dict]:
    params = 443_040
    tokens = [UNIQUE * epochs for epochs in losses]
    columns = {"objective": kind, "params": params, "unique": UNIQUE, "seed": "0"}
    return [
        columns | {"flops": 6 * params * D, "tokens": D, "loss": loss}
        for D, loss in zip(tokens, losses.values(), strict=True)
    ]


def write(path: Path, rows: list[dict]) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    return path


@pytest.fixture(scope="module")
def table(tmp_path_factory) -> Path:
    rng = np.random.default_rng(3)
    rows = rows_of("arm", rng) + rows_of("mdm", rng, plateau=1.6e6)
    rows += repeats("arm", {1: 5.0, 2: 4.6, 4: 4.4, 8: 4.5, 16: 4.9})
    rows[-1] |= {"best_loss": 4.35, "best_tokens": 5 * UNIQUE}
    rows += repeats("mdm", {4: 5.4, 16: 4.8, 64: 4.2, 256: 4.0})
    return write(tmp_path_factory.mktemp("table") / "sweep.csv", rows)


LATER = {"name": "large", "objective": "mdm", "params": 2e6, "tokens": 5e7, "flops": 6e14, "loss": 3.7, "se": 0.01}
LATER |= {"step": 9, "rule": "6nd", "curve": {"flops": [3e14, 6e14], "loss": [4.0, 3.7]}}


@pytest.fixture(scope="module")
def made(table, tmp_path_factory) -> Path:
    """A report with a later run, which is made up here (test_later.py reads real ones)."""
    out = tmp_path_factory.mktemp("report") / "report"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report, "read_later", lambda run, rule: dict(LATER))
        result = scale_report(ReportOptions(str(table), str(out), resamples=40, over=["runs/large"]))
    assert "report.html" in in_words(result) and "upper bound" in in_words(result)
    return out


@pytest.fixture(scope="module")
def page(made) -> str:
    return (made / "report.html").read_text()


def test_every_picture_stands_as_png_and_svg_and_nothing_else_is_left(made):
    pictures = ("frontier", "gap", "isoflop", "repeated", "residuals")
    names = {f"{name}.{suffix}" for name in pictures for suffix in ("png", "svg")}
    assert {path.name for path in made.iterdir()} == names | {"report.html", "fit.json"}
    assert [path.name for path in made.parent.iterdir()] == ["report"]
    assert all((made / name).stat().st_size > 2000 for name in names)


def test_the_page_asks_no_network_and_shows_every_picture(page):
    assert page.count("<svg") == 5
    assert not re.search(r"<(script|link|img|iframe)\b|@import|url\(\s*['\"]?http", page)
    assert set(re.findall(r"https?://[^\"'\s<]+", page)) <= {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xlink",
    }


def test_beside_every_gap_stands_that_the_loss_is_a_bound(page):
    assert page.count("An MDM's loss is an upper bound".replace("'", "&#x27;")) + page.count("An MDM's loss") >= 4
    assert "SMDM, the paper" in page and "14x" in page and "it ships no runs" in page


def test_runs_of_the_plateau_are_left_out_with_their_reason_and_drawn_hollow(made, page):
    fit = json.loads((made / "fit.json").read_text())
    hollow = [run for run in fit["view"]["runs"] if run["excluded"]]
    assert len(hollow) == len(fit["excluded"]) > 0
    assert all(run["objective"] == "mdm" and run["tokens"] < 4 * 1.6e6 for run in hollow)
    assert "fewer than 4 x the plateau" in page and "with all runs" in page


def test_fit_json_holds_numbers_alone_and_what_predictions_ask(made):
    fit = json.loads((made / "fit.json").read_text(), parse_constant=lambda word: pytest.fail(word))
    assert {"draws", "ranges", "cost", "gap", "approach2", "view"} <= set(fit)
    answer = scale_predict(PredictOptions(flops=3e13, source=str(made)))["objectives"]["mdm"]
    assert answer["loss"]["low"] < answer["loss"]["estimate"] < answer["loss"]["high"]
    index = [c for c in fit["view"]["frontier"]["mdm"]["flops"] if c >= 3e13][0]
    place = fit["view"]["frontier"]["mdm"]["flops"].index(index)
    assert answer["loss"]["estimate"] == pytest.approx(
        fit["view"]["frontier"]["mdm"]["loss"]["estimate"][place], rel=0.03
    )


def test_repeated_data_has_its_crossing_and_is_no_part_of_the_laws(made, page):
    fit = json.loads((made / "fit.json").read_text())
    (study,) = fit["view"]["repeated"]
    crossing = study["crossing"]
    assert crossing["lowest"] == 4.35 and crossing["lowest_at"] == 5 and 16 < crossing["epochs"] < 64
    assert "final weights" in page and "4.3500 at 5" in page and fit["repeated"] == fit["view"]["repeated"]
    assert "0.5M unique tokens" in page and "comes below the ARM" in page
    assert max(run["tokens"] / run["params"] for run in fit["view"]["runs"]) < UNIQUE * 256 / 443_040 * 10
    assert not any(run["loss"] in (4.4, 4.2) for run in fit["view"]["runs"])


def test_the_papers_gap_by_our_estimators_is_as_its_facts_say():
    rows = {(row["form"], row["axis"], row["flops"]): row for row in paper_gap()["gap"]}

    def value(form, axis, flops):
        found = [row for key, row in rows.items() if key[:2] == (form, axis) and key[2] == pytest.approx(flops)]
        return found[0]["estimate"]

    for axis, expected in (("arm", (15.3, 16.4, 17.4)), ("mdm", (14.2, 15.3, 16.2))):
        for flops, gap in zip((6e18, 1e20, 1e21), expected, strict=True):
            assert value("approach2", axis, flops) == pytest.approx(gap, abs=0.06)
    assert value("overlap", "arm", 6e18) == pytest.approx(15.2, abs=0.1)


def test_other_runs_lie_beside_under_the_names_of_the_pair(table, made):
    paper, other, again = beside_of([str(table), str(made)], ("arm", "mdm"), resamples=0)
    assert (paper["name"], other["name"], again["name"]) == ("SMDM, the paper", "sweep", "sweep")
    assert {row["axis"] for row in other["gap"]} == {"arm", "mdm"} and other["until"] == pytest.approx(2.56e14)
    assert [row["estimate"] for row in again["gap"]] == pytest.approx([row["estimate"] for row in other["gap"]])
    renamed = beside_of([str(table)], ("ar", "masked"), resamples=0)
    assert {row["axis"] for part in renamed for row in part["gap"]} == {"ar", "masked"}
    assert beside_of([], ("duo", "mdm"), resamples=0) == []


def test_the_withdrawn_source_is_said_wherever_it_is_named(table, tmp_path):
    named = tmp_path / "c4_isoflop.csv"
    named.write_bytes(table.read_bytes())
    (_, other) = beside_of([str(named)], ("arm", "mdm"), resamples=0)
    assert "withdrawn in April 2026" in other["notes"][0]
    write(named, rows_of("arm", np.random.default_rng(0)))
    scale_report(ReportOptions(str(named), str(tmp_path / "out"), resamples=0))
    assert "withdrawn in April 2026" in (tmp_path / "out" / "report.html").read_text()


def test_a_later_run_is_laid_over_what_the_fit_says_of_it(made, page):
    fit = json.loads((made / "fit.json").read_text())
    (found,) = fit["view"]["over"]
    line, law = found["predicted"].values()
    exponent, coefficient = (
        fit["approach2"]["mdm"][f"loss_{part}"]["estimate"] for part in ("exponent", "coefficient")
    )
    assert line["estimate"] == pytest.approx(coefficient * 6e14**exponent) and line["low"] < line["high"]
    assert law["low"] < law["estimate"] < law["high"]
    assert found["inside"] is False and "; extrapolated" in page
    assert max(fit["view"]["frontier"]["mdm"]["flops"]) >= 6e14
    assert "later run over the prediction" in page and f"{3.7 - law['estimate']:+.4f}" in page


def test_a_later_run_of_an_objective_that_was_not_fitted_is_refused(tmp_path, monkeypatch):
    runs = write(tmp_path / "one.csv", rows_of("arm", np.random.default_rng(0)))
    monkeypatch.setattr(report, "read_later", lambda run, rule: dict(LATER))
    with pytest.raises(UserError, match="--over large is an mdm, and the fit has arm"):
        scale_report(ReportOptions(str(runs), str(tmp_path / "out"), resamples=0, over=["runs/large"]))


def test_one_objective_has_a_report_without_a_gap(tmp_path):
    runs = write(tmp_path / "one.csv", rows_of("arm", np.random.default_rng(0)))
    out = tmp_path / "out"
    scale_report(ReportOptions(str(runs), str(out), resamples=0))
    page = (out / "report.html").read_text()
    assert not (out / "gap.png").exists() and (out / "isoflop.png").exists()
    assert "a gap needs two" in page and "SMDM, the paper" not in page


def test_a_report_of_runs_without_budgets_says_what_is_missing(tmp_path):
    rows = [row for row in rows_of("arm", np.random.default_rng(0)) if row["params"] == 16 * 2 * 64**2]
    out = tmp_path / "out"
    scale_report(ReportOptions(str(write(tmp_path / "few.csv", rows)), str(out), resamples=0))
    page = (out / "report.html").read_text()
    assert "What could not be fitted" in page and "it takes three sizes at each" in page
    assert (out / "isoflop.svg").exists() and not (out / "frontier.svg").exists()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"out": "taken"}, "is a file; give a folder"),
        ({"out": "nowhere/out"}, "there is no folder"),
        ({"beside": ["one.csv"]}, "--beside .* has no gap"),
        ({"beside": ["nothing.json"]}, "--beside .* cannot be read"),
        ({"over": ["."]}, "is no run: it has no recipe.yaml"),
        ({"runs": "nothing.csv"}, "cannot be read"),
        ({"resamples": -1}, "--resamples is -1"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(table, tmp_path, monkeypatch, changes, says):
    monkeypatch.chdir(tmp_path)
    Path("taken").write_text("")
    write(tmp_path / "one.csv", rows_of("arm", np.random.default_rng(0)))
    before = sorted(tmp_path.iterdir())
    with pytest.raises(UserError, match=says) as caught:
        scale_report(ReportOptions(**{"runs": str(table), "out": "out", "resamples": 0} | changes))
    assert "\n" not in str(caught.value) and sorted(tmp_path.iterdir()) == before


def test_the_commands_in_processes_of_their_own(tmp_path):
    table = write(tmp_path / "one.csv", rows_of("arm", np.random.default_rng(0)))
    command = [sys.executable, "-m", "unmask", "scale"]
    words = ["report", str(table), "--out", str(tmp_path / "out"), "--resamples", "0", "--json"]
    done = subprocess.run([*command, *words], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    assert set(json.loads(done.stdout)) == {"out", "files", "fit"}
    words = ["predict", "--flops", "1e17", "--from", str(tmp_path / "out")]
    done = subprocess.run([*command, *words], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0 and "unmask: warning: arm: 1e17 FLOPs is" in done.stderr
    assert "upper bound" in done.stdout
    done = subprocess.run([*command, "predict", "--params", "1e6"], capture_output=True, text=True, timeout=100)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "unmask: error: --params and --tokens go together; give --tokens as well\n"
