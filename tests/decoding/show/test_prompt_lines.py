"""Prompts a line each: what is read, what is refused by its number, and results that no batch changes."""

from __future__ import annotations

import dataclasses
import io
import json
from typing import Any

import pytest

import unmask
from unmask.decoding import Generation
from unmask.decoding.show import prompt_lines as module
from unmask.decoding.show.prompt_lines import Defaults, Line, read_lines, sample_lines
from unmask.errors import UserError
from unmask.model.folder import Model
from unmask.model.tokenizers import Tokenizer


@pytest.fixture(scope="module")
def writer(make_model) -> Model:
    tokenizer = Tokenizer.plain_bytes()
    return make_model(vocab_size=tokenizer.vocab_size, tokenizer=tokenizer, eos_id=0)


class Kept:
    """Stands in for the file: lines as they come."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []

    def find(self, index: int, sample: int, settings_hash: str) -> None:
        return None

    def put(self, line: bytes) -> None:
        self.rows.append(json.loads(line))

    def finish(self) -> None:
        pass


def read(data: bytes, as_json: bool = False) -> list[Line]:
    return list(read_lines(io.BytesIO(data), "prompts", as_json))


def sample(model: Model, lines: list[Line], defaults: Defaults | None = None) -> tuple[list[dict[str, Any]], list[int]]:
    out = Kept()
    count, bad = sample_lines(model, lines, defaults or Defaults({"length": 6}), out)
    assert count == len(lines)
    return out.rows, bad


def of_json(*rows: Any) -> list[Line]:
    return read(b"".join(json.dumps(row).encode() + b"\n" for row in rows), as_json=True)


def what(row: dict[str, Any]) -> dict[str, Any]:
    """A result without what another batch may change: times, and the last digits of probabilities."""
    return {k: v for k, v in row.items() if k not in ("seconds", "seconds_to_first", "probabilities")}


# ------------------------------------------------------------------ reading


def test_texts() -> None:
    lines = read("﻿one\r\n\n  two  \nü\u2028x\nlast".encode())
    assert [(line.number, line.prompt) for line in lines] == [
        (1, "one"),
        (2, ""),
        (3, "  two  "),
        (4, "ü\u2028x"),
        (5, "last"),
    ]
    assert [line.error for line in read(b"a\n\xff\xfe\nb\n")] == [None, "not UTF-8 at byte 0; convert it", None]
    with pytest.raises(UserError, match="prompts is UTF-16; convert it"):
        read("a\nb\n".encode("utf-16"))


def test_objects() -> None:
    first, second, third, fourth = of_json(
        {"prompt": "a", "length": 3, "stop": "x", "id": 7, "note": [1, {"b": None}]},
        {"ids": [1, 2], "seed": 4, "forced": {"0": "a"}, "temperature": None},
        {"fill": "a __", "gap": 2, "ban": ["q"], "seed": [3, 9]},
        {"prompt": None},
    )
    assert (first.options, first.beside) == ({"length": 3, "stop": ["x"]}, {"id": 7, "note": [1, {"b": None}]})
    assert (second.prompt, second.seed, second.options) == ([1, 2], 4, {"forced": {0: "a"}})
    assert (third.source, third.gap, third.options, third.seed) == ("fill", 2, {"banned": ["q"]}, [3, 9])
    assert fourth.prompt is None and fourth.error is None
    assert [line.number for line in read(b'\n{"prompt": "a"}\n  \n{"prompt": "b"}', as_json=True)] == [2, 4]


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("nonsense", "not JSON (Expecting value at column 1)"),
        ('{"prompt": "a"', "not JSON"),
        ('{"prompt": NaN}', "not JSON (NaN is no number of it)"),
        ('{"prompt": "a", "n": ' + "9" * 5000 + "}", "not JSON"),
        ("[" * 100_000, "nested too deep"),
        ('{"prompt": ' + '{"a":' * 100_000, "nested too deep"),
        ('"a"', 'no JSON object; give one with "prompt", "ids" or "fill"'),
        ("{}", 'none of "prompt", "ids" and "fill"'),
        ('{"prompt": "a", "ids": [1]}', "prompt and ids of"),
        ('{"prompt": "a", "prompt": "b"}', "the key 'prompt' stands there twice"),
        ('{"prompt": 5}', "prompt is 5; give a text"),
        ('{"fill": null}', "fill is null; give a text"),
        ('{"ids": "1 2"}', 'ids is "1 2"; give a list of token ids'),
        ('{"ids": [1, 2.5]}', "ids is [1, 2.5]"),
        ('{"ids": [true]}', "ids is [true]"),
        ('{"prompt": "a", "gap": 2}', "gap is 2; give a whole number of at least 1, beside fill"),
        ('{"fill": "a __", "gap": 0}', "gap is 0"),
        ('{"prompt": "a", "seed": "x"}', 'seed is "x"; give a whole number'),
        ('{"prompt": "a", "seed": [1]}', "seed is [1]"),
        ('{"prompt": "a", "forced": {"x": 1}}', "forced is at 'x'"),
        ('{"prompt": "a", "negative": 5}', "negative is 5; give a list of token ids"),
        ('{"prompt": "a", "ban": ["x"], "banned": ["y"]}', "banned stands there under two names"),
        ('{"prompt": "a", "text": "b"}', "the key 'text' is one of the result's; call it otherwise"),
    ],
    ids=lambda value: value[:40],
)
def test_lines_that_are_no_prompts(text: str, error: str) -> None:
    (line,) = read(text.encode(), as_json=True)
    assert line.error is not None and error in line.error and "\n" not in line.error


# ------------------------------------------------------------------ writing

MIXED = (
    {"prompt": "The people"},
    {"prompt": "", "length": 9, "order": "confidence", "steps": 4, "id": "second"},
    {"ids": [5, 6, 7], "temperature": 0, "order": "margin"},
    {"fill": "a ____ b", "gap": 3, "length": None, "seed": 8},
    {"prompt": "x", "order": "random", "revise": "remdm-conf", "steps": 12, "block": 3},
    {"prompt": "On", "pattern": "[a-z]{2} \\d+", "length": 7, "eos": "stop"},
    {"prompt": "On", "choices": ["yes", "no"], "length": 3},
    {"prompt": "x", "stop": ["e"], "ban": ["a", 9], "forced": {"1": "z"}, "top_p": 0.9, "top_k": 5},
    {"prompt": None, "length": 4},
    {"prompt": "y", "guidance": 0.5, "guidance_mode": "drop", "guidance_interval": [0, 0.7]},
    {"prompt": "y", "guidance": 1, "negative": "n"},
    {"fill": "____ and ____", "cache": "dual:2", "order": "entropy", "quota": "threshold:0.2"},
    {"prompt": "z", "seed": [3, 1], "stop": "q"},
)


@pytest.mark.filterwarnings("error")
def test_no_batch_changes_a_result(writer: Model) -> None:
    lines = of_json(*MIXED)
    whole, bad = sample(writer, lines, Defaults({"length": 6}, seed=2, gap=2, batch=16))
    assert not bad and [row["index"] for row in whole] == list(range(len(MIXED)))
    for batch in (1, 3):
        assert [*map(what, sample(writer, lines, Defaults({"length": 6}, seed=2, gap=2, batch=batch))[0])] == [
            *map(what, whole)
        ]
    some, _ = sample(writer, lines[4::3], Defaults({"length": 6}, seed=2, gap=2))  # other lines around them
    assert [*map(what, some)] == [*map(what, whole[4::3])]


def test_a_result_is_that_of_generate(writer: Model) -> None:
    rows, _ = sample(writer, of_json(*MIXED), Defaults({"length": 6}, seed=2, gap=2, model="RUN"))
    (alone,) = unmask.generate(writer, [""], length=9, order="confidence", steps=4, seed=[(2, 1)])
    assert rows[1]["tokens"] == alone.tokens and rows[1]["seed"] == [2, 1] and rows[1]["id"] == "second"
    assert rows[1]["settings"] == {"model": "RUN", "length": 9, "order": "confidence", "steps": 4}
    assert rows[1]["tokens_per_pass"] == alone.tokens_per_pass and rows[1]["prompt"] == ""
    (filled,) = unmask.infill(writer, ["a ____ b"], gap=3, length=6, seed=[(8, 3)])
    assert (rows[3]["text"], rows[3]["seed"], rows[3]["fill"]) == (filled.text, [8, 3], "a ____ b")
    assert rows[12]["seed"] == [3, 1]
    again = Generation.from_dict(rows[1])
    assert again.probabilities == pytest.approx(alone.probabilities, rel=1e-4)
    assert again == dataclasses.replace(alone, trace=None, probabilities=again.probabilities)
    text, _ = sample(writer, read(b"a\nb\n"), Defaults({"length": 6}, samples=2))
    same = unmask.generate(writer, ["a", "a", "b", "b"], length=6)
    assert [row["tokens"] for row in text] == [g.tokens for g in same]
    assert [(row["index"], row["sample"]) for row in text] == [(0, 0), (0, 1), (1, 0), (1, 1)]


def test_a_bad_line_is_named_and_the_rest_goes_on(writer: Model, capsys: pytest.CaptureFixture[str]) -> None:
    good = {"prompt": "a"}
    rows, bad = sample(
        writer,
        of_json(
            good,
            {"prompt": "b" * 200},
            {"prompt": "a", "steps": 0},
            {"prompt": "a", "steps": [3]},
            {"prompt": "a", "order": "confidense"},
            {"ids": [999]},
            {"fill": "no gap", "length": 0},
            {"prompt": "a", "pattern": r"\d{40}"},
            {"prompt": "a", "negative": "b"},
            {"prompt": "a", "temprature": 1},
            good,
        ),
    )
    assert [row["index"] for row in rows] == [0, 9, 10] and bad == list(range(2, 10))
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 9 and all(line.startswith("unmask: prompts, line ") for line in said)
    assert said[0] == (
        "unmask: prompts, line 2: the prompt has 200 tokens, with length 6 that exceeds the context of 96; "
        "shorten prompt or length"
    )
    assert "line 5: order 'confidense' is unknown (did you mean 'confidence'?)" in said[3]
    assert "line 10: key 'temprature' passes through (did you mean 'temperature'?)" in said[8]


def test_a_batch_that_fails_is_done_line_by_line(writer: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    generate = module.generate

    def fails(model: Model, prompts: list[Any], **options: Any) -> list[Generation]:
        if "bad" in prompts:
            raise UserError("the model's logits are not finite")
        return generate(model, prompts, **options)

    monkeypatch.setattr(module, "generate", fails)
    rows, bad = sample(writer, read(b"a\nbad\nc\n"))
    assert [row["index"] for row in rows] == [0, 2] and bad == [2]


def test_a_models_own_defaults_hold_line_by_line(writer: Model) -> None:
    own = {"order": "confidence", "steps_per_token": 0.5, "temperature": 0.5}
    tuned = dataclasses.replace(writer, defaults=own)
    rules = {"order": "left-to-right", "quota": "even"}
    rows, _ = sample(tuned, of_json({"prompt": "a"}, {"prompt": "a", **rules}, {"prompt": "a"}))
    assert [row["nfe"] for row in rows] == [3, 6, 3]
    assert rows[0]["settings"] == {"model": None, "length": 6, **own}
    assert rows[1]["settings"] == {"model": None, "length": 6, **rules, "temperature": 0.5}


def test_what_a_result_rests_on_is_in_its_hash(writer: Model, make_model) -> None:
    base = {"prompt": "a", "note": 1}
    lines = of_json(base, base, {**base, "note": 2}, {**base, "steps": 3}, {**base, "seed": 1}, {"ids": [98]})
    for line in lines:
        line.number = 1
    hashes = [row["settings_hash"] for row in sample(writer, lines)[0]]
    assert hashes[0] == hashes[1] and len(set(hashes)) == 5
    other = make_model(vocab_size=writer.config.vocab_size, tokenizer=writer.tokenizer, eos_id=0, n_layer=1)
    tuned = dataclasses.replace(writer, defaults={"order": "confidence"})
    for model in (other, tuned):
        assert sample(model, lines[:1])[0][0]["settings_hash"] != hashes[0]


def test_special_tokens_are_an_option_of_each_line_and_of_its_hash(writer: Model) -> None:
    text = "a<|endoftext|>b"
    lines = [{"prompt": text}, {"prompt": text, "special_tokens": True}, {"prompt": text, "special_tokens": False}]
    rows, bad = sample(writer, of_json(*lines, {"fill": f"____{text}", "special_tokens": True}))
    assert not bad and ["special_tokens" in row["settings"] for row in rows] == [False, True, True, True]
    assert [len(row["canvas"]) - len(row["tokens"]) for row in rows] == [15, 3, 15, 4]
    assert len({row["settings_hash"] for row in rows}) == 4
    (shared, own), _ = sample(writer, of_json(*lines[::2]), Defaults({"length": 6, "special_tokens": True}))
    assert [len(row["canvas"]) - len(row["tokens"]) for row in (shared, own)] == [3, 15]
    _, bad = sample(writer, of_json({"prompt": text, "special_tokens": "yes"}))
    assert bad == [1]


def test_lines_are_read_as_they_are_needed(writer: Model) -> None:
    """No more of a file than a batch stands in memory."""
    asked, written = 0, 0

    def endless():
        nonlocal asked
        while asked < 40:
            asked += 1
            assert asked - written <= 5
            yield Line(asked, "a")

    class Counting(Kept):
        def put(self, line: bytes) -> None:
            nonlocal written
            written += 1

    assert sample_lines(writer, endless(), Defaults({"length": 1}, batch=4), Counting()) == (40, [])
