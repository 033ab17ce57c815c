"""Predictions: from the paper's optima, from fit files made here, and from none where nothing can be said."""

import json
import math
import warnings

import numpy as np
import pytest

from scaling.fit_files import MUENNIGHOFF, fit_file, values
from unmask.errors import UserError
from unmask.scaling.constrained import Quokka
from unmask.scaling.cost import Cost
from unmask.scaling.law import Law
from unmask.scaling.options import PredictOptions
from unmask.scaling.predict import in_words, scale_predict

MUENNIGHOFF |= {"alpha": 0.3526596, "beta": 0.3526596}


def quiet(options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return scale_predict(options)


def estimate(result, objective, which):
    return result["objectives"][objective][which]["estimate"]


def test_the_papers_budget_gives_its_own_optima():
    result = scale_predict(PredictOptions(flops=3e19, source="paper"))
    assert result["warnings"] == [] and result["flops_rule"] == "6nd"
    assert estimate(result, "arm", "loss") == pytest.approx(2.555, rel=0.01)
    assert estimate(result, "mdm", "loss") == pytest.approx(3.041, rel=0.01)
    assert estimate(result, "mdm", "params") == pytest.approx(229e6, rel=0.06)
    for entry in result["objectives"].values():
        assert 6 * entry["params"]["estimate"] * entry["tokens"]["estimate"] == pytest.approx(3e19)
        assert entry["loss"]["low"] < entry["loss"]["estimate"] < entry["loss"]["high"]
    assert "upper bound" in result["notes"][0]


def test_the_papers_gap_follows_from_the_compute_of_a_loss():
    result = quiet(PredictOptions(loss=2.83, source="paper"))
    gap = estimate(result, "mdm", "flops") / estimate(result, "arm", "flops")
    assert gap == pytest.approx(15.3, abs=0.15)
    back = quiet(PredictOptions(flops=estimate(result, "mdm", "flops"), source="paper"))
    assert estimate(back, "mdm", "loss") == pytest.approx(2.83)
    ends = [result["objectives"]["mdm"]["params"][end] for end in ("low", "estimate", "high")]
    alone = [back["objectives"]["mdm"]["params"][end] for end in ("low", "estimate", "high")]
    assert ends[0] < alone[0] < ends[1] < alone[2] < ends[2]


def test_outside_the_range_warns_and_says_how_far():
    with pytest.warns(UserWarning, match="1e21 FLOPs is 10 times the largest of the fit's"):
        result = scale_predict(PredictOptions(flops=1e21, source="paper"))
    assert [line.split(":")[0] for line in result["warnings"]] == ["arm", "mdm"]
    with pytest.warns(UserWarning, match="times below the least"):
        scale_predict(PredictOptions(flops=1e17, source="paper"))


def test_size_and_tokens_by_the_law_and_flops_by_its_rule(written):
    result = quiet(PredictOptions(params=1e9, tokens=2e10, source=written(draws=50)))
    law = Law(**MUENNIGHOFF)
    assert estimate(result, "arm", "loss") == pytest.approx(float(law.loss(1e9, 2e10)))
    assert estimate(result, "arm", "flops") == pytest.approx(1.2e20)
    assert result["objectives"]["arm"]["loss"]["low"] < estimate(result, "arm", "loss")


def test_repeated_data_gives_muennighoffs_printed_loss(written):
    with pytest.warns(UserWarning, match="extrapolated"):
        result = scale_predict(PredictOptions(params=6.34e9, tokens=242e9, unique=25e9, source=written(draws=20)))
    assert estimate(result, "arm", "loss") == pytest.approx(2.225644, abs=2e-6)
    low, high = (result["objectives"]["arm"]["loss"][end] for end in ("low", "high"))
    assert low < 2.2256 < high


QUOKKA = {"p_e": 0.9, "gamma": 0.8, "c_p": 60.0}


def with_quokka(draws=0, whole=False):
    fit = fit_file(draws=draws)
    fields = QUOKKA | ({"m_p": 0.1, "k_p": 0.1, **MUENNIGHOFF} if whole else {})
    held = [] if whole else ["E", "A", "B", "alpha", "beta", "m_p", "k_p"]
    fit["constrained"]["arm"]["quokka"] = values(**fields) | {"held": held}
    if draws:
        rng = np.random.default_rng(1)
        all_ten = {"m_p": 0.0, "k_p": 0.0, **MUENNIGHOFF, **fields}
        rows = {name: (value * np.exp(rng.normal(0, 0.02, 30))).tolist() for name, value in all_ten.items()}
        rows["p_e"][3] = None  # a resample without a number
        fit["draws"]["quokka"] = {"arm": rows}
    return fit


@pytest.mark.parametrize("whole", [False, True])
def test_quokkas_form_stands_beside_muennighoffs_where_the_fit_holds_it(tmp_path, whole):
    (tmp_path / "fit.json").write_text(json.dumps(with_quokka(draws=40, whole=whole)))
    asked = PredictOptions(params=1e8, tokens=4e10, unique=1e9, source=str(tmp_path))
    result = quiet(asked)
    law = Quokka(Law(**MUENNIGHOFF), **QUOKKA, **({"m_p": 0.1, "k_p": 0.1} if whole else {}))
    found = result["quokka"]["arm"]["loss"]
    assert found["estimate"] == pytest.approx(float(law.loss(1e8, 4e10, 1e9)))
    assert found["low"] < found["estimate"] < found["high"]
    assert "arm, Muennighoff" in in_words(result) and "arm, Quokka" in in_words(result)
    best = quiet(PredictOptions(flops=1e20, unique=1e9, source=str(tmp_path)))["quokka"]["arm"]
    params = best["params"]["estimate"]
    near = [float(law.loss(n, 1e20 / 6 / n, 1e9)) for n in (params / 1.2, params * 1.2)]
    assert best["loss"]["estimate"] < min(near)


def test_one_form_without_the_other_is_told(tmp_path, written):
    alone = quiet(PredictOptions(params=1e8, tokens=4e10, unique=1e9, source=written()))
    assert alone["quokka"] == {} and any("no Quokka's law of arm: the fit file holds none" in n for n in alone["notes"])
    fit = with_quokka()
    fit["constrained"]["arm"]["muennighoff"]["R_D"] = {"estimate": None, "why": "at the end of its range"}
    (tmp_path / "fit.json").write_text(json.dumps(fit))
    with pytest.warns(UserWarning, match="at the end of its range"):
        result = scale_predict(PredictOptions(params=1e8, tokens=4e10, unique=1e9, source=str(tmp_path)))
    assert result["objectives"] == {} and result["quokka"]["arm"]["loss"]["estimate"] > 0
    assert "arm, Quokka" in in_words(result)
    assert "quokka" not in quiet(PredictOptions(flops=1e19, source=str(tmp_path)))


def test_the_optimum_of_a_budget_shrinks_the_tokens_where_few_are_new(written):
    source = written(draws=20)
    free = quiet(PredictOptions(flops=1e22, source=source, unique=1e13))
    few = quiet(PredictOptions(flops=1e22, source=source, unique=1e10))
    best = Law(**MUENNIGHOFF).optimum(1e22, Cost())
    assert estimate(free, "arm", "params") == pytest.approx(float(best.params[0]), rel=0.01)
    assert estimate(free, "arm", "loss") == pytest.approx(float(best.loss[0]), rel=1e-6)
    assert estimate(few, "arm", "loss") > estimate(free, "arm", "loss")
    for name in ("params", "tokens", "loss"):
        entry = few["objectives"]["arm"][name]
        assert entry["low"] <= entry["estimate"] * 1.01 and entry["estimate"] <= entry["high"] * 1.01


def test_a_file_without_draws_has_no_intervals_and_says_why(written):
    result = scale_predict(PredictOptions(flops=1e19, source=written()))
    assert result["objectives"]["arm"]["loss"] == {
        "estimate": pytest.approx(30 * 1e19**-0.05),
        "low": None,
        "high": None,
    }
    assert any("no draws" in note for note in result["notes"])


def test_what_one_objective_has_not_is_a_warning_where_another_has_it(tmp_path):
    fit = fit_file()
    for key in ("approach2", "approach3", "ranges", "cost"):
        fit[key]["mdm"] = fit[key]["arm"]
    fit["approach2"]["mdm"] = {"why": "one budget"}
    (tmp_path / "fit.json").write_text(json.dumps(fit))
    with pytest.warns(UserWarning, match="has no approach2 of mdm: one budget"):
        result = scale_predict(PredictOptions(flops=1e19, source=str(tmp_path)))
    assert list(result["objectives"]) == ["arm"] and "mdm" in result["warnings"][0]


def test_words_have_a_row_an_objective():
    text = in_words(quiet(PredictOptions(flops=1e21, source="paper")))
    assert text.splitlines()[0].startswith("1e21 FLOPs, from Nie et al. 2025")
    assert "4.17e9 [2.99e9, 5.82e9]" in text and "2.4467 [2.4256, 2.4679]" in text


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({}, "give one of --flops, --loss, and --params with --tokens"),
        ({"flops": 1e20, "loss": 2.0}, "give one of"),
        ({"params": 1e9}, "give --tokens as well"),
        ({"tokens": 1e9}, "give --params as well"),
        ({"flops": 0.0}, "--flops is 0.0; give a number above 0"),
        ({"flops": math.nan}, "--flops is nan"),
        ({"flops": math.inf}, "--flops is inf"),
        ({"loss": 2.0, "unique": 1e9}, "--unique does not go with --loss"),
        ({"flops": 1e20, "unique": 1e9, "source": "paper"}, "optima alone"),
        ({"params": 1e9, "tokens": 1e9, "source": "paper"}, "optima alone"),
        ({"loss": 1e-300, "source": "paper"}, "too far from the runs"),
        ({"flops": 1e20, "source": "nowhere.json"}, "--from nowhere.json cannot be read: No such file"),
    ],
)
def test_bad_questions_get_one_line(options, says):
    with pytest.raises(UserError, match=says) as caught:
        quiet(PredictOptions(**options))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "cannot be read as JSON"),
        ("[1]", "is no fit: it has no approach2"),
        ('{"approach2": {"arm": {}}, "gap": []}', "is no whole fit"),
        (json.dumps(fit_file(ranges={"arm": 3})), "is no whole fit"),
    ],
)
def test_files_that_are_no_fit_are_named(tmp_path, text, says):
    path = tmp_path / "fit.json"
    path.write_text(text)
    with pytest.raises(UserError, match=says):
        scale_predict(PredictOptions(flops=1e20, source=str(path)))


@pytest.mark.parametrize(
    ("more", "asked", "says"),
    [
        ({"approach2": {"arm": {"why": "one budget"}}}, {"flops": 1e19}, "has no approach2 of arm: one budget"),
        ({"approach3": {"arm": None}}, {"params": 1e9, "tokens": 1e9}, "has no approach3 of arm"),
        ({"constrained": None}, {"flops": 1e19, "unique": 1e9}, "no law of repeated data of arm"),
    ],
)
def test_what_a_fit_has_not_is_said_with_its_reason(tmp_path, more, asked, says):
    path = tmp_path / "fit.json"
    path.write_text(json.dumps(fit_file(**more)))
    with pytest.raises(UserError, match=says):
        quiet(PredictOptions(**asked, source=str(path)))
