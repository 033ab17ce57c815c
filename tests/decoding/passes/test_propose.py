"""What is drawn follows the law, to the rarest token, and no row knows of another."""

from __future__ import annotations

import pytest
import torch

from decoding.theory import critical
from decoding.told import told
from unmask.decoding.passes.propose import Draws, propose
from unmask.errors import UserError


def draws_of(n: int, temperature: float = 1.0, seed: int = 0, **filters: float) -> Draws:
    uniforms_N = torch.rand(n, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    columns = {
        f"{name}_N": torch.full((n,), value, dtype=torch.float64 if name == "top_p" else torch.int64)
        for name, value in filters.items()
    }
    return Draws(torch.full((n,), temperature, dtype=torch.float64), uniforms_N, **columns)


def law(logits_V: torch.Tensor, temperature: float = 1.0, top_k: int = 0, top_p: float = 1.0) -> torch.Tensor:
    """The probabilities to draw from, by sorting everything in float64."""
    scaled_V = logits_V.double() / temperature
    if 0 < top_k < len(scaled_V):
        scaled_V[scaled_V < scaled_V.sort(descending=True).values[top_k - 1]] = -torch.inf
    p_V = scaled_V.softmax(-1)
    if top_p < 1:
        sorted_V = p_V.sort(descending=True).values
        before_V = sorted_V.cumsum(-1) - sorted_V
        p_V = torch.where(p_V >= sorted_V[before_V < top_p].min(), p_V, 0.0)
    return p_V / p_V.sum()


def assert_follows(tokens_N: torch.Tensor, p_V: torch.Tensor) -> None:
    """Chi-square at 1e-4, tokens expected fewer than ten times put together; nothing impossible is drawn."""
    counts_V = torch.bincount(tokens_N, minlength=len(p_V)).double()
    assert counts_V[p_V == 0].sum() == 0
    expected_V = len(tokens_N) * p_V
    rare_V = expected_V < 10
    observed, expected = counts_V[~rare_V].tolist(), expected_V[~rare_V].tolist()
    if float(expected_V[rare_V].sum()) >= 10:
        observed.append(float(counts_V[rare_V].sum()))
        expected.append(float(expected_V[rare_V].sum()))
    statistic = sum((o - e) ** 2 / e for o, e in zip(observed, expected, strict=True))
    assert statistic < critical(max(1, len(expected) - 1))


LAWS = [
    {},
    {"temperature": 0.4},
    {"temperature": 2.5},
    {"top_k": 3},
    {"top_p": 0.8},
    {"temperature": 1.7, "top_k": 40, "top_p": 0.9},
]


@pytest.mark.parametrize("options", LAWS)
@pytest.mark.parametrize("vocab_size", [2, 7, 300])
def test_law(vocab_size: int, options: dict[str, float]) -> None:
    n = 20_000
    logits_V = 1.5 * torch.randn(vocab_size, generator=torch.Generator().manual_seed(vocab_size))
    tokens_N = propose(logits_V.expand(n, -1), draws_of(n, **options)).tokens_N
    assert_follows(tokens_N, law(logits_V, **options))


@pytest.mark.parametrize("options", LAWS)
@pytest.mark.parametrize("vocab_size", [32_000, 50_257])
def test_law_of_a_large_vocabulary(vocab_size: int, options: dict[str, float]) -> None:
    """In sixteen parts of the vocabulary, as most tokens are never drawn; the last block of 50,257 is a short one."""
    logits_V = 2 * torch.randn(vocab_size, generator=torch.Generator().manual_seed(3))
    tokens = [propose(logits_V.expand(128, -1), draws_of(128, seed=turn, **options)).tokens_N for turn in range(12)]
    part_V = torch.arange(vocab_size) * 16 // vocab_size
    p_P = torch.zeros(16, dtype=torch.float64).index_add(0, part_V, law(logits_V, **options))
    assert_follows(part_V[torch.cat(tokens)], p_P)


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.5])
def test_inverse_cdf(temperature: float) -> None:
    """A grid of uniforms hits each token in proportion to its probability, to one grid point."""
    logits_V = torch.randn(200, generator=torch.Generator().manual_seed(0))
    n = 10_000
    grid_N = (torch.arange(n, dtype=torch.float64) + 0.5) / n
    found = propose(logits_V.expand(n, -1), Draws(torch.full((n,), temperature, dtype=torch.float64), grid_N))
    share_V = torch.bincount(found.tokens_N, minlength=200) / n
    torch.testing.assert_close(share_V, (logits_V / temperature).softmax(-1), atol=2 / n, rtol=0)
    p_V = logits_V.double().softmax(-1)
    torch.testing.assert_close(found.probability_N, p_V[found.tokens_N], rtol=1e-6, atol=0)


def test_rare_tokens_survive_beside_a_sure_one() -> None:
    """p = 1.4e-11 vanishes beside 1 in float32, whose last step below 1 is 6e-8: in its block as in another."""
    for rare in (1, 900):
        logits_V = torch.full((1000,), -torch.inf)
        logits_V[0], logits_V[rare] = 0.0, -25.0
        draws = Draws(torch.ones(2, dtype=torch.float64), torch.tensor([1 - 1e-12, 1 - 1e-10], dtype=torch.float64))
        assert propose(logits_V.expand(2, -1), draws).tokens_N.tolist() == [rare, 0]


def test_the_tail_is_whole_and_float32_noise_cuts_it() -> None:
    """As arXiv 2409.02908 finds it: samples by CDF have the entropy of the model, those by Gumbel noise from float32
    uniforms fall short of it, since such noise never exceeds 16.7 and a rare token beside a sure one needs more.

    An average of surprisals against the entropy, in standard errors.
    """
    rows, turns, vocab_size = 128, 128, 32_000
    logits_V = 0.2 * torch.randn(vocab_size, generator=torch.Generator().manual_seed(1))
    logits_V[vocab_size // 3] = 16.8
    surprisal_V = -logits_V.double().log_softmax(-1)
    p_V = (-surprisal_V).exp()
    entropy = (p_V * surprisal_V).sum()
    error = ((p_V * (surprisal_V - entropy) ** 2).sum() / (rows * turns)).sqrt()
    generator = torch.Generator().manual_seed(0)
    noise_NV = torch.empty(rows, vocab_size)
    ours, gumbel = [], []
    for turn in range(turns):
        ours.append(propose(logits_V.expand(rows, -1), draws_of(rows, seed=turn)).tokens_N)
        noise_NV.uniform_(generator=generator).log_().neg_().log_().neg_()
        gumbel.append(noise_NV.add_(logits_V).max(-1).indices)
    distance = {
        name: (surprisal_V[torch.cat(found)].mean() - entropy) / error
        for name, found in (("ours", ours), ("gumbel", gumbel))
    }
    assert abs(distance["ours"]) < 2 and distance["gumbel"] < -2.5, distance


def test_filters_at_their_edges() -> None:
    logits_V = torch.tensor([0.0, 2.0, 1.0, 1.0, -1.0])
    grid_N = (torch.arange(2000, dtype=torch.float64) + 0.5) / 2000
    one_N = torch.ones(2000, dtype=torch.float64)

    def kept(**filters: torch.Tensor) -> set[int]:
        return set(propose(logits_V.expand(2000, -1), Draws(one_N, grid_N, **filters)).tokens_N.tolist())

    assert kept(top_k_N=torch.full((2000,), 1)) == {1}
    assert kept(top_k_N=torch.full((2000,), 2)) == {1, 2, 3}, "as likely as the last one kept"
    assert kept(top_k_N=torch.full((2000,), 0)) == kept(top_k_N=torch.full((2000,), 99)) == {0, 1, 2, 3, 4}
    assert kept(top_p_N=one_N * 1e-9) == {1}
    assert kept(top_p_N=one_N) == kept(top_p_N=one_N * (1 - 1e-12)) == {0, 1, 2, 3, 4}
    first = float(logits_V.double().softmax(-1)[1])
    assert kept(top_p_N=one_N * (first - 1e-6)) == {1} and kept(top_p_N=one_N * (first + 1e-6)) == {1, 2, 3}
    assert kept(top_k_N=torch.full((2000,), 2), top_p_N=one_N * (1 - 1e-12)) == {1, 2, 3}, "top-k is not forgotten"
    # Top-p counts what top-k left: of two tokens of 1 and one of 2, the 2 holds 0.58 and not 0.46.
    assert kept(top_k_N=torch.full((2000,), 3), top_p_N=one_N * 0.5) == {1}


def test_banned_tokens() -> None:
    logits_NV = torch.tensor([[-torch.inf, 0.0, 0.0, -torch.inf]] * 2)
    draws = Draws(torch.ones(2, dtype=torch.float64), torch.tensor([0.0, 1 - 2.0**-53], dtype=torch.float64))
    found = told(logits_NV, draws, ["entropy", "margin", "best"])
    assert found.tokens_N.tolist() == [1, 2] and found.probability_N.tolist() == [0.5, 0.5]
    torch.testing.assert_close(found.entropy_N, torch.full((2,), 2.0, dtype=torch.float64).log())
    assert found.margin_N.tolist() == [0.0, 0.0] and found.best_N.tolist() == [0.5, 0.5]
    assert found.logp_NV[0, 0] == -torch.inf
    only = told(torch.tensor([[-torch.inf, -3.0, -torch.inf]]), draws_of(1), ["entropy", "margin"])
    assert only.tokens_N.tolist() == [1] and only.entropy_N.tolist() == [0.0] and only.margin_N.tolist() == [1.0]
    filtered = propose(logits_NV, Draws(draws.temperature_N, draws.uniforms_N, top_k_N=torch.tensor([3, 3])))
    assert filtered.tokens_N.tolist() == [1, 2]


def test_temperature_zero_and_next_to_it() -> None:
    """The likeliest, of equal ones the first; also where two logits differ by less than their exponentials can tell."""
    close = torch.tensor([20.0, torch.nextafter(torch.tensor(20.0), torch.tensor(21.0)), -50.0])
    wide_V = torch.full((300,), 3.0)
    wide_V[[150, 290]] = torch.nextafter(torch.tensor(3.0), torch.tensor(4.0))
    for logits_V, best in ((close, 1), (wide_V, 150), (torch.zeros(50_257), 0)):
        assert propose(logits_V[None], draws_of(1, 0.0)).tokens_N.tolist() == [best]
    draws = Draws(torch.tensor([1e-300], dtype=torch.float64), torch.tensor([0.999], dtype=torch.float64))
    assert propose(torch.tensor([[3.0, 3.1, -50.0]]), draws).tokens_N.tolist() == [1]


@pytest.mark.parametrize("vocab_size", [2, 129, 32_000, 50_257])
def test_what_is_told_beside_the_tokens(vocab_size: int) -> None:
    generator = torch.Generator().manual_seed(5)
    logits_NV = 3 * torch.randn(9, vocab_size, generator=generator)
    given_N = torch.randint(vocab_size, (9,), generator=generator)
    found = told(logits_NV, draws_of(9, 0.8, top_k=20), ["best", "margin", "entropy", "given"], given_N)
    logp_NV = logits_NV.double().log_softmax(-1)
    p_NV = logp_NV.exp()
    best_N2 = p_NV.topk(2).values
    expected = {
        "probability_N": p_NV[range(9), found.tokens_N],
        "given_N": p_NV[range(9), given_N],
        "best_N": best_N2[:, 0],
        "margin_N": best_N2[:, 0] - best_N2[:, 1],
        "entropy_N": -(p_NV * logp_NV).sum(-1),
    }
    for name, value in expected.items():
        torch.testing.assert_close(getattr(found, name), value, rtol=2e-6, atol=3e-7, msg=name)
    torch.testing.assert_close(found.logp_NV, logp_NV.float(), rtol=1e-6, atol=2e-6)


@pytest.mark.parametrize("vocab_size", [5, 32_000, 50_257])
def test_rows_do_not_know_of_each_other(vocab_size: int) -> None:
    """Bit for bit, whatever temperatures and filters the others have."""
    generator = torch.Generator().manual_seed(7)
    n = 33
    logits_NV = 2 * torch.randn(n, vocab_size, generator=generator)
    draws = Draws(
        torch.tensor([0.0, 0.5, 1.0, 1.0, 2.0], dtype=torch.float64).repeat(7)[:n],
        torch.rand(n, dtype=torch.float64, generator=generator),
        torch.tensor([1.0, 0.5, 0.999], dtype=torch.float64).repeat(11),
        torch.tensor([0, 3, 0, 700]).repeat(9)[:n],
    )
    want = ["best", "margin", "entropy", "given"]
    given_N = torch.randint(vocab_size, (n,), generator=generator)
    together = told(logits_NV, draws, want, given_N)
    for row in range(n):
        here = slice(row, row + 1)
        own = Draws(draws.temperature_N[here], draws.uniforms_N[here], draws.top_p_N[here], draws.top_k_N[here])
        alone = told(logits_NV[here].clone(), own, want, given_N[here])
        for name, value in vars(alone).items():
            assert torch.equal(value, getattr(together, name)[here]), name


def test_no_rows() -> None:
    assert len(told(torch.empty(0, 7), draws_of(0), ["entropy"]).tokens_N) == 0


@pytest.mark.parametrize("broken", [torch.nan, torch.inf])
def test_broken_logits(broken: float) -> None:
    for row in ([0.0, broken], [-torch.inf, -torch.inf]):
        with pytest.raises(UserError, match="not finite"):
            propose(torch.tensor([[0.0, 1.0], row]), draws_of(2))


@pytest.mark.parametrize("temperature", [0.7, 1.0])
def test_same_tokens_as_the_plain_way(temperature: float) -> None:
    """The CDF over the whole vocabulary in float64."""
    logits_NV = 3 * torch.randn(256, 3000, generator=torch.Generator().manual_seed(2))
    draws = draws_of(256, temperature)
    cdf_NV = (logits_NV.double() / temperature).softmax(-1).cumsum(-1)
    plain_N1 = torch.searchsorted(cdf_NV, draws.uniforms_N[:, None] * cdf_NV[:, -1:], right=True)
    assert (propose(logits_NV, draws).tokens_N == plain_N1[:, 0]).all()
