"""The face as it was frozen: options with their defaults, Python's names, keys of JSON results, error lines, hashes.

    python -m pytest tests/frozen/test_face.py --write-frozen     # where something was added on purpose

What was there stays: a verb, an option and its default, a name and its parameters, a key, a status, a hash. What is
added does not fail. An error's wording may improve, with the same status, field and mend, in a commit that says so.
"""

from __future__ import annotations

import argparse
import inspect
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import unmask
from unmask.cli import every_verb, main
from unmask.likelihood.scoring import config_hash
from unmask.model.config import ModelConfig
from unmask.model.folder import Model, save
from unmask.model.tokenizers import Tokenizer
from unmask.model.transformer import Transformer
from unmask.options import parser

PATH = Path(__file__).with_name("face.json")

# Each is answered by one line and the status; MODEL is a small masked model, and `x` is no file.
ERRORS = """\
sampel x
sample
sample nowhere
sample MODEL --oder confidence
sample MODEL --order confidense
sample MODEL --length many
sample MODEL --length 500
sample MODEL --length -1
sample MODEL --steps 0
sample MODEL --temperature -1
sample MODEL --quota threshold:2
sample MODEL --quota threshold:high
sample MODEL --revise remd
sample MODEL --cache all
sample MODEL --fill nogap
sample MODEL --fill a____ --prompt b
sample MODEL --prompt a --gap 2
sample MODEL --samples 0
sample MODEL --eos never
sample MODEL --pattern (a
sample MODEL --guidance strong
sample MODEL --device tpu
sample MODEL --dtype fp8
score MODEL
score MODEL x --method exakt
score MODEL x --draws 1
score MODEL x --window 9
score MODEL x --rolling --guidance 1
score MODEL x --rolling --window 500
score MODEL x --until-se -1
score MODEL x --order random
score MODEL --file nowhere.txt
train nowhere.yaml
train demo-mdm --lr 3
train demo-mdm --steps 3 --steps 4
train --steps 0 demo-mdm
train demo-mdm stray --steps 1
train demo-mdm --resum
train MODEL
convert smdm WEIGHTS --out x
convert llama MODEL --out x --size 6M
convert gguf nowhere.gguf --out x
compare a.json b.json
bench scor MODEL
bench decode MODEL
bench train --size 7M
bench engine --size 7M
tune MODEL
tune nowhere --show
prepare nowhere --out x
plan nowhere.yaml
scale fit nowhere.csv
scale run nowhere.yaml --out x""".splitlines()

CONFIGS: list[dict[str, Any]] = [
    {"n_layer": 2, "n_head": 2, "n_embd": 16, "vocab_size": 7, "block_size": 64},
    {"n_layer": 2, "n_head": 2, "n_embd": 16, "vocab_size": 7, "block_size": 64, "causal": True},
    {"n_layer": 2, "n_head": 2, "n_embd": 16, "vocab_size": 7, "block_size": 64, "eos_id": 6},
    {"n_layer": 1, "n_head": 4, "n_embd": 16, "vocab_size": 9, "block_size": 32, "n_kv_head": 2},
    {"n_layer": 1, "n_head": 2, "n_embd": 16, "vocab_size": 9, "block_size": 32, "rope_base": 100},
    {"n_layer": 1, "n_head": 2, "n_embd": 16, "vocab_size": 9, "block_size": 32, "norm_eps": 1e-6},
    {"n_layer": 1, "n_head": 2, "n_embd": 16, "vocab_size": 9, "block_size": 32, "tie_embeddings": True},
    {"n_layer": 1, "n_head": 2, "n_embd": 16, "vocab_size": 9, "block_size": 32, "intermediate_size": 24},
    {"n_layer": 3, "n_head": 1, "n_embd": 8, "vocab_size": 300, "block_size": 16},
    {"n_layer": 3, "n_head": 1, "n_embd": 8, "vocab_size": 300, "block_size": 16, "causal": True, "eos_id": 0},
]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    tokenizer = Tokenizer.plain_bytes()
    sizes = {"n_layer": 1, "n_head": 2, "n_embd": 16, "block_size": 128, "vocab_size": tokenizer.vocab_size}
    return save(folder / "tiny", Transformer(ModelConfig(**sizes, eos_id=tokenizer.eos_id), seed=0), tokenizer)


def options(of: argparse.ArgumentParser) -> dict[str, Any]:
    """Flag (or place) to default, as JSON can hold it."""
    shown = {}
    for action in of._actions:
        if not isinstance(action, argparse._HelpAction | argparse._SubParsersAction):
            shown[" ".join(action.option_strings) or action.dest] = repr(action.default)
    return shown


def keys(value: Any, under: str = "") -> list[str]:
    """Paths of a JSON value's keys; the items of a list count as one."""
    if isinstance(value, dict):
        return [path for name in value for path in [f"{under}{name}", *keys(value[name], f"{under}{name}.")]]
    return keys(value[0], under) if isinstance(value, list) and value else []


def results(model: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, list[str]]:
    """Keys of what verbs print with --json."""
    asked = {
        "sample": ["sample", str(model), "--length", "4", "--json"],
        "score": ["score", str(model), "of", "--context", "the end ", "--json"],
        "score --rolling": ["score", str(model), "some text", "--rolling", "--json"],
    }
    found = {}
    for name, words in asked.items():
        try:
            main(words)
        except SystemExit as ended:
            assert not ended.code
        found[name] = sorted(set(keys(json.loads(capsys.readouterr().out))))
    return found


def errors(model: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, list[Any]]:
    found = {}
    for line in ERRORS:
        with pytest.raises(SystemExit) as ended:
            main([str(model) if word == "MODEL" else word for word in line.split(" ")])
        shown = capsys.readouterr()
        assert shown.out == "" and shown.err.count("\n") == 1, line
        found[line] = [ended.value.code, shown.err.strip().replace(str(model), "MODEL")]
    return found


def python() -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in sorted(unmask.__all__):
        thing = getattr(unmask, name)
        plain = not callable(thing) or (isinstance(thing, type) and issubclass(thing, Exception))
        found[name] = type(thing).__name__ if plain else str(inspect.signature(thing))
    return found


def hashes() -> list[str]:
    return [config_hash(Model(Transformer(ModelConfig(**fields), seed=0), None)) for fields in CONFIGS]


FACE: dict[str, Callable[[Path, pytest.CaptureFixture[str]], Any]] = {
    "options": lambda model, capsys: {verb: options(parser(of, verb)) for verb, of in every_verb()},
    "python": lambda model, capsys: python(),
    "json": results,
    "errors": errors,
    "hashes": lambda model, capsys: hashes(),
}


def missing(old: Any, new: Any, under: str = "") -> list[str]:
    """What `old` says and `new` does not; what `new` has besides is welcome."""
    if isinstance(old, dict):
        gone = [f"{under}{name} is gone" for name in old if name not in new]
        there = [name for name in old if name in new]
        return gone + [line for name in there for line in missing(old[name], new[name], f"{under}{name}: ")]
    if under.startswith("json"):
        return [f"{under}{path} is gone" for path in old if path not in new]
    same = grown(old, new) if under.startswith("errors") else old == new
    return [] if same else [f"{under}{old!r} is now {new!r}"]


def grown(old: list[Any], new: list[Any]) -> bool:
    """Whether a status and its line are what they were, but for more names in a list that ends it."""
    pieces, now = old[1].split(", "), new[1].split(", ")
    longer = len(pieces) > 1 and pieces[0] == now[0] and set(pieces) <= set(now)
    return old[0] == new[0] and (pieces == now or longer)


@pytest.mark.parametrize("part", FACE)
def test_the_face(part: str, model: Path, capsys: pytest.CaptureFixture[str], request: pytest.FixtureRequest) -> None:
    found = json.loads(json.dumps(FACE[part](model, capsys)))
    if request.config.getoption("--write-frozen"):
        whole = json.loads(PATH.read_text()) if PATH.exists() else {}
        PATH.write_text(json.dumps({**whole, part: found}, indent=1) + "\n")
        return
    lines = missing(json.loads(PATH.read_text())[part], found, f"{part}: ")
    assert not lines, "\n".join(lines)


def test_what_is_gone_is_told() -> None:
    assert missing({"a": {"b": "1"}}, {"a": {"b": "2"}, "c": 0}, "") == ["a: b: '1' is now '2'"]
    assert missing({"a": {"b": "1"}}, {"a": {}}, "") == ["a: b is gone"]
    assert missing({"x": ["p", "q"]}, {"x": ["q", "r"]}, "json: ") == ["json: x: p is gone"]
    old, more, fewer = ([2, f"x is unknown; give one of {names}"] for names in ("a, b", "a, b, c", "a, c"))
    assert missing({"x": old}, {"x": more}, "errors: ") == []
    assert len(missing({"x": old}, {"x": fewer}, "errors: ")) == 1
    assert len(missing({"x": old}, {"x": [0, old[1]]}, "errors: ")) == 1
