"""`unmask tune`: what it picks from a sweep set by hand, what it writes, and what `generate` makes of it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import unmask
from plugged import LAST, forget, sha256, write
from unmask.bench.decode import measure
from unmask.bench.decode import tune as tune_module
from unmask.bench.decode.measure import KIND
from unmask.bench.decode.options import TuneOptions
from unmask.bench.decode.tune import in_words, share_of, tune
from unmask.errors import UserError
from unmask.files import file_sha256
from unmask.model.defaults import FILE
from unmask.model.folder import WEIGHTS

from ..conftest import Twins


def setting(
    name: str, speed: float, bits: float, entropy: float = 3.3, steps: float | None = None, **options: Any
) -> dict[str, Any]:
    """A row of a result."""
    spread = {"median": speed, "q1": speed, "q3": speed, "rounds": [speed]}
    quality = {"bits_per_byte": bits, "perplexity": 2**bits, "entropy": entropy}
    return {
        "setting": name,
        "kind": "arm" if name == "ARM" else "mdm",
        "options": options,
        "steps_per_token": steps,
        "quality": {n: {"value": value, "se": 0.01} for n, value in quality.items()} | {"shown": []},
        "speed": {"1": {"tokens_per_second": spread}},
    }


ROWS = [
    setting("ancestral, L steps", 100.0, 2.0, steps=1, order="ancestral", temperature=1.0),
    setting("ancestral, L/2 steps", 190.0, 2.1, steps=0.5, order="ancestral", temperature=1.0),
    setting("sure", 300.0, 2.3, order="confidence", quota="threshold:0.9", block=8, cache="dual", temperature=1.0),
    setting("flat", 900.0, 1.5, 2.8, steps=0.25, order="confidence"),
    setting("guided", 950.0, 1.4, steps=0.5, order="random", guidance=0.5),
    setting("ancestral, L steps, T 0.5", 960.0, 1.4, steps=1, order="ancestral", temperature=0.5),
    setting("ARM", 990.0, 1.0),
]


@pytest.fixture
def mdm(twins: Twins, tmp_path: Path) -> Path:
    return Path(shutil.copytree(twins.mdm, tmp_path / "mdm"))


@pytest.fixture
def sweep(mdm: Path, tmp_path: Path) -> Path:
    cell = {"prompt": 4, "length": 8, "real_text": setting("", 1, 1.0)["quality"], "rows": ROWS}
    facts = {"data": {}, "judge": {}, "machine": {}, "threads": 1, "versions": {}}
    models = {"mdm": {"weights_sha256": file_sha256(mdm / WEIGHTS)}}
    (tmp_path / "s.json").write_text(
        json.dumps({"schema_version": 1, "kind": KIND, "cells": [cell], "models": models, **facts})
    )
    return tmp_path / "s.json"


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ({"min_quality": 0.9}, "ancestral, L/2 steps"),  # 2 ** -0.1 is 0.93, 2 ** -0.3 is 0.81
        ({"min_quality": 0.8}, "sure"),
        ({"min_quality": 1.0}, "ancestral, L steps"),
        ({"target": "quality"}, "ancestral, L steps"),
        ({"target": "quality", "min_speed": 150.0}, "ancestral, L/2 steps"),
        ({"target": "quality", "min_speed": 250.0}, "sure"),
    ],
)
def test_the_choice(mdm: Path, sweep: Path, how: dict[str, Any], expected: str) -> None:
    result = tune(TuneOptions(str(mdm), sweep=str(sweep), **how))
    assert result["measured"]["setting"] == expected and result["measured"]["among"] == 7
    (row,) = (row for row in ROWS if row["setting"] == expected)
    steps = {} if row["steps_per_token"] is None else {"steps_per_token": row["steps_per_token"]}
    assert unmask.load(mdm).defaults == {**row["options"], **steps} == result["options"]
    assert expected in in_words(result) and FILE in in_words(result)


def test_shown_and_taken_away(mdm: Path, sweep: Path) -> None:
    assert "no defaults of its own" in in_words(tune(TuneOptions(str(mdm), show=True)))
    made = tune(TuneOptions(str(mdm), sweep=str(sweep)))
    shown = tune(TuneOptions(str(mdm), show=True))
    assert shown["options"] == made["options"] and shown["measured"] == made["measured"]
    assert "ancestral, L/2 steps" in in_words(shown)
    assert "are gone" in in_words(tune(TuneOptions(str(mdm), reset=True)))
    assert unmask.load(mdm).defaults == {} and not (mdm / FILE).exists()


def test_measured_and_used(mdm: Path, twins: Twins) -> None:
    """The whole way, with a real sweep; then text is written by the rule that was picked."""
    only = ["ancestral, L/8 steps", "ancestral, L/4 steps"]
    result = tune(
        TuneOptions(
            str(mdm), data=twins.data, judge=twins.arm, only=only, samples=4, rounds=1, min_quality=0.01, prompt=4,
            length=16, target="quality",
        )
    )  # fmt: skip
    assert result["options"]["order"] == "ancestral" and result["options"]["steps_per_token"] in (0.125, 0.25)
    model = unmask.load(mdm)
    steps = int(16 * model.defaults["steps_per_token"])
    assert all(row.nfe <= steps for row in unmask.generate(model, ["so", "it"], 16))
    (other,) = unmask.generate(model, ["so"], 16, order="left-to-right", quota="even")
    assert other.nfe == 16, "who names a rule says all of them"


def test_share_of_quality() -> None:
    assert share_of(2.0, 2.0) == 1 and share_of(2.0, 3.0) == 0.5


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"target": "sped"}, "--target is 'sped' \\(did you mean 'speed'\\?\\)"),
        ({"min_quality": 1.5}, "--min-quality is 1.5; give a number above 0"),
        ({"sweep": None}, "give either --data FOLDER, to measure, or --from FILE"),
        ({"batch": 8}, "not timed at batch 8; give --batch 1"),
        ({"length": 9}, "the sweep has prompt/length 4/8"),
        ({"target": "quality", "min_speed": 1e6}, "no setting writes 1,000,000 tokens/s; the fastest writes 300"),
    ],
)
def test_bad_input(mdm: Path, sweep: Path, how: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        tune(TuneOptions(**{"model": str(mdm), "sweep": str(sweep), **how}))
    assert not (mdm / FILE).exists()


def test_a_sweep_of_other_weights(mdm: Path, sweep: Path, twins: Twins, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="measured on other weights"):
        tune(TuneOptions(twins.arm, sweep=str(sweep)))
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(UserError, match="x.json is no result of this version's unmask bench decode"):
        tune(TuneOptions(str(mdm), sweep=str(tmp_path / "x.json")))


@pytest.mark.usefixtures("no_plugins")
def test_rules_of_a_plug_in_are_measured_recorded_and_asked_for_again(
    twins: Twins, mdm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, out = write(tmp_path, LAST), tmp_path / "d.json"
    names, plugin = {"mine.py": sha256(path)}, [str(path)]
    small: dict[str, Any] = {"samples": 4, "rounds": 1, "length": 8, "prompt": 4, "only": ["last*"]}

    def tuned(**more: Any) -> dict[str, Any]:
        forget()
        return tune(TuneOptions(str(mdm), judge=twins.arm, min_quality=0.01, **{**small, **more}))

    with monkeypatch.context() as patched:
        patched.setattr(measure, "speeds", lambda *given: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            tuned(data=twins.data, out=str(out), plugin=plugin)
    with pytest.raises(UserError, match="d.json.partial.jsonl needs the plug-in mine.py; add --plugin mine.py"):
        tuned(data=twins.data, out=str(out))
    monkeypatch.setattr(tune_module, "pick", lambda found, *given: found[0])  # whatever the entropy
    assert tuned(data=twins.data, out=str(out), plugin=plugin)["options"]["order"] == "last"
    assert json.loads(out.read_text())["plugins"] == names == json.loads((mdm / FILE).read_text())["plugins"]
    with pytest.raises(UserError, match="d.json needs the plug-in mine.py; add --plugin mine.py"):
        tuned(sweep=str(out))
    assert tuned(sweep=str(out), plugin=plugin)["options"]["order"] == "last"
    forget()
    with pytest.raises(UserError, match="generation.json needs the plug-in mine.py; add --plugin mine.py"):
        unmask.generate(unmask.load(mdm), ["a"], length=4)
    assert tune(TuneOptions(str(mdm), show=True))["options"]["order"] == "last", "to look at it needs no rule"
    assert tune(TuneOptions(str(mdm), reset=True))["removed"]
