"""Studies of repeated data, and where their curves cross."""

import math

import numpy as np
import pytest

from unmask.scaling.epochs import crossing_of, studies_of
from unmask.scaling.table import runs_of


def rows(objective, losses, unique=500_000, params=440_000, **more):
    """Runs of `objective`, the loss by epochs."""
    for epochs, loss in losses.items():
        tokens = unique * epochs
        row = {"objective": objective, "flops": 6 * params * tokens, "params": params, "tokens": tokens, "loss": loss}
        yield f"{objective} {epochs} {more}", row | {"unique": unique} | more


ARM = {1: 5.0, 2: 4.6, 4: 4.4, 8: 4.5, 16: 4.9}
MDM = {4: 5.4, 16: 4.8, 64: 4.2, 256: 4.0}


def table(*parts):
    return runs_of([row for part in parts for row in part], "here")[0]


def test_a_study_has_a_line_an_objective_with_its_best_so_far():
    (study,) = studies_of(table(rows("arm", ARM), rows("mdm", MDM)), ("arm", "mdm"))
    assert study["title"] == "N 0.44M, 0.5M unique tokens"
    arm, mdm = study["series"]
    assert (arm["label"], arm["epochs"], arm["final"]) == ("ARM", list(ARM), list(ARM.values()))
    assert arm["best"] == [5.0, 4.6, 4.4, 4.4, 4.4]
    assert mdm["best"] == mdm["final"]


def test_crossings_lie_where_log_epochs_are_interpolated():
    (study,) = studies_of(table(rows("arm", ARM), rows("mdm", MDM)), ("arm", "mdm"))
    crossing = study["crossing"]
    assert crossing["lowest"] == 4.4 and crossing["lowest_at"] == 4
    assert math.log(crossing["epochs"]) == pytest.approx(math.log(16) + (4.8 - 4.4) / 0.6 * math.log(4))
    # as long: at 4 epochs 5.4 against 4.4, at 16 4.8 against 4.9
    assert math.log(crossing["same_epochs"]) == pytest.approx(math.log(4) + 1.0 / 1.1 * math.log(4))
    assert crossing["why"] is None


def test_curves_that_do_not_cross_say_how_far_they_were_followed():
    (study,) = studies_of(table(rows("arm", ARM), rows("mdm", {4: 5.4, 256: 4.5})), ("arm", "mdm"))
    assert study["crossing"]["epochs"] is None
    assert study["crossing"]["why"] == "not within 256 epochs"


def test_one_objective_alone_has_no_crossing_but_its_lines():
    (study,) = studies_of(table(rows("arm", ARM)), ("arm", "mdm"))
    assert len(study["series"]) == 1
    assert study["crossing"]["epochs"] is None and "both arm and mdm" in study["crossing"]["why"]


def test_trunks_and_seeds_are_lines_of_their_own_and_the_best_of_them_crosses():
    worse = {epochs: loss + 0.3 for epochs, loss in ARM.items()}
    runs = table(rows("arm", ARM, trunk="plain"), rows("arm", worse, trunk="dropout 0.1"), rows("mdm", MDM))
    (study,) = studies_of(runs, ("arm", "mdm"))
    assert [line["label"] for line in study["series"]] == ["ARM, plain", "ARM, dropout 0.1", "MDM"]
    assert study["crossing"]["lowest"] == 4.4
    runs = table(rows("arm", ARM, seed="0"), rows("arm", worse, seed="1"), rows("mdm", MDM))
    assert [line["label"] for line in studies_of(runs, ("arm", "mdm"))[0]["series"]] == [
        "ARM, seed 0",
        "ARM, seed 1",
        "MDM",
    ]


def test_lines_of_a_sweep_are_called_by_what_was_done_otherwise():
    plain, otherwise = {"beta2": 0.98}, {"beta2": 0.98, "dropout": 0.1, "optimizer.weight_decay": 1.0}
    ways = ({"recipe": plain}, {"recipe": plain, "subset": 1}, {"recipe": otherwise})
    arms = (rows("arm", ARM, trunk=f"trunk {number}", seed="0", **way) for number, way in enumerate(ways))
    runs = table(*arms, rows("mdm", MDM, seed="0", recipe=plain))
    labels = ["ARM", "ARM, subset 1", "ARM, dropout 0.1, weight decay 1.0", "MDM"]
    assert [line["label"] for line in studies_of(runs, ("arm", "mdm"))[0]["series"]] == labels


def test_other_sizes_and_texts_are_studies_of_their_own_and_single_passes_none():
    runs = table(rows("arm", ARM), rows("arm", ARM, params=10**6), rows("arm", {1: 5.0}, unique=10**6))
    assert [(s["params"], s["unique"]) for s in studies_of(runs, ("arm", "mdm"))] == [(44e4, 5e5), (1e6, 5e5)]
    assert studies_of(table(rows("arm", {1: 5.0})), ("arm", "mdm")) == []


def test_a_curve_that_begins_below_crosses_at_its_first_point():
    crossing = crossing_of(
        [
            {"objective": "a", "epochs": [1.0, 2.0], "final": [5.0, 4.9]},
            {"objective": "b", "epochs": [2.0, 4.0], "final": [4.0, 3.0]},
        ],
        ("a", "b"),
    )
    assert crossing["epochs"] == crossing["same_epochs"] == 2.0
    assert np.isclose(crossing["lowest"], 4.9)


def test_best_checkpoints_count_for_what_was_ever_reached_and_not_for_as_long():
    arm = dict(rows("arm", ARM, seed="0"))
    best = {"best_loss": 4.3, "best_tokens": 3 * 5e5}
    rows_of_arm = [(where, row | best) for where, row in arm.items()]
    (study,) = studies_of(table(rows_of_arm[3:], rows("mdm", MDM)), ("arm", "mdm"))
    arm_line, mdm_line = study["series"]
    assert arm_line["final"] == [4.5, 4.9] and arm_line["best"] == [4.3, 4.3]
    assert arm_line["checkpoints"] == [[3.0, 4.3], [3.0, 4.3]] and mdm_line["checkpoints"] == []
    assert study["crossing"]["lowest"] == 4.3 and study["crossing"]["lowest_at"] == 3
    (plain,) = studies_of(table(list(arm.items())[3:], rows("mdm", MDM)), ("arm", "mdm"))
    assert plain["crossing"]["lowest"] == 4.5
    assert plain["crossing"]["same_epochs"] == study["crossing"]["same_epochs"]
