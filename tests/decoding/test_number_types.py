"""Decoding in bf16: fp32 confidences, no token or position that wins by its number, and results that say their type."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from decoding.told import told
from unmask.decoding import generate
from unmask.decoding.passes.propose import Draws
from unmask.decoding.show.sample import sample
from unmask.decoding.show.sample_options import SampleOptions
from unmask.model.folder import Model, save
from unmask.model.number_types import processor_has_bf16
from unmask.model.tokenizers import Tokenizer

pytestmark = pytest.mark.skipif(not processor_has_bf16(), reason="needs a processor with bf16 products")


def held(model: Model) -> Model:
    return Model(copy.deepcopy(model.network).hold(torch.bfloat16), model.tokenizer, model.path)


def level(model: Model) -> Model:
    """A model whose tokens are almost alike: every logit is near 60 and a step of bf16 there holds dozens of them."""
    found = held(model)
    weight_VE = found.network.head_weight_VE.data
    noise = torch.randn(weight_VE.shape, generator=torch.Generator().manual_seed(5))
    weight_VE.copy_(2.0 + noise / 32)
    gain = found.network.norm.weight.data
    gain.copy_(1.0 + 0.1 * torch.randn(gain.shape, generator=torch.Generator().manual_seed(6)))
    return found


def greedy(logits_NV: torch.Tensor, *want: str) -> Any:
    nothing = torch.zeros(len(logits_NV), dtype=torch.float64)
    return told(logits_NV, Draws(nothing, nothing), want)


def test_neither_tokens_nor_margins_are_tied(make_model: Any) -> None:
    model = level(make_model(4000, n_embd=64))
    hidden_NE = torch.randn((200, 64), generator=torch.Generator().manual_seed(2)).abs().bfloat16()
    weight_VE = model.network.head_weight_VE.detach()
    exact_NV = hidden_NE.double() @ weight_VE.double().t()
    with torch.no_grad():
        ours, rounded = greedy(model.network.head(hidden_NE), "margin"), F.linear(hidden_NE, weight_VE).float()
    theirs = greedy(rounded, "margin")
    first_N = (rounded == rounded.max(1, keepdim=True).values).sum(1)
    assert float((first_N > 1).float().mean()) > 0.3, (
        "rounded to bf16 the likeliest tokens are tied, and the first wins"
    )
    assert float((theirs.margin_N == 0).double().mean()) > 0.3
    # What is left of ties lies within the rounding of sums in fp32.
    best_N = exact_NV.max(1).values
    chosen_N = exact_NV.gather(1, ours.tokens_N[:, None])[:, 0]
    assert (
        float((best_N - chosen_N).max())
        < 1e-3
        < float((best_N - exact_NV.gather(1, theirs.tokens_N[:, None])[:, 0]).max())
    )
    assert float((ours.margin_N == 0).double().mean()) < 0.02
    # Of those that bf16 takes for equal the first is taken no more often than another.
    tied = (rounded == rounded.max(1, keepdim=True).values) & (first_N > 1)[:, None]
    place_N = (tied & (torch.arange(4000) < ours.tokens_N[:, None])).sum(1)[first_N > 1]
    share = float((place_N / (first_N[first_N > 1] - 1)).double().mean())
    assert 0.3 < share < 0.7, "0: always the first of the tied ones"


@pytest.mark.parametrize("kind", ["mdm", "arm"])
def test_greedy_text_is_that_of_an_exact_head(kind: str, make_model: Any) -> None:
    model = level(make_model(4000, causal=kind == "arm", n_embd=64, eos_id=0))
    network = model.network

    def exactly(hidden: torch.Tensor) -> torch.Tensor:
        return F.linear(hidden.double(), network.head_weight_VE.double()).float()

    how: dict[str, Any] = {"length": 24, "temperature": 0.0, "eos": "fill"}
    how |= {"order": "margin", "steps": 24} if kind == "mdm" else {}
    ours = generate(model, [[5, 7, 9]], **how)[0]
    network.head = exactly  # type: ignore[method-assign]
    assert ours.tokens == generate(model, [[5, 7, 9]], **how)[0].tokens
    network.head = lambda hidden: F.linear(hidden, network.head_weight_VE).float()  # type: ignore[method-assign]
    assert ours.tokens != generate(model, [[5, 7, 9]], **how)[0].tokens, "the test would not see ties"


def test_probabilities_told_are_those_of_fp32_logits(make_model: Any) -> None:
    model = held(make_model(500, eos_id=0))
    found = generate(model, [[5, 7, 9]], length=20, order="confidence", steps=1, temperature=0.0)[0]
    tokens_1T = torch.tensor([[5, 7, 9] + [500] * 20])
    with torch.no_grad():
        hidden = model.network.hidden(tokens_1T)[0, 3:]
    exact = F.linear(hidden.double(), model.network.head_weight_VE.double()).softmax(1).max(1).values
    assert found.probabilities == pytest.approx(exact.tolist(), rel=1e-4)


def test_results_of_two_types_are_kept_apart(make_model: Any, tmp_path: Path) -> None:
    tokenizer = Tokenizer.plain_bytes()
    folder = str(save(tmp_path / "m", make_model(tokenizer.vocab_size, eos_id=0).network, tokenizer))
    prompts, out = tmp_path / "p.txt", tmp_path / "out.jsonl"
    prompts.write_text("one\ntwo\n")

    def lines(dtype: str) -> list[dict[str, Any]]:
        options = {"prompts": str(prompts), "out": str(out), "rules": {"length": 6}}
        sample(SampleOptions(folder, dtype=dtype, **options))
        return [json.loads(line) for line in out.read_text().splitlines()]

    plain, again, other = lines("fp32"), lines("fp32"), lines("bf16")
    assert plain == again, "kept, times included"
    assert {row["settings_hash"] for row in plain}.isdisjoint(row["settings_hash"] for row in other)
    assert "dtype" not in plain[0]["settings"] and other[0]["settings"]["dtype"] == "bf16"
    found = sample(SampleOptions(folder, prompt=["one"], dtype="bf16", rules={"length": 3}))
    assert found is not None and found.rows[0]["settings"]["dtype"] == "bf16"
