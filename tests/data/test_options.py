"""What `unmask prepare` takes: the options of a folder, and those that change nothing in it."""

from __future__ import annotations

import pytest

from unmask.data.options import PrepareOptions
from unmask.errors import UserError


def test_words_and_python_say_the_same() -> None:
    words = "a b --out x --tokenizer bytes --no-dedup --limit-docs 3".split()
    given, _ = PrepareOptions.from_words(words, "unmask prepare")
    assert given == PrepareOptions(["a", "b"], "x", "bytes", dedup=False, limit_docs=3)
    assert PrepareOptions("a", "x").sources == ["a"]  # type: ignore[arg-type]


def test_settings_are_what_decides_the_content() -> None:
    one = PrepareOptions(["a"], "x", workers=2, strict=True, force=True)
    assert one.settings() == PrepareOptions(["a"], "y").settings()
    assert one.settings() != PrepareOptions(["a"], "x", seed=1).settings()


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({"sources": []}, "no source given"),
        ({"limit_docs": 0}, "--limit-docs is 0; give at least 1"),
        ({"workers": -1}, "--workers is -1; give at least 0"),
        ({"split": "half"}, "--split is 'half'"),
    ],
)
def test_bad_input_names_the_option(fields: dict[str, object], line: str) -> None:
    with pytest.raises(UserError, match=line):
        PrepareOptions(**{"sources": ["a"], "out": "x", **fields})  # type: ignore[arg-type]
