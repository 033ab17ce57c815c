"""The command as users meet it: verbs, JSON, streams, exit status.

Processes of their own; calls in this one where a command's options alone are looked at.

make test ARGS=tests/test_cli.py
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import unmask
from unmask.cli import every_verb, main, warn
from unmask.model.config import ModelConfig
from unmask.model.folder import save
from unmask.model.tokenizers import Tokenizer
from unmask.model.transformer import Transformer
from unmask.options import declared


def command(*words: str | Path) -> list[str]:
    return [sys.executable, "-m", "unmask", *map(str, words)]


def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*words), capture_output=True, text=True, timeout=100)


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """What a command prints, in this process."""

    def here(*words: str | Path) -> str:
        with pytest.raises(SystemExit) as ended:
            main([*map(str, words)])
        shown = capsys.readouterr()
        assert ended.value.code == 0, shown.err
        return shown.out

    return here


@pytest.fixture(scope="module", params=[False, True], ids=["mdm", "arm"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("model") / "tiny", causal=request.param)


@pytest.fixture(scope="module")
def mdm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("model") / "tiny", causal=False)


def make_model(folder: Path, causal: bool) -> Path:
    tokenizer = Tokenizer.plain_bytes()
    sizes = {"n_layer": 1, "n_head": 2, "n_embd": 16, "block_size": 128, "vocab_size": tokenizer.vocab_size}
    network = Transformer(ModelConfig(**sizes, causal=causal, eos_id=tokenizer.eos_id), seed=0)
    return save(folder, network, tokenizer)


def test_sample_as_text_and_as_json(model: Path) -> None:
    words = ("sample", model, "--prompt", "The ", "--prompt", "A longer one ", "--length", 7, "--samples", 2)
    shown, listed = run(*map(str, words)), run(*map(str, words), "--json")
    assert shown.returncode == listed.returncode == 0
    found = json.loads(listed.stdout)
    prompts = ["The ", "The ", "A longer one ", "A longer one "]
    assert shown.stdout == "\n---\n".join(p + g["text"] for p, g in zip(prompts, found, strict=True)) + "\n"
    assert all(g["schema_version"] == 2 and len(g["tokens"]) <= 7 and g["nfe"] >= 1 for g in found)
    assert shown.stderr == ""
    same = unmask.generate(unmask.load(model), prompts, length=7)
    assert [g["tokens"] for g in found] == [g.tokens for g in same]


def test_options_reach_the_engine(mdm: Path, said: Callable[..., str]) -> None:
    base = ("sample", mdm, "--prompt", "The ", "--length", "8", "--json")
    plain = json.loads(said(*base))[0]
    for extra in (["--seed", "7"], ["--temperature", "0"], ["--order", "left-to-right"], ["--guidance", "4"]):
        other = json.loads(said(*base, *extra))[0]
        assert (other["tokens"], other["steps"]) != (plain["tokens"], plain["steps"]), extra
    assert json.loads(said(*base, "--guidance", "1", "--steps", "1"))[0]["nfe"] == 2
    blocks = json.loads(said(*base, "--order", "confidence", "--quota", "even", "--block", "4"))[0]
    assert max(blocks["steps"][:4]) < min(blocks["steps"][4:])


def test_fill_and_watch(mdm: Path) -> None:
    done = run("sample", mdm, "--fill", "The ____ of the Union", "--gap", "3", "--watch")
    assert done.returncode == 0
    assert done.stdout.startswith("The ") and done.stdout.endswith(" of the Union\n")
    assert "3 of 3 tokens" in done.stderr and "tokens" not in done.stdout
    words = ("--fill", "a ____", "--gap", "2", "--length", "4", "--block", "3", "--json")
    (filled,) = json.loads(run("sample", mdm, *words).stdout)
    assert (len(filled["tokens"]), filled["positions"]) == (6, [1, 2, 3, 4, 5, 6])


def test_a_trace_and_a_page_of_it(model: Path, tmp_path: Path) -> None:
    trace, page = tmp_path / "out.json", tmp_path / "out.html"
    words = ("sample", model, "--prompt", "The ", "--samples", "2", "--length", "5", "--seed", "4")
    done = run(*words, "--trace", trace, "--html", page, "--json")
    assert done.returncode == 0 and done.stderr == ""
    written = json.loads(trace.read_text())
    assert written["generations"] == json.loads(done.stdout)
    assert (written["settings"]["seed"], written["settings"]["length"]) == (4, 5)
    assert page.read_text().startswith("<!doctype html>")
    assert {p.name for p in tmp_path.iterdir()} == {"out.json", "out.html"}


def test_a_bad_place_for_a_trace_is_told_before_anything_is_written(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["sample", str(model), "--trace", str(tmp_path / "a.json"), "--html", str(tmp_path / "no" / "a.html")])
    shown = capsys.readouterr()
    assert ended.value.code == 2 and shown.out == "" and not list(tmp_path.iterdir())
    assert shown.err.count("\n") == 1 and "a.html cannot be written: there is no folder" in shown.err


def test_score_as_text_and_as_json(model: Path) -> None:
    words = ("score", model, "one text", "another", "--context", "so: ", "--draws", "16", "--seed", "3")
    shown, listed = run(*words), json.loads(run(*words, "--json").stdout)
    same = unmask.score(unmask.load(model), [("so: ", "one text"), ("so: ", "another")], draws=16, seed=3)
    assert all(s["schema_version"] == 1 for s in listed)
    assert [s["logprob"] for s in listed] == pytest.approx([s.logprob for s in same], rel=1e-6)
    for line, score in zip(shown.stdout.splitlines(), same, strict=True):
        assert (
            f"{-score.logprob:.3f} nats (se {score.se:.3f})" in line and f"{score.bits_per_byte:.4f} bits/byte" in line
        )
        assert line.startswith("-log p <=" if score.is_bound else "-log p = ")
        low, high = score.interval
        within = f", 95% [{-high:.3f}, {-low:.3f}], " if score.groups else ", "
        assert f"(se {score.se:.3f}){within}{score.nats_per_token:.4f} nats/token" in line
    assert [s["interval"] for s in listed] == [pytest.approx(list(s.interval), rel=1e-6) for s in same]


def test_special_tokens_are_ids_where_that_is_asked_for(model: Path, said: Callable[..., str]) -> None:
    chat = "a<|endoftext|>b"
    words = ("sample", model, "--prompt", chat, "--length", 3, "--json")
    plain, parsed = (json.loads(said(*words, *more))[0] for more in ((), ("--special-tokens",)))
    assert len(plain["canvas"]) - len(plain["tokens"]) == 15
    assert parsed["canvas"][: len(parsed["canvas"]) - len(parsed["tokens"])] == [98, 0, 99]
    words = ("score", model, chat, "--context", chat, "--json", "--draws", 2)
    plain, parsed = (json.loads(said(*words, *more))[0] for more in ((), ("--special-tokens",)))
    assert (plain["n_tokens"], parsed["n_tokens"]) == (15, 3)
    assert said("sample", model, "--prompt", chat, "--length", 3, "--special-tokens").startswith(chat)


def test_score_of_files_in_windows_and_until_an_error(
    model: Path, tmp_path: Path, said: Callable[..., str]
) -> None:
    (tmp_path / "long.txt").write_text("A text that is longer than the model's context. " * 6)
    base = ("score", model, "--file", tmp_path / "long.txt", "--rolling", "--window", "40", "--overlap", "8")
    (found,) = json.loads(said(*base, "--draws", "8", "--json"))
    same = unmask.rolling(unmask.load(model), [(tmp_path / "long.txt").read_text()], window=40, overlap=8, draws=8)[0]
    assert found["logprob"] == pytest.approx(same.logprob, rel=1e-6) and found["windows"] == same.windows
    assert found["n_tokens"] == found["n_bytes"] == 288
    shown = said("score", model, "a text to score", "--until-se", "0.5", "--greedy")
    assert "greedy decoding writes another" in shown
    (stopped,) = json.loads(said("score", model, "a text to score", "--until-se", "0.5", "--json"))
    assert stopped["se"] <= 0.5


def test_convert_there_and_back(model: Path, tmp_path: Path, said: Callable[..., str]) -> None:
    made = said("convert", "smdm", model, "--export", "--out", tmp_path / "w.safetensors", "--json")
    assert json.loads(made) == {"out": str(tmp_path / "w.safetensors"), "format": "smdm"}
    said(
        *("convert", "smdm", tmp_path / "w.safetensors", "--config", tmp_path / "w.json"),
        *("--rope", "fp32", "--tokenizer", model, "--out", tmp_path / "back"),
    )
    for name in ("model.safetensors", "tokenizer.json"):
        assert (tmp_path / "back" / name).read_bytes() == (model / name).read_bytes()
    assert unmask.load(tmp_path / "back").config == unmask.load(model).config


def test_prepare_says_when_there_is_nothing_to_do(tmp_path: Path) -> None:
    (tmp_path / "texts").mkdir()
    for i in range(20):
        (tmp_path / "texts" / f"{i}.txt").write_text(f"Text number {i} says that {i} is {i}. " * 4)
    words = ("prepare", tmp_path / "texts", "--out", tmp_path / "out", "--tokenizer", "bytes", "--split", "random:0.3")
    first, second = run(*words), run(*words, "--json")
    assert first.stdout.splitlines()[0].endswith(": made") and "train: " in first.stdout
    assert json.loads(second.stdout)["created"] is False


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["sampel", "x"], "'sampel' is not a verb (did you mean 'sample'?); verbs: prepare, train, sample"),
        (["sample"], "the following arguments are required: RUN"),
        (["sample", "nowhere"], "nowhere does not exist; give a run, a checkpoint or a model folder"),
        (["sample", "MODEL", "--oder", "confidence"], "unknown argument --oder (did you mean '--order'?)"),
        (["sample", "MODEL", "--order", "confidense"], "'confidense' is unknown (did you mean 'confidence'?)"),
        (["sample", "MODEL", "--length", "many"], "--length is 'many'; give a whole number"),
        (["sample", "MODEL", "--prompt", "x" * 200], "prompt 0 has 200 tokens"),
        (["sample", "MODEL", "--length", "500"], "exceeds the context of 128; shorten prompt or length"),
        (["sample", "MODEL", "--fill", "no gap"], "has no blank"),
        (["sample", "MODEL", "--fill", "a ____", "--prompt", "b"], "--fill and --prompt do not go together"),
        (["sample", "MODEL", "--prompt", "a", "--gap", "2"], "--gap says how long the gaps of --fill are"),
        (["sample", "MODEL", "--samples", "0"], "--samples is 0"),
        (["score", "MODEL", ""], "empty continuation"),
        (["score", "MODEL", "x", "--method", "exakt"], "did you mean 'exact'?"),
        (["score", "MODEL", "x", "--draws", "1"], "draws is 1"),
        (["score", "MODEL", "x" * 128], "the continuation has 128 tokens, the context of 128 holds 127"),
        (["train", "nowhere.yaml"], "nowhere.yaml does not exist; give a recipe"),
        (["train", "demo-mdm", "--lr", "3"], "lr is not a recipe key; lr is optimizer.lr (--optimizer.lr VALUE)"),
        (["train", "demo-mdm", "--steps", "3", "--steps", "4"], "--steps is given twice, as 3 and as 4"),
        (["train", "--steps", "0", "demo-mdm"], "steps is 0; give at least 1"),
        (["train", "demo-mdm", "stray", "--steps", "1"], "unknown argument stray; give a recipe's keys as --KEY VALUE"),
        (["train", "demo-mdm", "--resum"], "--resum has no value (did you mean '--resume'?)"),
        (["train", "MODEL"], "is a folder and no run: it has no recipe.yaml"),
        (["convert", "smdm", "WEIGHTS", "--out", "x"], "give exactly one of --config JSON and --size NAME"),
        (["convert", "llama", "MODEL", "--out", "x", "--size", "6M"], "--size does not concern llama; leave it out"),
        (["convert", "gguf", "MODEL", "--export", "--out", "x"], "models are not written as gguf"),
        (["convert", "gguf", "nowhere.gguf", "--out", "x"], "nowhere.gguf is not a file"),
        (["convert", "llama", "MODEL", "--export", "--out", "x"], "is a masked diffusion model"),
        (["score", "MODEL"], "no text is given; write it behind RUN, or give --file FILE"),
        (["score", "MODEL", "x", "--window", "9"], "--window concerns --rolling only"),
        (["score", "MODEL", "x", "--rolling", "--guidance", "1"], "--guidance does not go with --rolling"),
        (["score", "MODEL", "x", "--rolling", "--window", "500"], "window is 500; give 2 to 128"),
        (["score", "MODEL", "--file", "nowhere.txt"], "nowhere.txt cannot be read as UTF-8 text"),
        (["score", "MODEL", "x", "--until-se", "-1"], "until_se is -1.0"),
        (["score", "MODEL", "x", "--order", "random"], "order 'random' does not concern method mc-fixed"),
        (["eval", "MODEL", "--tasks", "hellaswak"], "task 'hellaswak' is unknown (did you mean 'hellaswag'?)"),
        (["eval", "nowhere", "--tasks", "unmask_piqa"], "nowhere does not exist"),
        (["compare", "a.json", "b.json"], "a.json cannot be read as JSON"),
        (["bench", "decode", "MODEL", "--data", "x", "--gabs", "3"], "unknown argument --gabs (did you mean '--gaps'"),
        (["bench", "scor", "MODEL"], "'scor' is not a verb of unmask bench"),
        (["bench", "decode", "MODEL"], "the following arguments are required: --data"),
        (["bench", "decode", "MODEL", "--data", "x", "--samples", "1"], "--samples is 1; give at least 2"),
        (["bench", "train", "--size", "7M"], "--size 7M is neither a preset"),
        (["bench", "engine", "--size", "7M"], "bench engine is now python -m benchmarks.engine, with the same options"),
        (["bench", "score", "MODEL", "--help"], "bench score is now python -m benchmarks.likelihood"),
        (["bench", "estimators"], "bench estimators is now python -m benchmarks.estimators"),
        (["bench", "--json", "llama", "MODEL"], "bench llama is now python -m benchmarks.llama"),
        (["tune", "MODEL", "--target", "sped", "--data", "x"], "--target is 'sped' (did you mean 'speed'?)"),
        (["tune", "MODEL"], "give either --data FOLDER, to measure, or --from FILE"),
        (["tune", "nowhere", "--show"], "nowhere does not exist"),
        (["prepare", "nowhere", "--out", "x"], "nowhere"),
        (["sample", "n" * 300], "File name too long; check the path"),
    ],
    ids=lambda value: None if isinstance(value, str) else " ".join(value)[:40],
)
def test_bad_input_is_one_line_and_status_2(
    mdm: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if words[0] == "eval":
        pytest.importorskip("lm_eval")
    with pytest.raises(SystemExit) as ended:
        main([str(mdm) if word == "MODEL" else word for word in words])
    shown = capsys.readouterr()
    assert ended.value.code == 2
    assert shown.err.startswith("unmask: error: ") and message in shown.err
    assert shown.err.count("\n") == 1 and shown.out == ""


def test_what_libraries_tell_their_developers_is_not_shown(capsys: pytest.CaptureFixture[str]) -> None:
    import warnings

    class Ours(FutureWarning):
        __module__ = "unmask.errors"

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = warn
        for category in (DeprecationWarning, PendingDeprecationWarning, FutureWarning):
            warnings.warn("`broadcast_buffers` will be removed", category, stacklevel=1)
        warnings.warn("TypedStorage is deprecated", UserWarning, stacklevel=1)
        warnings.warn("a name of ours is deprecated; use the new one", Ours, stacklevel=1)
        warnings.warn("the driver is too old", UserWarning, stacklevel=1)
    lines = [line.removeprefix("unmask: warning: ") for line in capsys.readouterr().err.splitlines()]
    assert lines == ["a name of ours is deprecated; use the new one", "the driver is too old"]


def test_a_warning_is_one_line(mdm: Path) -> None:
    shown = run("sample", mdm, "--guidance", "1", "--length", "4")
    assert shown.returncode == 0
    assert shown.stderr == "unmask: warning: guidance has no effect without a prompt; sampling without it\n"


def test_without_a_tokenizer_text_from_nothing_is_ids(tmp_path: Path) -> None:
    network = Transformer(ModelConfig(n_layer=1, n_head=2, n_embd=16, vocab_size=9, block_size=16), seed=0)
    save(tmp_path / "model", network)
    ids = run("sample", tmp_path / "model", "--length", "5").stdout.split()
    assert len(ids) == 5 and all(0 <= int(i) < 9 for i in ids)


def test_too_little_memory_is_one_line(mdm: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(mdm, tmp_path / "vast")
    config = json.loads((mdm / "config.json").read_text())
    config["model"]["vocab_size"] = 10**13
    (tmp_path / "vast" / "config.json").write_text(json.dumps(config))
    with pytest.raises(SystemExit) as ended:
        main(["sample", str(tmp_path / "vast")])
    error = capsys.readouterr().err
    assert ended.value.code == 2
    assert error.startswith("unmask: error: out of memory (") and error.count("\n") == 1


@pytest.mark.parametrize("inherited", [signal.SIG_DFL, signal.SIG_IGN])
def test_ctrl_c_is_status_130(mdm: Path, inherited: signal.Handlers) -> None:
    """Also of a process that a script has started in the background, which inherits the signal as ignored."""
    words = ("score", mdm, "a rather long text " * 6, "--draws", "1000000")
    process = subprocess.Popen(
        command(*words), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, inherited),
    )  # fmt: skip
    time.sleep(4)
    process.send_signal(signal.SIGINT)
    out, error = process.communicate(timeout=30)
    assert process.returncode == 130
    assert out == "" and "Traceback" not in error


def test_any_verb_can_be_interrupted_though_it_inherits_the_signal_as_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unmask.cli.run", lambda words: signal.raise_signal(signal.SIGINT))
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with pytest.raises(SystemExit) as ended:
            main(["any"])
    finally:
        signal.signal(signal.SIGINT, before)
    assert ended.value.code == 130


def test_a_reader_that_goes_away_is_no_traceback(mdm: Path) -> None:
    process = subprocess.Popen(command("sample", mdm), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait(timeout=60) == 141


def test_version() -> None:
    assert run("--version").stdout == f"unmask {unmask.__version__}\n"


def test_train_without_a_recipe_lists_those_that_are_shipped() -> None:
    shown, helped = run("train", "--resume"), run("train", "--help")
    assert shown.returncode == 2 and shown.stdout == ""
    first, *lines = shown.stderr.splitlines()
    assert first.startswith("unmask: error: no recipe is given; give a YAML file, a run with --resume, or one of")
    assert [line.split()[0] for line in lines] == ["demo-arm", "demo-mdm", "gsm8k-sft"]
    assert all(line in helped.stdout for line in lines)
    assert "--model.n_layer 4" in helped.stdout and "--dry-run" in helped.stdout


VERBS: dict[str, list[str]] = {
    "sample": ["sample", "RUN"],
    "score": ["score", "RUN", "text"],
    "eval": ["eval", "RUN", "--tasks", "unmask_boolq"],
    "tune": ["tune", "RUN", "--data", "RUN"],
    "lm-eval": ["lm-eval", "--model", "unmask", "--model_args", "path=RUN", "--tasks", "unmask_boolq"],
    "bench decode": ["bench", "decode", "RUN", "--data", "RUN"],
}


@pytest.mark.parametrize("words", VERBS.values(), ids=list(VERBS))
def test_a_device_or_a_type_that_is_not_there_is_one_line(
    words: list[str], mdm: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if "eval" in words[0]:
        pytest.importorskip("lm_eval")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setenv("UNMASK_PROCESSOR_BF16", "0")
    asked = [(["--device", "cuda:7"], "device is cuda:7, but PyTorch sees no CUDA device; give cpu or auto")]
    asked.append((["--device", "cdua"], "device is 'cdua' (did you mean 'cuda'?); give auto, cpu, cuda or cuda:N"))
    asked.append((["--dtype", "bf61"], "dtype is 'bf61' (did you mean 'bf16'?); give fp32, bf16 or auto"))
    if words[0] in ("sample", "score"):
        asked.append((["--dtype", "bf16"], "no bf16 products; give fp32 or auto"))
    for extra, why in asked:
        with pytest.raises(SystemExit) as ended:
            main([word.replace("RUN", str(mdm)) for word in words] + extra)
        shown = capsys.readouterr()
        assert ended.value.code == 2 and shown.out == ""
        lines = [line for line in shown.err.splitlines() if line.startswith("unmask: error: ")]
        assert len(lines) == 1 and why in lines[0], shown.err


def test_every_verb_that_runs_a_model_says_where_and_in_which_type() -> None:
    verbs = dict(every_verb())
    for name in VERBS.keys() - {"lm-eval"}:
        defaults = {one.name: one.default for one in declared(verbs[name])}
        assert defaults["device"] == "auto" and defaults["dtype"] in ("fp32", ["fp32"]), name


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("score RUN x --steps 3", "--steps is of unmask sample and unmask bench train, not of unmask score"),
        ("sample RUN --prompt a --leng 3", "unknown argument --leng (did you mean '--length'?)"),
        ("sample RUN --length 3 --length 4", "--length is given twice; leave out one"),
        ("sample RUN --top-p 2", "top_p is 2.0; give a number above 0 and at most 1"),
        ("smaple RUN", "'smaple' is not a verb (did you mean 'sample'?)"),
        ("scale fti x", "'fti' is not a verb of unmask scale (did you mean 'fit'?)"),
        ("scale", "unmask scale needs one of its verbs: plan, run"),
    ],
)
def test_a_wrong_word_is_told_in_one_line(line: str, told: str, mdm: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([str(mdm) if word == "RUN" else word for word in line.split()])
    shown = capsys.readouterr()
    assert ended.value.code == 2 and shown.out == ""
    assert shown.err.count("\n") == 1 and told in shown.err, shown.err
