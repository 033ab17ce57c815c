"""One result of two, each of its own people."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from unmask.errors import UserError
from unmask.experiments.command import run_experiment
from unmask.experiments.reversal.experiment import together
from unmask.experiments.reversal.report import reading
from unmask.experiments.table import keep_all

from .conftest import SMALL, Chosen, options


@pytest.fixture(scope="module")
def own(chosen: Chosen) -> dict[str, Any]:
    """As if it were of the usual size."""
    result = run_experiment(options(chosen.out, resume=True, set=SMALL))
    return {**result, "size": "usual", "command": "unmask experiment reversal --set sets=[own]"}


@pytest.fixture(scope="module")
def original(own: dict[str, Any]) -> dict[str, Any]:
    """The same figures as if they were of the other set."""
    other = copy.deepcopy(own)
    other["headline"] = other["headline"]["own"]
    for group in ("choices", "material", "runs"):
        other[group] = {"original": other[group]["own"]}
    made = other["choices"]["original"]
    made["start"], made["choices"] = "original", {"original": made["choices"]["own"]}
    other["chosen"] |= {"sets": ["original"], "epochs": {"original": {"mdm": 1}}}
    return {**other, "command": "unmask experiment reversal --data people", "commit": "another"}


def from_base(own: dict[str, Any], score: float) -> dict[str, Any]:
    """The same figures as if models had begun at a base, and what was chosen had scored so."""
    other = copy.deepcopy(own)
    for group in ("material", "runs"):
        other[group] = {"own-base": other[group]["own"]}
    made = other["choices"]["own"]
    made["start"], made["choices"] = "own-base", {"own-base": made["choices"]["own"]}
    for choice in made["choices"]["own-base"].values():
        choice["score"] = score
    other["chosen"] |= {"starts": ["base"], "precision": "bf16"}
    return {**other, "base_flops": {"mdm": 1e12, "arm": 1e12}, "command": "--base"}


def lie(folder: Path, result: dict[str, Any]) -> Path:
    folder.mkdir()
    (folder / "result.json").write_text(json.dumps(result))
    return folder


def test_parts_are_kept_as_one_result(own: dict[str, Any], original: dict[str, Any], tmp_path: Path) -> None:
    (place,) = keep_all([lie(tmp_path / "a", original), lie(tmp_path / "b", own)], tmp_path / "results")
    result = json.loads((place / "result.json").read_text())
    assert set(result["headline"]) == {"mdm", "arm", "own"} and result["headline"]["own"] == own["headline"]["own"]
    runs = f"{original['command']} --out runs/original && {own['command']} --out runs/own"
    assert result["command"] == f"{runs} && python -m unmask.experiments.table runs/original runs/own"
    assert result["figure"].startswith("reversed names right, original: MDM") and "; own: MDM" in result["figure"]
    assert "MDM on original" in result["reading"] and "ARM on own" in result["reading"]
    assert result["parts"]["original"]["commit"] == "another" and result["chosen"]["sets"] == ["original", "own"]
    assert result["command"] in (place / "README.md").read_text() and (place / "reversal.png").stat().st_size > 10_000
    (again,) = keep_all([place], tmp_path / "results")
    assert again == place and json.loads((place / "result.json").read_text()) == result


def test_what_does_not_go_together_is_refused(own: dict[str, Any], original: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"several results of the same people \(own, own\)"):
        together([own, own])
    with pytest.raises(UserError, match=r"results with seeds \[0\] and \[0, 1\] are not of one experiment"):
        together([original, {**own, "seeds": [0, 1]}])
    with pytest.raises(UserError, match=r"results with batch 24 and 8 are not of one experiment"):
        together([original, {**own, "chosen": {**own["chosen"], "batch": 8}}])
    otherwise = {**from_base(own, 0.0), "chosen": {**own["chosen"], "each": {"original": 1, "own": 4}}}
    with pytest.raises(UserError, match="two starts of own with each .* were not asked alike"):
        together([own, otherwise])
    speeds = [lie(tmp_path / name, {**own, "experiment": "speed"}) for name in "ab"]
    with pytest.raises(UserError, match="all of speed, which is not run in parts"):
        keep_all(speeds, tmp_path / "results")


def test_ablations_stand_beside_the_result(own: dict[str, Any], original: dict[str, Any], tmp_path: Path) -> None:
    spans = {**own, "ablation": "name-spans", "command": "unmask experiment reversal --set ablation=name-spans"}
    reference = {**own, "ablation": "reference"}
    parts = [original, own, spans, reference]
    folders = [lie(tmp_path / str(place), result) for place, result in enumerate(parts)]
    (place,) = keep_all(folders, tmp_path / "results")
    result = json.loads((place / "result.json").read_text())
    assert list(result["ablations"]) == ["reference", "name-spans"] and set(result["parts"]) == {"original", "own"}
    found = result["ablations"]["name-spans"]
    assert found["figures"]["reversed names"] == own["headline"]["own"]["mdm"]["reversed"]["name_accuracy"]
    assert found["command"].endswith("name-spans") and found["steps"] == own["runs"]["own"]["mdm"]["steps"]
    page = (place / "README.md").read_text()
    assert "| `name-spans` | as name-tokens-many" in page and "![ablations](ablations.png)" in page
    assert (place / "ablations.png").stat().st_size > 5_000

    newer = {**reference, "seeds": [7]}  # beside what is kept, and in the old one's place
    keep_all([place, lie(tmp_path / "newer", newer)], tmp_path / "results")
    again = json.loads((place / "result.json").read_text())["ablations"]
    assert list(again) == ["reference", "name-spans"] and again["reference"]["seeds"] == [7]


def test_an_ablation_alone_takes_no_result_away(own: dict[str, Any], tmp_path: Path) -> None:
    wide = lie(tmp_path / "wide", {**own, "ablation": "wide"})
    with pytest.raises(UserError, match=r"ablations \(wide\) stand beside a result; give that first"):
        keep_all([wide], tmp_path / "results")
    assert not (tmp_path / "results").exists()


def test_of_two_starts_that_which_scores_more_is_the_headline(own: dict[str, Any]) -> None:
    for score, start, other in ((2.0, "own-base", "own"), (-1.0, "own", "own-base")):
        result = together([own, from_base(own, score)])
        assert result["choices"]["own"]["start"] == start and set(result["choices"]["own"]["choices"]) == {start, other}
        assert result["headline"]["own"] == own["headline"]["own"] and set(result["starts"]) == {other}
        assert set(result["runs"]) == set(result["material"]) == set(result["parts"]) == {"own", "own-base"}
        assert result["parts"]["own-base"]["command"] == "--base" and result["base_flops"]["mdm"] == 1e12
        told = reading({**result, "ablations": {}}).split("\n\n")
        (line,) = (line for line in told if line.startswith(f"The other start, {other}: MDM trained names "))
        assert "; ARM trained names " in line and "reversed names" in line and f"On {other} the MDM had" in line
        assert ("its base's included" in line) == (other == "own-base")


def test_the_page_says_what_another_start_was_trained_with(own: dict[str, Any]) -> None:
    base = from_base(own, -1.0)
    grid = {**own["chosen"]["grid"], "guidance": own["chosen"]["grid"]["guidance"][::-1]}  # asked alike all the same
    base["chosen"] |= {"weighting": "ce", "grid": grid}
    epochs = {"own": {**own["settings"]["epochs"]["own"], "arm": 7}}
    base["settings"] = {**own["settings"], "weighting": "ce", "epochs": epochs}
    told = reading({**together([own, base]), "ablations": {}})
    had = own["settings"]["epochs"]["own"]["arm"]
    words = f"The other start, own-base (weighting ce in place of nelbo, epochs.own.arm 7 in place of {had}): MDM"
    assert words in told
    assert "in place of" not in reading({**together([own, from_base(own, -1.0)]), "ablations": {}})


def test_of_two_starts_that_score_alike_random_weights_are_the_headline(own: dict[str, Any]) -> None:
    base = from_base(own, 0.0)
    base["choices"]["own"]["choices"]["own-base"] = own["choices"]["own"]["choices"]["own"]
    for results in ([own, base], [base, own]):
        result = together(results)
        assert result["choices"]["own"]["start"] == "own"
        assert "The other start, own-base (its choices score as much): " in reading({**result, "ablations": {}})
