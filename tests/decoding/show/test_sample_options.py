"""What `unmask sample` takes: its own options apart from those of `generate`, of which only those given are kept."""

from __future__ import annotations

import pytest

from unmask.decoding.show.sample_options import SampleOptions
from unmask.errors import UserError


def test_only_rules_that_were_given_are_kept() -> None:
    words = "RUN --prompt a --order confidence --ban x --ban y --guidance-interval 0 0.5 --length 0".split()
    given, _ = SampleOptions.from_words(words, "unmask sample")
    assert given.rules == {
        "order": "confidence", "banned": ["x", "y"], "guidance_interval": (0.0, 0.5), "length": 0
    }  # fmt: skip
    assert SampleOptions.from_words(["RUN"], "unmask sample")[0].rules == {}


@pytest.mark.parametrize("word", ["--samples", "--batch", "--gap"])
def test_counts_begin_at_one(word: str) -> None:
    with pytest.raises(UserError, match=f"{word} is 0; give at least 1"):
        SampleOptions.from_words(["RUN", word, "0"], "unmask sample")
