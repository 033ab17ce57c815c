"""What `generate` and `score` gave when they were frozen, they give still.

    python -m pytest tests/frozen/test_traces.py --write-frozen      # only where something was added or a fault mended

On the oracle, and of the Transformer's tokens where processor and torch are the recorded ones, byte for byte. Elsewhere
rounding differs: 98% of the tokens and scores to 1e-4.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from decoding.oracle import SHARP, oracle
from frozen.settings import PAIRS, PROMPTS, SCORES, SETTINGS, TWIN, Setting
from unmask.decoding import Generation, generate
from unmask.errors import UserError
from unmask.likelihood import score
from unmask.model.config import ModelConfig
from unmask.model.folder import Model
from unmask.model.number_types import processor_flags, processor_name
from unmask.model.transformer import Transformer

FOLDER = Path(__file__).parent
SEEDS = 3
MASK = 7


def transformer(causal: bool = False) -> Model:
    """Random weights, three times their size, so that what a token is depends strongly on the others."""
    shape = ModelConfig(n_layer=2, n_head=2, n_embd=16, vocab_size=7, block_size=64, causal=causal, eos_id=6)
    network = Transformer(shape, seed=5)
    with torch.no_grad():
        for weight in network.parameters():
            if weight.ndim == 2:
                weight.mul_(3.0)
    return Model(network.eval(), None)


def here() -> dict[str, str]:
    flags = hashlib.sha256(" ".join(sorted(processor_flags())).encode()).hexdigest()[:16]
    return {"processor": processor_name(), "flags": flags, "torch": torch.__version__}


def settings_of(model: Model, setting: Setting) -> list[Generation]:
    """Three seeds of a setting, each on the prompt of its turn; blanks where the model can fill them."""
    number = (SETTINGS if model.kind == "mdm" else TWIN).index(setting)
    rows = []
    for seed in range(SEEDS):
        prompt = PROMPTS[(number + seed) % len(PROMPTS)]
        assert model.mask_id is None or model.mask_id in (MASK, 8)
        ids = [token for token in prompt if token != MASK or model.kind == "mdm"]
        ids = [model.mask_id if token == MASK else token for token in ids]
        rows += generate(model, [ids], seed=[(100 * number + seed, seed)], **setting)
    return rows


def brief(row: Generation) -> dict[str, Any]:
    """A row's outcome in the open, and a sum over all of it, probabilities and trace to the last bit."""
    whole = {name: value for name, value in row.to_dict().items() if not name.startswith(("seconds", "schema"))}
    digest = hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()[:16]
    return {"tokens": row.tokens, "steps": row.steps, "nfe": row.nfe, "stopped": row.stopped, "sum": digest}


def traces(model: Model) -> list[list[dict[str, Any]]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # settings that have no effect on a prompt of no tokens
        settings = SETTINGS if model.kind == "mdm" else TWIN
        return [[brief(row) for row in settings_of(model, setting)] for setting in settings]


def scores(model: Model) -> list[list[dict[str, Any]]]:
    found = []
    for setting in SCORES if model.kind == "mdm" else SCORES[:1]:
        pairs = PAIRS if setting["guidance"] == 0 else [pair for pair in PAIRS if pair[0]]
        rows = [dataclasses.asdict(row) for row in score(model, pairs, seed=3, **setting)]
        found.append([{name: row[name] for name in sorted(row) if name != "config_hash"} for row in rows])
    return found


WHAT: dict[str, tuple[Callable[[], Model], Callable[[Model], Any]]] = {
    "oracle": (lambda: oracle(SHARP, context=64, eos_id=6), traces),
    "transformer": (transformer, traces),
    "twin": (lambda: transformer(causal=True), traces),
    "scores": (transformer, scores),
    "scores-twin": (lambda: transformer(causal=True), scores),
}


@pytest.mark.parametrize("name", WHAT)
def test_what_was_frozen(name: str, request: pytest.FixtureRequest) -> None:
    make, run = WHAT[name]
    found, path = json.loads(json.dumps(run(make()))), FOLDER / f"{name}.json"
    if request.config.getoption("--write-frozen"):
        lines = ",\n".join(json.dumps(entry) for entry in found)
        path.write_text(f'{{"machine": {json.dumps(here())},\n"rows": [\n{lines}\n]}}\n')
        return
    recorded = json.loads(path.read_text())
    assert len(found) == len(recorded["rows"])
    if name == "oracle" or recorded["machine"] == here():
        for number, (new, old) in enumerate(zip(found, recorded["rows"], strict=True)):
            assert new == old, f"setting {number}"
    else:
        nearly(found, recorded["rows"])


def nearly(found: list[Any], recorded: list[Any]) -> None:
    """Where rounding may differ."""
    same = total = 0
    for new, old in zip(sum(found, []), sum(recorded, []), strict=True):
        if "tokens" in old:
            same += sum(a == b for a, b in zip(new["tokens"], old["tokens"], strict=False))
            total += len(old["tokens"])
        else:
            for field, value in old.items():
                close = pytest.approx(value, abs=1e-4, rel=1e-4) if isinstance(value, float) else value
                assert new[field] == close, field
    assert same >= 0.98 * total


def test_a_broken_rule_would_show(monkeypatch: pytest.MonkeyPatch) -> None:
    """The frozen rows depend on what they freeze: another temperature of one setting changes its sums."""
    model = oracle(SHARP, context=64, eos_id=6)
    recorded = json.loads((FOLDER / "oracle.json").read_text())["rows"]
    changed = {**SETTINGS[0], "temperature": 0.9}
    row = generate(model, [PROMPTS[0]], seed=[(0, 0)], **changed)[0]
    assert brief(row)["sum"] != recorded[0][0]["sum"]


def test_settings_are_sixty_and_can_be_run() -> None:
    assert len(SETTINGS) == 60 and len({json.dumps(setting, sort_keys=True) for setting in SETTINGS}) == 60
    with pytest.raises(UserError):
        generate(oracle(SHARP), [[1]], order="nothing")
