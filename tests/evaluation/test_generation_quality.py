"""Numbers of texts against values known by hand or brute force, the judge against `score`, gaps against the truth."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from evaluation.judged import bytes_model
from unmask.data.options import PrepareOptions
from unmask.data.prepare import prepare
from unmask.data.shards import TokenData
from unmask.errors import UserError
from unmask.evaluation.generation_quality import (
    distinct,
    entropy,
    held_out,
    infilled,
    repetition,
    spans,
)
from unmask.model.folder import Model


def test_entropy_and_repetition() -> None:
    assert entropy([1, 1, 2, 2]) == pytest.approx(math.log(2)) and entropy([7, 7, 7]) == 0
    assert entropy(range(32)) == pytest.approx(math.log(32))
    assert repetition([1, 2, 3, 4, 1, 2, 3, 4]) == pytest.approx(1 / 5), "five 4-grams, four of them different"
    assert repetition(range(9)) == 0


def test_distinct_leaves_out_one_sample_at_a_time() -> None:
    assert distinct([[1, 2, 1, 2]], 2).value == pytest.approx(2 / 3)
    samples = np.random.default_rng(0).integers(0, 6, (12, 9)).tolist()
    for n in (1, 2, 3):
        found = distinct(samples, n)
        without = [distinct(samples[:i] + samples[i + 1 :], n).value for i in range(12)]
        assert found.se == pytest.approx(np.sqrt(11 / 12 * np.sum((np.array(without) - np.mean(without)) ** 2)))
    assert math.isnan(distinct([[1, 2, 3]], 2).se)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> TokenData:
    folder = tmp_path_factory.mktemp("text")
    for i in range(8):
        (folder / f"{i}.txt").write_text(f"Text {i} says that {i} is {i} and {i + 1} is not. " * 3)
    out = str(folder / "data")
    prepare(PrepareOptions(sources=[str(folder)], out=out, tokenizer="bytes", split="random:0.5"))
    return TokenData(out, "validation")


def test_held_out_pieces_hold_no_end(data: TokenData) -> None:
    assert data.n_documents > 1
    pieces = held_out(data, 12, 30)
    assert len(pieces) == 12 and {len(piece) for piece in pieces} == {30}
    assert all(data.eos_id not in piece for piece in pieces) and len({tuple(p) for p in pieces}) == 12
    with pytest.raises(UserError, match="100 samples of 30 need 3000; ask for fewer"):
        held_out(data, 100, 30)
    with pytest.raises(UserError, match="hardly a document of 150 tokens"):
        held_out(data, 2, 150)


def test_gaps_that_are_filled_right_count() -> None:
    model = bytes_model(causal=False)
    with torch.no_grad():
        model.network.output.weight.zero_()  # type: ignore[union-attr]  # all tokens alike: the first is written
    rng = np.random.default_rng(0)
    pieces = [[0] * 20 if i % 4 else rng.integers(1, 257, 20).tolist() for i in range(12)]
    for kind in (model, Model(bytes_model(causal=True).network, model.tokenizer)):
        if kind.kind == "arm":
            kind.network.output.weight.data.zero_()  # type: ignore[union-attr]
        found = infilled(kind, pieces, 3, temperature=0.0, batch=5, eos="fill")
        assert found["exact_match"]["value"] == 0.75 == found["tokens_right"]["value"] and found["pieces"] == 12
    half = [[0] * at + [9] * (20 - at) for at in spans(pieces, 2, seed=0)]
    assert infilled(model, [p[:-1] + [0] for p in half], 2, temperature=0.0)["tokens_right"]["value"] == 0
    with pytest.raises(UserError, match="span is 21; give 1 to 20"):
        infilled(model, pieces, 21)


def test_spans_lie_inside_and_depend_on_the_seed() -> None:
    pieces = [[1] * 10] * 200
    starts = spans(pieces, 3, 0)
    assert set(starts) == set(range(1, 7)) and starts == spans(pieces, 3, 0) != spans(pieces, 3, 1)
    assert spans([[1] * 4], 4, 0) == [0]
