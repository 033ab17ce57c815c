"""`unmask eval --tasks generation`: numbers with intervals beside the reference, resumption, comparison, refusals."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from evaluation.judged import bytes_model
from plugged import LAST, forget, sha256, write
from unmask.cli import main
from unmask.data.options import PrepareOptions
from unmask.data.prepare import prepare
from unmask.data.shards import TokenData
from unmask.errors import UserError
from unmask.evaluation import generation
from unmask.evaluation.benchmarks import evaluate, in_words
from unmask.evaluation.generation import GenerationOptions, read_decode
from unmask.evaluation.generation_quality import entropy
from unmask.evaluation.paired import compare_results
from unmask.model.folder import load, save
from unmask.model.tokenizers import Tokenizer


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two tiny models, prepared text, and JSON lines of which three are no use."""
    folder = tmp_path_factory.mktemp("generation")
    (folder / "texts").mkdir()
    for i in range(12):
        (folder / "texts" / f"{i}.txt").write_text(f"Text {i} says that {i} is {i} and {i + 1} is not. " * 6)
    data = str(folder / "data")
    prepare(PrepareOptions(sources=[str(folder / "texts")], out=data, tokenizer="bytes", split="random:0.5"))
    for name, causal in (("mdm", False), ("arm", True)):
        model = bytes_model(causal)
        save(folder / name, model.network, Tokenizer.plain_bytes())
    rows: list[Any] = [{"prompt": f"word{i}:", "completion": f" gloss {i} of it"} for i in range(6)]
    rows[2:2] = [{"prompt": "no answer:"}, ["a list"], {"prompt": "x" * 40, "completion": " too long"}]
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    return folder


def asked(place: Path, kind: str = "mdm", **more: Any) -> dict[str, Any]:
    given: dict[str, Any] = {"data": str(place / "data"), "judge": str(place / "arm"), "length": 12, "limit": 6}
    return evaluate(place / kind, ["generation"], **{**given, **more})


def test_metrics_stand_beside_the_reference(place: Path, tmp_path: Path) -> None:
    result = asked(place, out=tmp_path / "g.json", decode="order: confidence, steps: 3, temperature: 0.8")
    assert json.loads((tmp_path / "g.json").read_text()) == json.loads(json.dumps(result))
    assert not list(tmp_path.glob("*.partial*"))
    task = result["tasks"]["generation"]
    wanted = {"perplexity", "bits_per_byte", "entropy", "distinct_1", "distinct_4", "self_bleu", "repetition", "empty"}
    assert wanted <= task["metrics"].keys() & (task["reference"].keys())
    for name in wanted - {"self_bleu"}:  # six texts are too few for its groups
        low, high = task["metrics"][name]["interval"]
        assert low <= task["metrics"][name]["value"] <= high
    assert task["n"] == 6 and task["nfe"] <= 3 and task["reference"]["tokens"]["value"] == 12
    protocol = task["protocol"]
    assert protocol["judge"]["weights_sha256"] and protocol["estimator"]["decode"]["steps"] == 3
    written = [item for item in task["items"] if item["answer"]]
    assert len({item["hash"] for item in task["items"]}) == 6 and written[0]["perplexity"] < 0
    tokens = Tokenizer.plain_bytes().encode(written[0]["answer"])
    if len(tokens) == written[0]["tokens"]:
        assert written[0]["entropy"] == pytest.approx(entropy(tokens))
    assert "reference" in in_words(result) and "3.0 passes" in in_words(result)


def test_rows_of_a_file_and_those_that_are_no_use(place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    task = asked(place, data=str(place / "rows.jsonl"), judge="none")["tasks"]["generation"]
    skipped, lacking = task["skipped"], "without the texts `prompt` and `completion`"
    assert skipped[lacking] == {"count": 2, "rows": ["rows.jsonl:3", "rows.jsonl:4"]}
    assert [found["count"] for why, found in skipped.items() if "no room" in why] == [1]
    assert "rows.jsonl:3" in capfd.readouterr().err
    assert task["n"] == 6 and "perplexity" not in task["metrics"] and task["protocol"]["judge"] is None


def test_a_stopped_evaluation_goes_on_and_writes_the_same(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, calls = asked(place), []
    real = generation.generate
    monkeypatch.setattr(generation, "ROWS_AT_ONCE", 2)

    def stops(*args: Any, **options: Any) -> Any:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(*args, **options)

    monkeypatch.setattr(generation, "generate", stops)
    with pytest.raises(KeyboardInterrupt):
        asked(place, out=tmp_path / "g.json")
    assert len((tmp_path / "g.json.partial.jsonl").read_text().splitlines()) == 1 + 4
    again = asked(place, out=tmp_path / "g.json")
    assert len(calls) == 4, "only the last two were written"
    assert again["tasks"]["generation"]["items"] == whole["tasks"]["generation"]["items"]


def test_two_models_are_compared_text_by_text(place: Path, tmp_path: Path) -> None:
    for kind in ("mdm", "arm"):
        asked(place, kind, out=tmp_path / f"{kind}.json", limit=8)
    found = compare_results(tmp_path / "mdm.json", tmp_path / "arm.json")["tasks"]["generation"]
    assert found["tokens"]["n"] == 8 and "difference" in found["tokens"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"decode": "oder: confidence"}, r"--decode: 'oder' is unknown \(did you mean 'order'\?\)"),
        ({"decode": "order: [}"}, "--decode cannot be read as YAML"),
        ({"judge": "mdm"}, "is no autoregressive model with a tokenizer"),
        ({"length": 0}, "--length is 0"),
        ({"length": 30}, "exceed the context of 32"),
        ({"limit": 1}, "--limit is 1"),
        ({"data": ""}, "does not say what text it was trained on; give --data"),
        ({"data": "empty.jsonl"}, "empty.jsonl has no two rows to write for: it is empty"),
        ({"data": "nowhere.jsonl"}, "nowhere.jsonl"),
    ],
)
def test_bad_input_is_one_line(place: Path, options: dict[str, Any], words: str) -> None:
    (place / "empty.jsonl").write_text("")
    named = {k: str(place / v) if k in ("data", "judge") and v else v for k, v in options.items()}
    with pytest.raises(UserError, match=words) as caught:
        asked(place, **named)
    assert "\n" not in str(caught.value)


def test_its_options_are_of_no_other_task(place: Path) -> None:
    with pytest.raises(UserError, match="--length is of the task generation"):
        evaluate(place / "mdm", ["hellaswag"], length=4)
    assert read_decode("") == {} and GenerationOptions().judge == "smollm2"


def test_the_command_needs_no_harness(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["eval", place / "arm", "--tasks", "generation", "--data", place / "data", "--judge", place / "arm"]
    with pytest.raises(SystemExit) as ended:
        main([*map(str, words), "--length", "8", "--prompt", "4", "--limit", "4", "--device", "cpu", "--json"])
    assert ended.value.code == 0
    assert json.loads(capsys.readouterr().out)["tasks"]["generation"]["n"] == 4


@pytest.mark.usefixtures("no_plugins")
def test_a_plug_in_is_recorded_and_asked_for_again(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = write(tmp_path, LAST), tmp_path / "g.json"

    def run(*more: str | Path) -> tuple[int, str]:
        forget()
        words = ["eval", str(place / "mdm"), "--tasks", "generation", "--data", str(place / "data"), "--judge", "none"]
        words += ["--length", "6", "--limit", "4", "--out", str(out), "--decode", "order: last, quota: even"]
        with pytest.raises(SystemExit) as ended:
            main([*words, *map(str, more)])
        return int(ended.value.code or 0), capsys.readouterr().err

    def stop(*given: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(generation, "read", stop)
        assert run("--plugin", path)[0] == 130
    partial = tmp_path / "g.json.partial.jsonl"
    before = partial.read_text()
    assert run() == (2, f"unmask: error: {partial} needs the plug-in mine.py; add --plugin mine.py\n")
    source = path.read_text()
    write(tmp_path, LAST + "# changed\n")
    status, err = run("--plugin", path)
    assert status == 2 and re.search(r"the plug-in mine.py of sha256 \w{12}, and this is \w{12}; give --plug", err)
    assert partial.read_text() == before
    path.write_text(source)
    assert run("--plugin", path)[0] == 0
    result, names = json.loads(out.read_text()), {"mine.py": sha256(path)}
    assert result["plugins"] == names and result["tasks"]["generation"]["protocol"]["plugins"] == names


def test_a_run_that_was_trained_on_what_is_asked_is_refused(place: Path, tmp_path: Path) -> None:
    model = load(place / "mdm")
    other = [{"messages": [{"role": "user"}]}, {"prompt": ["a list"], "completion": {"of": "things"}}]
    lines = [json.dumps(row) + "\n" for row in other]  # of other kinds, which a fine-tuning's file may hold
    (tmp_path / "own.jsonl").write_text((place / "rows.jsonl").read_text() + "".join(lines))
    own_rows = {"data": str(tmp_path / "own.jsonl"), "sft": {}}
    for name, recipe in (("tuned", own_rows), ("trained", {"data": str(place / "data")})):
        save(tmp_path / name, model.network, model.tokenizer)
        (tmp_path / name / "recipe.yaml").write_text(json.dumps(recipe))
    (tmp_path / "some.jsonl").write_text("".join((place / "rows.jsonl").read_text().splitlines(keepends=True)[:2]))
    with pytest.raises(UserError, match="was fine-tuned on own.jsonl, which holds 2 of 2 .* such as some.jsonl:1"):
        evaluate(tmp_path / "tuned", ["generation"], data=str(tmp_path / "some.jsonl"), judge="none", length=12)
    read = TokenData(place / "data", "train", verify=False)
    text = model.decode(read.read(0, 60).tolist())
    rows = [{"prompt": f"p{i}", "completion": text} for i in range(3)]
    (tmp_path / "read.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(UserError, match="was trained on text that is tested here: 3 of 3, such as read.jsonl:1"):
        evaluate(tmp_path / "trained", ["generation"], data=str(tmp_path / "read.jsonl"), judge="none", length=30)
    own = asked(tmp_path, "trained", data=str(place / "data"), judge="none")["tasks"]["generation"]
    assert own["exposure"] == "held out of what it was trained on"
    assert asked(place, judge="none")["tasks"]["generation"]["exposure"] == "its training tokens are not at hand"
