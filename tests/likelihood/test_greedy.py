"""The greedy check: most confident token first, as the paper's code decides it."""

from __future__ import annotations

import json

import pytest
import torch

import unmask
from unmask.errors import UserError
from unmask.likelihood import greedy, score
from unmask.model.folder import Model


def written_by(model: Model, context: list[int], length: int, guidance: float) -> list[int]:
    """One token a step, written out: all positions in one softmax of their own, the surest is settled."""
    mask, n = model.mask_id, len(context)
    assert mask is not None
    canvas = context + [mask] * length
    for _ in range(length):
        with torch.no_grad():
            c = model.network(torch.tensor([canvas]))[0]
            u = model.network(torch.tensor([[mask] * n + canvas[n:]]))[0]
        p = (u + (1 + guidance) * (c - u)).softmax(-1)
        place = max((i for i in range(n, n + length) if canvas[i] == mask), key=lambda i: float(p[i].max()))
        canvas[place] = int(p[place].argmax())
    return canvas[n:]


@pytest.mark.parametrize("guidance", [0.0, 0.8])
def test_it_is_the_decoder_written_out(make_model, guidance: float) -> None:
    model = make_model(vocab_size=11, seed=3)
    contexts = [[1, 2], [3], [4, 5, 6], [7]]
    expected = [written_by(model, context, 4, guidance) for context in contexts]
    assert len({tuple(answer) for answer in expected}) > 1
    wrong = [[answer[0], (answer[1] + 1) % 11, *answer[2:]] for answer in expected]
    pairs = [*zip(contexts, expected, strict=True), *zip(contexts, wrong, strict=True)]
    for batch_tokens in (1, 10_000):
        found = greedy(model, pairs, guidance=guidance, whole=True, batch_tokens=batch_tokens)
        assert [g.tokens for g in found] == expected * 2
        assert [g.matches for g in found] == [True] * 4 + [False] * 4
    assert [g.matches for g in greedy(model, pairs, guidance=guidance)] == [True] * 4 + [False] * 4
    assert [s.greedy for s in score(model, pairs, draws=2, guidance=guidance, greedy=True)] == [True] * 4 + [False] * 4
    assert score(model, pairs[:1], draws=2)[0].greedy is None


def test_most_wrong_answers_cost_one_pass(make_model, monkeypatch: pytest.MonkeyPatch) -> None:
    model = make_model(vocab_size=11, seed=3)
    right = written_by(model, [1, 2], 4, 0.0)
    wrong = [(token + 1) % 11 for token in right]
    rows: list[int] = []
    hidden = model.network.hidden
    monkeypatch.setattr(model.network, "hidden", lambda t, **k: (rows.append(len(t)), hidden(t, **k))[1])
    assert not greedy(model, [([1, 2], wrong)])[0].matches and sum(rows) == 1
    rows.clear()
    assert greedy(model, [([1, 2], right)])[0].matches and sum(rows) == 4


def test_an_arm_writes_from_left_to_right(make_model) -> None:
    model = make_model(vocab_size=11, causal=True, seed=2)
    context: list[int] = [4, 1]
    ids = list(context)
    for _ in range(4):
        with torch.no_grad():
            ids.append(int(model.network(torch.tensor([ids]))[0, -1].argmax()))
    pairs = [(context, ids[2:]), (context, [*ids[2:5], (ids[5] + 1) % 11])]
    assert [g.matches for g in greedy(model, pairs)] == [True, False]
    assert [s.greedy for s in score(model, pairs)] == [True, False], "no pass of its own"


def test_published_greedy_target(published, tmp_path) -> None:
    from safetensors.torch import load_file

    from unmask.interop.smdm import convert

    folder = published
    model = unmask.load(convert(folder / "mdm.safetensors", folder / "config.json", tmp_path / "m", rope="fp32"))
    ids = load_file(folder / "tensors.safetensors")["ids"].tolist()
    expected = json.loads((folder / "expected.json").read_text())
    cases = next(value for key, value in expected.items() if key.startswith("greedy_target"))
    assert len(cases) == 2
    for case in cases:
        (found,) = greedy(model, [(ids[1][:16], case["greedy_target"])], guidance=case["cfg"], whole=True)
        assert found.matches and found.tokens == case["greedy_target"]
        (other,) = greedy(model, [(ids[1][:16], ids[1][16:22])], guidance=case["cfg"], whole=True)
        assert not other.matches and other.tokens == case["greedy_target"]


def test_bad_input_is_named(mdm: Model, arm: Model) -> None:
    with pytest.raises(UserError, match="pair 0 has an empty continuation"):
        greedy(mdm, [([1], [])])
    with pytest.raises(UserError, match="guidance needs a masked diffusion model"):
        greedy(arm, [([1], [1])], guidance=1.0)
