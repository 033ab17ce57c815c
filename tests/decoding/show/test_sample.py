"""`unmask sample` as a process: token ids, prompts from files and stdin, what is refused, kills and what goes on."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import unmask
from unmask.cli import main
from unmask.model.config import ModelConfig
from unmask.model.defaults import write_defaults
from unmask.model.folder import save
from unmask.model.tokenizers import Tokenizer
from unmask.model.transformer import Transformer

TIMES = ("seconds", "seconds_to_first", "probabilities")


def make(folder: Path, causal: bool = False, tokenizer: Tokenizer | None = None) -> Path:
    sizes = {"n_layer": 1, "n_head": 2, "n_embd": 16, "block_size": 64, "vocab_size": 257}
    return save(folder, Transformer(ModelConfig(**sizes, causal=causal, eos_id=0), seed=0), tokenizer)


@pytest.fixture(scope="module")
def mdm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("model") / "mdm", tokenizer=Tokenizer.plain_bytes())


def command(*words: str | Path) -> list[str]:
    return [sys.executable, "-m", "unmask", "sample", *map(str, words)]


def run(*words: str | Path, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(command(*words), input=stdin, capture_output=True, timeout=100)


def called(capsys: pytest.CaptureFixture[str], *words: str | Path) -> tuple[int, str, str]:
    """In this process: status, stdout, stderr."""
    with pytest.raises(SystemExit) as ended:
        main(["sample", *map(str, words)])
    shown = capsys.readouterr()
    return int(ended.value.code or 0), shown.out, shown.err


def test_token_ids(mdm: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ids = [85, 105, 102]  # "The"
    words = ("--ids", "85 105 102", "--ids", "98,33", "--ids", "", "--length", "5")
    status, out, err = called(capsys, mdm, *words, "--json")
    rows = json.loads(out)
    same = unmask.generate(unmask.load(mdm), [ids, [98, 33], []], length=5)
    assert (status, err) == (0, "") and [row["tokens"] for row in rows] == [g.tokens for g in same]
    assert [row["ids"] for row in rows] == [ids, [98, 33], []] and "prompt" not in rows[0]
    _, shown, _ = called(capsys, mdm, *words)
    assert shown == "\n---\n".join(p + (g.text or "") for p, g in zip(("The", "a ", ""), same, strict=True)) + "\n"
    _, shown, _ = called(capsys, make(tmp_path / "bare"), "--ids", "5 7", "--length", "3")
    assert shown.startswith("5 7 ") and len(shown.split()) == 5


def test_json_carries_prompt_settings_and_tokens_per_pass(mdm: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--prompt", "We", "--length", "6", "--order", "confidence", "--steps", "3", "--seed", "4", "--json")
    (row,) = json.loads(called(capsys, mdm, *words)[1])
    settings = {"model": str(mdm), "length": 6, "steps": 3, "order": "confidence", "seed": 4}
    assert (row["prompt"], row["settings"], row["tokens_per_pass"]) == ("We", settings, 6 / row["nfe"])
    (same,) = unmask.generate(unmask.load(mdm), ["We"], length=6, order="confidence", steps=3, seed=4)
    assert unmask.Generation.from_dict(row) == same
    (row,) = json.loads(called(capsys, mdm, "--fill", "a __", "--gap", "2", "--json")[1])
    assert row["fill"] == "a __" and row["settings"]["gap"] == 2


def test_prompts_from_stdin_and_from_files(
    mdm: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = run(mdm, "--prompts", "-", "--length", "4", stdin=b"one\ntwo\n")
    assert texts.returncode == 0 and texts.stderr == b""
    rows = [json.loads(line) for line in texts.stdout.splitlines()]
    assert [(row["index"], row["prompt"]) for row in rows] == [(0, "one"), (1, "two")]
    stdin = io.TextIOWrapper(io.BytesIO(b'{"prompt": "one", "length": 4, "id": "x"}\n'))
    monkeypatch.setattr(sys, "stdin", stdin)
    status, printed, err = called(capsys, mdm, "--prompts", "-", "--jsonl")
    (row,) = map(json.loads, printed.splitlines())
    assert (status, err) == (0, "") and row.pop("id") == "x"
    rows[0]["settings_hash"] = row["settings_hash"]
    assert row | dict.fromkeys(TIMES) == rows[0] | dict.fromkeys(TIMES)
    (tmp_path / "p.jsonl").write_text('{"prompt": "one"}\nbad\n{"prompt": "two"}\n')
    words = (mdm, "--prompts", tmp_path / "p.jsonl", "--length", "4", "--out", tmp_path / "out")
    status, printed, err = called(capsys, *words)
    assert (status, printed) == (2, "")
    said = err.splitlines()
    assert "p.jsonl, line 2: not JSON (Expecting value at column 1)" in said[0] and len(said) == 2
    assert said[1] == "unmask: error: 1 of 3 lines have no result (2); mend them and run the command again"
    assert [row["index"] for row in map(json.loads, (tmp_path / "out").read_text().splitlines())] == [0, 2]
    (tmp_path / "p.jsonl").write_text('{"prompt": "one"}\n{"prompt": "mended"}\n{"prompt": "two"}\n')
    assert called(capsys, *words) == (0, "", "")
    rows = [json.loads(line) for line in (tmp_path / "out").read_text().splitlines()]
    assert [row["prompt"] for row in rows] == ["one", "mended", "two"]
    assert {path.name for path in tmp_path.iterdir()} == {"p.jsonl", "out"}


def test_a_killed_process_goes_on(mdm: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`kill -9` in the midst, twice: whole lines are kept as they are, and the result is that of an unbroken run."""
    (tmp_path / "p.txt").write_text("".join(f"line {i}\n" for i in range(1500)))
    words = (mdm, "--prompts", tmp_path / "p.txt", "--length", "16", "--batch", "2")
    out = tmp_path / "out.jsonl"
    kept: list[bytes] = []
    for _ in range(2):
        process = subprocess.Popen(command(*words, "--out", out), stderr=subprocess.PIPE)
        whole, deadline = len(kept) + 3, time.monotonic() + 60
        while time.monotonic() < deadline and not (out.exists() and out.read_bytes().count(b"\n") >= whole):
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        lines = out.read_bytes().splitlines(keepends=True)
        assert lines[: len(kept)] == kept
        kept = [line for line in lines if line.endswith(b"\n")]
        assert 3 <= len(kept) < 1500
        with out.open("ab") as file:  # what a kill in the midst of a write leaves
            file.write(b'{"index": 1499, "settings_')
    few = "".join(f"line {i}\n" for i in range(len(kept) + 5))
    (tmp_path / "p.txt").write_text(few)
    assert called(capsys, *words, "--out", out) == (0, "", "")
    lines = out.read_bytes().splitlines(keepends=True)
    assert lines[: len(kept)] == kept and len(lines) == len(kept) + 5
    unbroken = called(capsys, *words[:-1], "7")[1].splitlines()

    def what(line: bytes | str) -> dict[str, object]:
        return json.loads(line) | dict.fromkeys(TIMES)

    assert [*map(what, lines)] == [*map(what, unbroken)]


def test_options_that_do_not_go_together(mdm: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prompts = tmp_path / "p.txt"
    prompts.write_text("a\n")
    for words, message in (
        (("--ids", "1 x"), "--ids '1 x' is not understood; give token ids, such as '1 2 3'"),
        (("--ids", "999"), "token id 999 lies outside the vocabulary"),
        (("--ids", "1", "--prompt", "a"), "--prompt and --ids do not go together"),
        (("--prompts", prompts, "--fill", "a __"), "--fill and --prompts do not go together"),
        (("--prompts", prompts, "--watch"), "--watch does not go with --prompts"),
        (("--prompts", prompts, "--html", "x.html"), "--html does not go with --prompts"),
        (("--prompts", prompts, "--batch", "0"), "--batch is 0; give at least 1"),
        (("--prompts", prompts, "--out", prompts), "is the file of the prompts; give another one"),
        (("--prompts", tmp_path / "none"), "none cannot be read: No such file or directory; give a file of prompts"),
        (("--prompts", tmp_path), "is a folder; give a file of prompts"),
        (("--out", "x"), "--out says of --prompts where their results go; give --prompts FILE"),
        (("--jsonl",), "--jsonl says of --prompts they are JSON; give --prompts FILE"),
        (("--fill", "a __", "--gap", "0"), "--gap is 0; give at least 1"),
        (("--prompt", "a", "--negative", "b"), "negative is given without guidance"),
        (("--prompt", "a", "--guidance", "0", "--negative", "b"), "negative is given without guidance"),
        (("--prompt", "a", "--guidance-mode", "drop"), "--guidance-mode steers guidance, and there is none"),
        (("--prompt", "a", "--guidance-interval", "0", "0.5"), "--guidance-interval steers guidance"),
    ):
        status, out, err = called(capsys, mdm, *words)
        assert (status, out) == (2, "") and message in err and err.count("\n") == 1, err
    assert prompts.read_text() == "a\n"


def test_a_models_own_defaults_are_said_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = make(tmp_path / "tuned", tokenizer=Tokenizer.plain_bytes())
    write_defaults(model, {"order": "confidence", "steps_per_token": 0.5, "temperature": 0.7}, measured={})
    (tmp_path / "p.txt").write_text("a\nb\n")
    for words in (("--prompt", "a", "--prompt", "b"), ("--prompts", tmp_path / "p.txt", "--batch", "1")):
        status, _, err = called(capsys, model, *words, "--length", "4")
        assert status == 0 and err.count("\n") == 1
        assert "own defaults (unmask tune): order confidence, steps_per_token 0.5, temperature 0.7;" in err
    _, _, err = called(capsys, model, "--prompt", "a", "--length", "4", "--order", "random")
    assert "own defaults (unmask tune): temperature 0.7;" in err
    _, _, err = called(capsys, model, "--length", "4", "--order", "random", "--temperature", "1")
    assert err == ""


def test_json_is_json_in_any_terminal(mdm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "p.txt").write_text("é€")
    for words in (("--prompt", "é€", "--json"), ("--prompts", str(tmp_path / "p.txt"))):
        for encoding in ("ascii", "latin-1", "utf-8"):
            raw = io.BytesIO()
            monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding=encoding))
            with pytest.raises(SystemExit):
                main(["sample", str(mdm), "--length", "3", *words])
            found = json.loads(raw.getvalue())
            assert (found[0] if isinstance(found, list) else found)["prompt"] == "é€"
