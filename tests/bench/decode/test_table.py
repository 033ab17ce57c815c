"""The tables of `unmask bench decode`, of a small result as a release left it."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from unmask.bench.decode.table import table

KEPT = Path(__file__).parents[2] / "frozen" / "artefacts" / "decode.json"


@pytest.fixture
def result() -> dict[str, Any]:
    return dict(json.loads(KEPT.read_text()))


def test_a_row_is_a_setting_and_a_verdict_a_temperature_of_the_twin(result: dict[str, Any]) -> None:
    head, gaps, _ = table(result).partition("\ngaps of ")
    lines = head.splitlines()
    for row in result["cells"][0]["rows"]:
        assert sum(line[2:].startswith(row["setting"] + "  ") for line in lines) == 1, row["setting"]
    assert sum("as good as ARM" in line for line in lines) == 3
    assert gaps and "judge twin" in lines[0]


def test_without_a_judge_there_is_no_perplexity_and_no_verdict(result: dict[str, Any]) -> None:
    bare = copy.deepcopy(result) | {"judge": None, "infill": None, "refused": {"odd": "order 'odd' is unknown"}}
    for cell in bare["cells"]:
        for quality in (cell["real_text"], *(row["quality"] for row in cell["rows"])):
            quality.pop("perplexity", None), quality.pop("bits_per_byte", None)
    text = table(bare)
    assert "no judge" in text and "as good as" not in text and "gaps of" not in text
    assert text.endswith("left out: odd: order 'odd' is unknown")
