"""Rows to examples: which tokens are learned, templates, the paper's two GSM8K examples, what is skipped and why."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from unmask.data.chat import TEMPLATES, Part, TemplateFields, Turn, render, template
from unmask.data.sft import Examples, read_examples
from unmask.data.sft_fields import FieldNames, SFTFields
from unmask.errors import UserError
from unmask.model.tokenizers import Tokenizer

TOKENIZER = Tokenizer.plain_bytes()
EOS = 0


def write(path: Path, *rows: Any) -> Path:
    text = "".join(json.dumps(row) + "\n" for row in rows)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def read(path: Path, context: int = 200, **fields: Any) -> Examples:
    return read_examples(str(path), SFTFields(**fields), TOKENIZER, EOS, context)


def shown(examples: Examples, index: int) -> str:
    """An example's text with what is learned in [brackets] and $ for the end of a sequence."""
    out, before = "", False
    for token, learned in zip(examples.ids(index), examples.learned(index).tolist(), strict=True):
        out += "[" * (learned and not before) + "]" * (before and not learned)
        out += "$" if token == EOS else chr(token - 1)
        before = learned
    return out + "]" * before


def test_a_pair_is_a_clean_prompt_and_a_learned_answer_with_its_end(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl.gz", {"prompt": "1+1?", "completion": "2"}, {"prompt": "Hi", "completion": "Ho"})
    examples = read(path)
    assert [shown(examples, i) for i in range(2)] == ["1+1?\n[2$]", "Hi\n[Ho$]"]
    assert shown(read(path, template="raw"), 0) == "1+1?[2$]"
    assert examples.learned_counts().tolist() == [2, 3] and examples.lengths.tolist() == [7, 6]
    renamed = write(tmp_path / "b.jsonl", {"q": "1", "a": "2"})
    assert shown(read(renamed, fields=FieldNames(prompt="q", completion="a")), 0) == "1\n[2$]"


CHAT = {
    "messages": [
        {"role": "user", "content": "A"},
        {"role": "assistant", "content": "B"},
        {"role": "user", "content": "C"},
        {"role": "assistant", "content": "D"},
        {"role": "user", "content": "left over"},
    ]
}


@pytest.mark.parametrize(
    ("learn", "text"),
    [
        ("all", "USER: A ASSISTANT:[ B$]USER: C ASSISTANT:[ D$]"),
        ("last", "USER: A ASSISTANT: B$USER: C ASSISTANT:[ D$]"),
        ("first", "USER: A ASSISTANT:[ B$]"),
    ],
)
def test_answers_of_a_conversation(tmp_path: Path, learn: str, text: str) -> None:
    path = write(tmp_path / "chat.jsonl", CHAT)
    examples = read(path, 300, template="vicuna", learn=learn)
    assert shown(examples, 0) == TEMPLATES["vicuna"].default_system + text


def test_each_turn_is_scored_after_all_before_it(tmp_path: Path) -> None:
    examples = read(write(tmp_path / "chat.jsonl", CHAT))
    pairs = [(TOKENIZER.decode(context), TOKENIZER.decode(answer)) for context, answer in examples.turns(0)]
    assert pairs == [("A\n", "B"), ("A\nBC\n", "D")]
    assert all(answer[-1] == EOS for _, answer in examples.turns(0))


def test_the_papers_chat_data_and_strings_of_ones_own(tmp_path: Path) -> None:
    rows = {"conversations": [{"from": "human", "value": "A"}, {"from": "gpt", "value": "B"}]}
    names = FieldNames(messages="conversations", role="from", content="value")
    strings = TemplateFields(user="Q{content};", lead="A", answer=":{content}", default_system="S ")
    examples = read(write(tmp_path / "s.jsonl", rows), fields=names, format="messages", strings=strings)
    assert shown(examples, 0) == "S QA;A[:B$]"
    system = [Turn("system", "be kind"), Turn("user", "A"), Turn("assistant", "B")]
    assert render(system, template("vicuna"))[0] == Part("be kind USER: A ASSISTANT:", False, False)
    assert render([Turn("user", "{content}"), Turn("assistant", "B")], template("raw"))[0].text == "{content}"


def test_gsm8k_makes_the_papers_two_examples(tmp_path: Path) -> None:
    path = write(tmp_path / "g.jsonl", {"question": "Q?", "answer": "1+1=<<1+1=2>>2.\n#### 2"})
    examples = read(path, format="gsm8k")
    assert [shown(examples, i) for i in range(2)] == [
        "Q?\n[1+1=<<1+1=2>>2.$]",
        "Q?\n1+1=<<1+1=2>>2.\n[#### 2$]",
    ]
    assert examples.rows.tolist() == [0, 0]


def test_lines_as_in_gsm8k_are_read_whole(tmp_path: Path) -> None:
    """Their shape: sums in angles, thoughts of several lines, numbers with commas and signs; the real ones follow."""
    rows = [
        {
            "question": f"Ann has {i} pens and buys {7 * i}. How many has she?" + " She counts." * (i % 9),
            "answer": f"She has {i}.\nThen {i}+{7 * i}=<<{i}+{7 * i}={8 * i}>>{8 * i} pens.\n#### {8000 * i:,}",
        }
        for i in range(60)
    ]
    path = write(tmp_path / "test.jsonl", *rows)
    examples = read(path, 100_000, format="gsm8k")
    assert (examples.n_rows, len(examples), examples.skipped) == (60, 120, {})
    assert shown(examples, 119).endswith("=472>>472 pens.\n[#### 472,000$]")
    short = read(path, 150, format="gsm8k")
    left_out = len(short.skipped["longer than the context"])
    assert len(short) + left_out == 120 and 0 < left_out < 120 and short.lengths.max() <= 150


def test_real_gsm8k_is_read_whole(shared: Path) -> None:
    spec = str(shared / "data" / "gsm8k" / "test.jsonl")
    examples = read_examples(spec, SFTFields(format="gsm8k"), TOKENIZER, EOS, 100_000)
    assert (examples.n_rows, len(examples), examples.skipped) == (1319, 2638, {})
    short = read_examples(spec, SFTFields(format="gsm8k"), TOKENIZER, EOS, 256)
    assert len(short) + len(short.skipped["longer than the context"]) == 2638


def test_rows_that_cannot_be_used_are_counted_with_their_reason(tmp_path: Path) -> None:
    path = write(
        tmp_path / "bad.jsonl",
        {"prompt": "fine", "completion": "yes"},
        {"prompt": "no answer", "completion": "  "},
        {"prompt": "none either", "completion": None},
        {"prompt": "", "completion": "no prompt"},
        {"prompt": "long", "completion": "x" * 50},
        {"prompt": "number", "completion": 4},
        {"completion": "no prompt field"},
        [1, 2],
        {"messages": [{"role": "user", "content": "all prompt"}]},
        {"messages": [{"role": "robot", "content": "hi"}]},
        {"messages": "hi"},
    )
    examples = read(path, 20)
    assert len(examples) == 1 and examples.n_rows == 11
    assert examples.skipped == {
        "without an answer": ["bad.jsonl:2", "bad.jsonl:3", "bad.jsonl:9"],
        "without a prompt": ["bad.jsonl:4"],
        "longer than the context": ["bad.jsonl:5"],
        "whose 'completion' is not text": ["bad.jsonl:6"],
        "without a field 'prompt'": ["bad.jsonl:7"],
        "that are no JSON object": ["bad.jsonl:8"],
        "with the unknown role 'robot'": ["bad.jsonl:10"],
        "whose 'messages' is not a list of objects": ["bad.jsonl:11"],
    }
    assert "skipped 3 without an answer (bad.jsonl:2, bad.jsonl:3, bad.jsonl:9)" in examples.summary()
    assert examples.report()["skipped"]["without a prompt"] == {"count": 1, "rows": ["bad.jsonl:4"]}


def test_no_usable_row_and_broken_files_are_errors(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no row to learn from: 1 without a field 'prompt' \(a.jsonl:1\).*sft.fields"):
        read(write(tmp_path / "a.jsonl", {"question": "x", "answer": "y"}))
    with pytest.raises(UserError, match="it is empty"):
        read(write(tmp_path / "empty.jsonl"))
    (tmp_path / "b.jsonl").write_text('{"prompt": "a", "completion": "b"}\n{"prompt": \n')
    with pytest.raises(UserError, match=r"b.jsonl:2 is not a line of JSON"):
        read(tmp_path / "b.jsonl")
    (tmp_path / "c.jsonl.gz").write_bytes(b"not gzip")
    with pytest.raises(UserError, match="c.jsonl.gz cannot be read"):
        read(tmp_path / "c.jsonl.gz")
    with pytest.raises(UserError, match="does not exist"):
        read(tmp_path / "nowhere.jsonl")


ROWS = [{"prompt": f"Q{i} \u2028", "completion": f"A{i}\x85"} for i in range(3)]


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.txt", "a"])
@pytest.mark.parametrize("layout", ["lines", "array", "pretty", "crlf"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_rows_are_read_by_what_the_file_holds(tmp_path: Path, name: str, layout: str, encoding: str) -> None:
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS)
    texts = {
        "lines": lines,
        "array": json.dumps(ROWS),
        "pretty": json.dumps(ROWS, indent=2),
        "crlf": lines.replace("}\n", "}\r\n"),
    }
    (tmp_path / name).write_bytes(gzip.compress(texts[layout].encode(encoding)))
    found = read(tmp_path / name)
    assert [TOKENIZER.decode(found.ids(i)) for i in range(3)] == [f"Q{i} \u2028\nA{i}\x85" for i in range(3)]


def test_rows_of_parquet(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    rows = [CHAT | {"id": 1}, CHAT | {"id": 2}]
    parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "chat.parquet")
    assert len(read(tmp_path / "chat.parquet")) == 2
    assert shown(read(tmp_path / "chat.parquet"), 0) == shown(read(write(tmp_path / "chat.jsonl", CHAT)), 0)


@pytest.mark.parametrize("value", [0, False, 0.0, [], {}, 7, True])
def test_what_is_not_text_is_called_so(tmp_path: Path, value: Any) -> None:
    """Zero and false were taken for answers that are not there."""
    path = write(tmp_path / "a.jsonl", {"prompt": "1-1?", "completion": value}, {"prompt": "a", "completion": "b"})
    assert read(path).skipped == {"whose 'completion' is not text": ["a.jsonl:1"]}
    chat = {"messages": [{"role": "user", "content": value}, {"role": "assistant", "content": "x"}]}
    path = write(tmp_path / "b.jsonl", chat, {"prompt": "a", "completion": "b"})
    assert read(path).skipped == {"whose 'content' is not text": ["b.jsonl:1"]}


def test_half_a_surrogate_pair_is_skipped_with_its_row(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", {"prompt": "a", "completion": "\ud800"}, {"prompt": "a", "completion": "b"})
    why = "whose 'completion' holds half of a surrogate pair, which UTF-8 cannot"
    assert read(path).skipped == {why: ["a.jsonl:1"]}


def test_what_cannot_be_a_row_is_one_line(tmp_path: Path) -> None:
    deep = '{"prompt": "a", "completion": ' + "[" * 50_000 + "]" * 50_000 + "}\n"
    for name, data, message in (
        ("deep.jsonl", b'{"prompt": "a", "completion": "b"}\n' + deep.encode(), r"deep.jsonl:2 is not .*too deeply"),
        ("zip.jsonl", b"PK\x03\x04", "zip.jsonl is a zip archive"),
        ("latin.jsonl", b'{"prompt": "\xe9"}\n', "latin.jsonl:1 is not UTF-8; convert it"),
        ("wide.jsonl", '{"prompt": "a"}\n'.encode("utf-16-le"), "wide.jsonl seems to be UTF-16 without"),
    ):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(UserError, match=message) as caught:
            read(tmp_path / name)
        assert "\n" not in str(caught.value)


def test_a_folder_with_links(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "other").mkdir()
    write(tmp_path / "in" / "a.jsonl", {"prompt": "a", "completion": "b"})
    write(tmp_path / "other" / "b.jsonl", {"prompt": "c", "completion": "d"})
    (tmp_path / "in" / "more").symlink_to("../other")
    (tmp_path / "in" / "loop").symlink_to(".")
    (tmp_path / "in" / "gone.jsonl").symlink_to("nowhere")
    for spec in (tmp_path / "in", tmp_path / "in" / "*"):
        examples = read(spec)
        assert [shown(examples, i) for i in range(len(examples))] == ["a\n[b$]", "c\n[d$]"]
        assert "gone.jsonl" in examples.summary() and "a link to nothing" in examples.summary()


def test_a_split_keeps_rows_whole_and_depends_on_the_seed_alone(tmp_path: Path) -> None:
    rows = [{"question": f"Q{i}", "answer": f"t{i}\n#### {i}"} for i in range(40)]
    examples = read(write(tmp_path / "g.jsonl", *rows), format="gsm8k")
    train, held_out = examples.split(0.1, seed=3)
    assert len(held_out) == 8 and len(train) == 72 and not set(train.rows) & set(held_out.rows)
    assert held_out.digest == examples.split(0.1, seed=3)[1].digest != examples.split(0.1, seed=4)[1].digest
    both = {shown(part, i) for part in (train, held_out) for i in range(len(part))}
    assert both == {shown(examples, i) for i in range(80)}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"padding": "longst"}, "sft.padding .*did you mean 'longest'"),
        ({"format": "pair"}, "sft.format .*did you mean 'pairs'"),
        ({"template": "vicunia"}, "sft.template .*did you mean 'vicuna'"),
        ({"strings": TemplateFields(user="Q")}, "sft.strings.user is 'Q'; it must hold {content} once"),
        ({"prompt_dropout": 1.0}, "sft.prompt_dropout is 1.0"),
        ({"packing": True}, "sft.packing leaves no room for padding: longest"),
        ({"validation_share": 0.0}, "hold something out"),
        ({"bucket_batches": -1}, "sft.bucket_batches is -1"),
    ],
)
def test_bad_fields_are_named(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        SFTFields(**fields)
