"""Whether a run has read a text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from unmask.data.prepare import PrepareOptions, prepare
from unmask.errors import UserError
from unmask.evaluation import exposure
from unmask.evaluation.benchmarks import evaluate
from unmask.model.folder import load, save
from unmask.model.tokenizers import Tokenizer

from .test_generation_quality import bytes_model


def speech(year: int) -> str:
    return f"In {year} the number was {year * 7919 % 104729}, and {year * 31 % 977} more. " * 4


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two tiny models whose recipe names prepared text to 1912, and later text of which some records are no use."""
    folder = tmp_path_factory.mktemp("temporal")
    early = [{"text": speech(year), "date": f"{year}-12-03"} for year in range(1890, 1913)]
    (folder / "early.jsonl").write_text("".join(json.dumps(row) + "\n" for row in early))
    data = folder / "data"
    prepare(PrepareOptions(sources=[str(folder / "early.jsonl")], out=data, tokenizer="bytes", split="random:0.2"))
    for name, causal in (("mdm", False), ("arm", True)):
        save(folder / name, bytes_model(causal).network, Tokenizer.plain_bytes())
        (folder / name / "recipe.yaml").write_text(f"data: {data}\n")
    rows: list[Any] = [{"text": speech(year), "date": year, "title": f"of {year}"} for year in (1913, 1914, 1921, 1922)]
    rows += [{"text": " ", "date": "1930"}, {"text": "undated"}, 7, {"text": "short", "date": "1931"}]
    (folder / "later.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def asked(place: Path, kind: str = "mdm", **more: Any) -> dict[str, Any]:
    given: dict[str, Any] = {"data": str(place / "later.jsonl"), "windows": 2}
    return evaluate(place / kind, ["temporal"], **{**given, **more})


def test_a_run_that_has_read_the_text_is_refused(place: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="was trained on text that is tested here: .* of 23, such as early.jsonl:"):
        asked(place, data=str(place / "early.jsonl"))
    model = load(place / "mdm")
    read = exposure.texts_read(model, [model.encode(speech(year)) for year in (1890, 1891, 1950)])
    assert read is not None and not read[2] and read[:2].any()
    later = tmp_path / "run"
    save(later, model.network, model.tokenizer)
    (later / "recipe.yaml").write_text(f"init: {place / 'mdm'}\ndata: gone\n")
    with pytest.raises(UserError, match="was trained on text"):  # by the model that it started from
        evaluate(later, ["temporal"], data=str(place / "early.jsonl"))


def test_sums_tell_stretches_apart() -> None:
    tokens = np.random.default_rng(0).integers(0, 5, 5000).astype(np.uint64)
    stretches = {tuple(tokens[i : i + exposure.STRETCH].tolist()) for i in range(len(tokens) - exposure.STRETCH + 1)}
    assert len(set(exposure.sums(tokens).tolist())) == len(stretches)
