"""`unmask bench decode` on tiny models: every setting runs, numbers are what they are called, a stopped run goes on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import unmask
from unmask.bench.decode import measure
from unmask.bench.decode.arms import Ours
from unmask.bench.decode.measure import bench_decode, cells, in_words, summary
from unmask.bench.decode.options import DecodeBenchOptions
from unmask.bench.decode.settings import mdm_settings
from unmask.errors import UserError
from unmask.model.number_types import processor_has_bf16

from ..conftest import Twins


def options(twins: Twins, **more: Any) -> DecodeBenchOptions:
    small: dict[str, Any] = {"samples": 4, "rounds": 2, "gaps": 4, "length": [8], "prompt": [4], "batch": [1, 2]}
    small |= {"judge": twins.arm, "only": ["confidence, L/2 steps", "threshold 0.5"], "transformers": False}
    return DecodeBenchOptions(**{"model": twins.mdm, "arm": twins.arm, "data": twins.data, **small, **more})


def test_a_whole_run(twins: Twins, tmp_path: Path) -> None:
    result = bench_decode(options(twins, out=str(tmp_path / "d.json"), plot=str(tmp_path / "d.png")))
    assert json.loads((tmp_path / "d.json").read_text()) == json.loads(json.dumps(result))
    assert (tmp_path / "d.png").stat().st_size > 10_000 and not list(tmp_path.glob("*.partial*"))
    (cell,) = result["cells"]
    rows = {row["setting"]: row for row in cell["rows"]}
    assert set(rows) == {"confidence, L/2 steps", "threshold 0.5", "ARM", "ARM, T 0.7", "ARM, T 0.5"}
    half = rows["confidence, L/2 steps"]
    assert half["options"] == {"order": "confidence", "temperature": 1.0} and half["steps_per_token"] == 0.5
    assert half["speed"]["2"]["nfe"] == 4 and half["speed"]["1"]["tokens_per_pass"] <= 2
    assert rows["ARM"]["speed"]["1"]["over_arm"]["median"] == 1
    for row in rows.values():
        assert row["quality"]["samples"] == 4 and row["quality"]["perplexity"]["value"] > 1
        assert len(row["speed"]["1"]["tokens_per_second"]["rounds"]) == 2 and row["speed"]["1"]["first_commit"]
    assert cell["real_text"]["tokens"] == {"value": 8.0, "se": 0.0, "interval": [8.0, 8.0], "groups": 4}
    gaps = {row["setting"]: row for row in result["infill"]["rows"]}
    assert set(gaps) == {"threshold 0.5", "ARM"} and result["infill"]["real_bits_per_byte"]["value"] > 0
    for row in gaps.values():
        assert 0 <= row["exact_match"]["value"] <= row["tokens_right"]["value"] <= 1
        assert row["bits_per_byte"]["value"] > 0 and len(row["speed"]["2"]["seconds"]["rounds"]) == 2
    assert gaps["ARM"]["speed"]["1"]["over_arm"]["median"] == 1
    text = in_words(result)
    for words in ("held-out text", "as good as ARM", "gaps of 3 tokens", "x ARM"):
        assert words in text


def test_a_stopped_run_goes_on(twins: Twins, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = options(twins, out=str(tmp_path / "d.json"), gaps=0)
    real, calls = measure.turn, []

    def stops(*given: Any) -> dict[str, Any]:
        calls.append(given)
        if len(calls) == 8:  # in the second round
            raise KeyboardInterrupt
        return real(*given)

    monkeypatch.setattr(measure, "turn", stops)
    with pytest.raises(KeyboardInterrupt):
        bench_decode(wanted)
    partial = tmp_path / "d.json.partial.jsonl"
    before = partial.read_text().splitlines()
    assert not (tmp_path / "d.json").exists() and len(before) == 1 + 5 + 1, "protocol, five qualities, a round"
    monkeypatch.setattr(measure, "written", lambda *given: pytest.fail("quality is known"))
    calls.clear()
    monkeypatch.setattr(measure, "turn", lambda *given: calls.append(given) or real(*given))
    bench_decode(wanted)
    assert len(calls) == 3 * 5 and not partial.exists(), "three rounds of four were left"
    partial.write_text("\n".join(before) + "\n")
    with pytest.raises(UserError, match="results of another protocol, protocol.options.rounds: 2 and 3"):
        bench_decode(options(twins, out=str(tmp_path / "d.json"), gaps=0, rounds=3))


def test_small_parts(twins: Twins) -> None:
    same = {"tokens": 12, "rows": 2, "nfe": 3.0, "first": None, "computed": 40.0}
    turns = [{"seconds": seconds, **same} for seconds in (1.0, 2.0, 4.0)]
    found = summary(turns, np.array([12.0, 6.0, 3.0]), np.array([6.0, 6.0, 6.0]))
    assert found["tokens_per_second"]["median"] == 6 and found["over_arm"]["median"] == 1
    assert found["tokens_per_pass"] == 2 and found["useful_tokens"] == 6 and found["latency"]["median"] == 2
    mdm = unmask.load(twins.mdm)
    assert cells(options(twins, length=[8, 40], prompt=[4]), mdm, None) == [(4, 8)]
    assert cells(options(twins, length=[], prompt=[]), mdm, None) == [(8, 16)]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"samples": 1}, "--samples is 1; give at least 2"),
        ({"length": [64]}, "no prompt with its length fits into the context of 32"),
        ({"only": ["nothing"], "arm": None}, "--only nothing: no setting has such a name"),
        ({"span": 40}, "--span is 40; give at most 31"),
    ],
)
def test_bad_input(twins: Twins, more: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        bench_decode(options(twins, **more))


def test_models_that_do_not_belong_together(twins: Twins) -> None:
    with pytest.raises(UserError, match="arm is no masked diffusion model with a tokenizer"):
        bench_decode(options(twins, model=twins.arm))
    with pytest.raises(UserError, match="mdm is no autoregressive model with a tokenizer"):
        bench_decode(options(twins, arm=twins.mdm))


def test_without_a_prompt_texts_begin_where_the_twins_do(twins: Twins) -> None:
    """Behind an end of sequence, in every arm; that takes a place of the context."""
    mdm, arm = unmask.load(twins.mdm), unmask.load(twins.arm)
    (setting,) = (s for s in mdm_settings(8, (1.0,), guided=False) if s.name == "ancestral, L steps")
    (written,) = Ours(mdm, setting).generate([[]], 8, seed=3)
    (same,) = Ours(mdm, setting).generate([[mdm.eos_id or 0]], 8, seed=3)
    assert written.tokens == same.tokens
    context = mdm.config.block_size
    assert cells(options(twins, prompt=[0], length=[context - 1]), mdm, arm) == [(0, context - 1)]
    with pytest.raises(UserError, match="fits into the context"):
        cells(options(twins, prompt=[0], length=[context]), mdm, arm)
    result = bench_decode(options(twins, prompt=[0], only=["ancestral, L steps"], batch=[1], gaps=0, rounds=1))
    names = {row["setting"] for row in result["cells"][0]["rows"]}
    assert names == {"ancestral, L steps", "ARM", "ARM, T 0.7", "ARM, T 0.5"}


@pytest.mark.skipif(not processor_has_bf16(), reason="needs a processor with bf16 products")
def test_settings_of_decoding_in_two_types(twins: Twins) -> None:
    wanted = DecodeBenchOptions(
        twins.mdm, twins.data, arm=twins.arm, judge="none", batch=[1], samples=2, gaps=2, temperature=[1.0], rounds=2,
        only=["confidence, L/4 steps", "confidence, 1 step"], transformers=False, dtype=["fp32", "bf16"],
    )  # fmt: skip
    result = bench_decode(wanted)
    rows = {row["setting"]: row for row in result["cells"][0]["rows"]}
    assert list(rows) == ["confidence, L/4 steps", "ARM", "confidence, L/4 steps, bf16", "ARM, bf16"]
    first, other = (rows[name]["speed"]["1"] for name in ("ARM", "ARM, bf16"))
    assert "over_first_dtype" not in first and len(other["over_first_dtype"]["rounds"]) == 2
    assert "x *: tokens/s over those of the same setting in the first type" in in_words(result)
    assert "confidence, 1 step, bf16" in [row["setting"] for row in result["infill"]["rows"]]
