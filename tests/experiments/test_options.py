"""What `unmask experiment` takes, and the command that does the same again."""

from __future__ import annotations

from pathlib import Path

import pytest

from unmask.errors import UserError
from unmask.experiments.options import ExperimentOptions, portable


def test_words_are_the_command_again_without_where_it_was() -> None:
    given = {"data": "here/packages", "base": ["runs/mdm"], "set": ["a=1"]}
    options = ExperimentOptions("speed", "1", quick=True, plot=True, **given)  # type: ignore[arg-type]
    assert options.words() == (
        "unmask", "experiment", "speed", "--seeds", "1", "--quick", "--data", "packages", "--base", "mdm", "--set",
        "a=1", "--plot",
    )  # fmt: skip
    assert options.settings().seeds == (0,)


def test_a_role_stays_with_its_run_and_no_path_of_this_machine_is_recorded() -> None:
    given = {"base": ["arm=/x/runs/arm-s0", "/x/sweep"]}
    given["set"] = ["packages=/x/cache", "judge_run=/x/runs/judge", "templates.colon={word} = a/b:"]
    words = ExperimentOptions("speed", **given).words()  # type: ignore[arg-type]
    assert words[3:] == (
        *("--base", "arm=arm-s0", "--base", "sweep", "--set", "judge_run=judge"),
        *("--set", "templates.colon={word} = a/b:"),
    )


def test_bases_that_a_checkout_keeps_are_found_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results/scaling/runs/arm-s0").mkdir(parents=True)
    (tmp_path / "mdm-s0").mkdir()
    given = ["arm=arm-s0", "arm-s0", "mdm-s0", "gone"]
    found = ["arm=results/scaling/runs/arm-s0", "results/scaling/runs/arm-s0", "mdm-s0", "gone"]
    assert list(ExperimentOptions("speed", base=given).settings().base) == found


def test_where_packages_lie_is_in_no_command() -> None:
    assert ExperimentOptions("temporal", data="/x/packages").words() == ("unmask", "experiment", "temporal")
    assert ExperimentOptions("reversal", data="/x/lines").words()[3:] == ("--data", "lines")


def test_settings_are_recorded_without_folders_of_this_machine() -> None:
    given = {"reversal": "/x/runs/people", "base": {"data": "/x/text", "lr": 1e-3}, "texts": ["/x/a.txt", "sotu"]}
    kept = {"reversal": "people", "base": {"data": "text", "lr": 1e-3}, "texts": ["a.txt", "sotu"]}
    assert portable(given) == kept and portable({"say": "a/b", "none": None}) == {"say": "a/b", "none": None}


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({"quick": True, "full": True}, "--quick and --full are both given"),
        ({"jobs": 0}, "--jobs is 0; give at least 1"),
    ],
)
def test_bad_input_names_the_option(fields: dict[str, object], line: str) -> None:
    with pytest.raises(UserError, match=line):
        ExperimentOptions("speed", **fields)  # type: ignore[arg-type]
