"""The tables of options in the docs are those of the declarations."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from unmask.decoding.rules import REGISTRIES
from unmask.tables import MARK, PAGE, page, table, written

DOCS = Path(__file__).parents[1] / "docs"


@pytest.mark.parametrize("path", sorted(DOCS.glob("*.md")), ids=lambda path: path.name)
def test_every_page_has_its_tables_as_they_are(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    mend = "run python -m unmask.tables docs"
    assert text == (page() if path.name == PAGE else written(text)), mend


@pytest.mark.parametrize("kind", REGISTRIES)
def test_every_rule_says_in_the_docs_what_it_is(kind: str) -> None:
    """By a docstring of its own: that of a dataclass without one is its signature."""
    for name, rule in REGISTRIES[kind].items():
        assert rule.__dict__.get("__doc__") and not rule.__doc__.startswith(f"{rule.__name__}("), name
        assert f"| `{name}` | " in table(f"rules {kind}")


def test_a_rule_in_the_docs() -> None:
    row = "| `klass` | c > threshold, and KL(now \\|\\| pass before) &lt; kl for `history` passes | "
    row += "`threshold` 0.9, in (0, 1]; `kl` 0.01, above 0; `history` 2, whole, at least 1 | [2511.05664]("
    assert row in table("rules quota")
    assert "| `best` | the probability of the likeliest token |  |" in table("rules statistic")


def test_what_should_be_generated_is() -> None:
    marks = {mark[1] for path in DOCS.glob("*.md") for mark in MARK.finditer(path.read_text(encoding="utf-8"))}
    assert {"recipe", "generate", "experiment demo", "sample", "scale fit", "bench decode"} <= marks
    assert {f"rules {kind}" for kind in REGISTRIES} <= marks


def test_a_table_says_flag_default_and_meaning() -> None:
    assert "| `--no-dedup` |  | keep documents that stand there twice |" in table("prepare")
    assert "| `--out` | must be given | the data folder to make |" in table("prepare")
    assert "| `--verify`, `--no-verify` |" in table("score")
    assert "| `optimizer.lr` | `0.0002` | the highest learning rate |" in table("recipe")
    assert "| `top_p` | `--top-p` |  | above 0 and at most 1 |" in table("generate")
    assert not re.search(r"\| `?(None|\[\]|MISSING)`? \|", page())
    with pytest.raises(KeyError):
        written("<!-- options: nothing -->\n<!-- end -->")
