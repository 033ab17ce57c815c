"""The number type of a run: how it is chosen, that a run keeps it, how it may change, and what is refused."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
import torch
import yaml
from safetensors.torch import load_file

from unmask.errors import UserError
from unmask.model.config import ModelConfig
from unmask.model.number_types import TOLD
from unmask.training import loop, precision
from unmask.training.checkpoint import newest_checkpoint
from unmask.training.distribution import Ranks
from unmask.training.loop import train
from unmask.training.precision import Choice, choice_of, choose
from unmask.training.recipe_fields import Recipe
from unmask.training.record import chosen_recipe

STEPS, HALF = 8, 4
CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)
LARGE = ModelConfig(n_layer=1, n_head=4, n_embd=256, vocab_size=50, block_size=16)
TINY = ModelConfig(n_layer=1, n_head=2, n_embd=16, vocab_size=50, block_size=16)


@pytest.fixture(autouse=True)
def _forced(monkeypatch: pytest.MonkeyPatch) -> None:
    """bf16 on whatever processor this is: right everywhere, if slow. Nothing is measured."""
    monkeypatch.setenv(TOLD, "1")
    monkeypatch.setattr(loop, "matmul_peak", lambda device, dtype: 1e12)
    measuring(monkeypatch, [4.0, 3.9, 3.8])


def measuring(monkeypatch: pytest.MonkeyPatch, ratios: list[float]) -> None:
    monkeypatch.setattr(precision, "known_ratios", lambda config: ratios)


# ---------------------------------------------------------------- how it is chosen


@pytest.mark.parametrize(
    ("ratios", "config", "line"),
    [
        ([4.0, 3.9, 3.8], LARGE, "bf16: its products are 3.9x faster here"),
        ([1.3, 1.4, 9.0], TINY, "bf16: its layers are 1.4x faster here"),
        ([2.0, 1.29, 2.0], LARGE, "fp32: products in bf16 are 2.00, 1.29, 2.00x as fast here, less than 1.3x"),
        ([0.5, 0.4, 0.6], TINY, "fp32: layers in bf16 are 2.0x slower here"),
        ([0.01], LARGE, "fp32: products in bf16 are 100.0x slower here"),
        ([9.0, 9.0], LARGE, "fp32: there was no time to measure products in bf16"),
        ([], LARGE, "fp32: there was no time to measure products in bf16"),
    ],
)
def test_auto_takes_what_is_faster_in_every_try(
    monkeypatch: pytest.MonkeyPatch, ratios: list[float], config: ModelConfig, line: str
) -> None:
    measuring(monkeypatch, ratios)
    assert str(choose("auto", CPU, config)) == line


def test_auto_does_not_measure_where_it_need_not(monkeypatch: pytest.MonkeyPatch) -> None:
    measuring(monkeypatch, cast(Any, None))
    assert str(choose("auto", CUDA, LARGE)) == "bf16: as always on cuda"
    assert str(choose("bf16", CPU, LARGE)) == "bf16: as told" and choose("fp32", CUDA, LARGE).name == "fp32"
    monkeypatch.setenv(TOLD, "0")
    assert str(choose("auto", CPU, LARGE)) == "fp32: this processor has no bf16 products"
    assert choose("bf16", CUDA, LARGE).name == "bf16", "whatever the processor beside it"


class Two:
    """Two ranks as the second one sees them."""

    def __init__(self, first: Choice | None, others: bool = True) -> None:
        self.first, self._choice, self._others = False, first, others

    def all(self, value: bool) -> list[bool]:
        return [self._others, value]

    def same(self, value: Choice | None) -> Choice | None:
        assert value is None, "it has not measured"
        return self._choice

    def together(self, work: Callable[[], Any]) -> Any:
        return work()


def test_the_first_rank_decides(lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    measuring(monkeypatch, cast(Any, None))
    recipe, decided = lab.recipe("run", precision="auto"), Choice("bf16", "its products are 3.9x faster here")
    assert choice_of(recipe, LARGE, CPU, cast(Ranks, Two(decided)), resume=False) is decided


def test_one_processor_without_bf16_is_enough(lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    ranks = Two(None, others=False)
    ranks.first, ranks.same = True, lambda value: value  # type: ignore[method-assign]
    chosen = choice_of(lab.recipe("run", precision="auto"), LARGE, CPU, cast(Ranks, ranks), resume=False)
    assert str(chosen) == "fp32: this processor has no bf16 products"


# ---------------------------------------------------------------- a run keeps it


def record(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "precision.json").read_text())
    return found


def weights(run: Path) -> dict[str, torch.Tensor]:
    newest = newest_checkpoint(run)
    assert newest is not None and newest.name == f"step-{STEPS:08d}"
    return load_file(newest / "model.safetensors")


def same(ours: Path, theirs: Path) -> bool:
    a, b = weights(ours), weights(theirs)
    return all(torch.equal(a[name], b[name]) for name in b)


@pytest.fixture(scope="module")
def wholes(lab_in: Callable[[Path], Any], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Recipe]:
    """A run in each type and one that chose bf16 itself, to the end, each with a checkpoint half-way."""
    lab, found = lab_in(tmp_path_factory.mktemp("wholes")), {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(TOLD, "1")
        measuring(patch, [4.0, 3.9, 3.8])
        for asked in ("fp32", "bf16", "auto"):
            found[asked] = lab.recipe(asked, precision=asked, steps=STEPS, checkpoint__every=HALF, checkpoint__keep=9)
            train(found[asked])
    return found


def half(whole: Recipe, out: Path) -> Recipe:
    """The same run as it was half-way, elsewhere."""
    shutil.copytree(whole.out, out)
    shutil.rmtree(out / "checkpoints" / f"step-{STEPS:08d}")
    return dataclasses.replace(whole, out=str(out))


def snapshot(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_types_differ_and_are_recorded_with_why(wholes: dict[str, Recipe]) -> None:
    fp32, bf16, auto = (Path(wholes[asked].out) for asked in ("fp32", "bf16", "auto"))
    assert same(auto, bf16) and not same(fp32, bf16)
    assert (record(fp32)["precision"], record(bf16)["precision"]) == ("fp32", "bf16")
    found = record(auto)
    assert found["schema_version"] == 1 and found["precision"] == "bf16" and found["asked"] == "auto"
    assert found["why"] == "its layers are 3.9x faster here" and found["ratios"] == [4.0, 3.9, 3.8]
    assert found["processor"] and found["threads"] == 1 and found["changes"] == []


def test_the_first_line_says_it(lab: Any, capsys: pytest.CaptureFixture[str]) -> None:
    train(lab.recipe("run", steps=1, precision="auto"))
    first = capsys.readouterr().err.splitlines()[0]
    assert first.endswith("; bf16: its layers are 3.9x faster here"), first


@pytest.mark.parametrize("asked", ["auto", "bf16"])
def test_a_run_goes_on_in_its_type_whatever_would_be_chosen_now(
    wholes: dict[str, Recipe], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: str
) -> None:
    measuring(monkeypatch, [0.1, 0.1, 0.1])
    recipe = half(wholes["auto"], tmp_path / "run")
    before = record(tmp_path / "run")
    assert train(dataclasses.replace(recipe, precision=asked), resume=True).step == STEPS
    assert same(tmp_path / "run", Path(wholes["auto"].out)) and record(tmp_path / "run") == before


def test_an_fp32_run_goes_on_in_fp32_by_auto(wholes: dict[str, Recipe], tmp_path: Path) -> None:
    recipe = half(wholes["fp32"], tmp_path / "run")
    train(dataclasses.replace(recipe, precision="auto"), resume=True)
    assert same(tmp_path / "run", Path(wholes["fp32"].out)) and record(tmp_path / "run")["precision"] == "fp32"


@pytest.mark.parametrize("began", ["auto", "bf16"])
@pytest.mark.parametrize("has", ["1", "0"])
def test_fp32_is_allowed_and_recorded(
    wholes: dict[str, Recipe], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any, began: str, has: str
) -> None:
    """On every processor; from then on the run computes in fp32 without being told."""
    monkeypatch.setenv(TOLD, has)
    run = tmp_path / "run"
    half(wholes[began], run)
    done = train(chosen_recipe(str(run), {"precision": "fp32"}, resume=True), resume=True)
    assert "fp32: as told, bf16 as it began" in capsys.readouterr().err
    assert done.step == STEPS and record(run)["changes"] == [{"step": HALF, "from": "bf16", "to": "fp32"}]


def test_a_changed_run_stays_changed(wholes: dict[str, Recipe], tmp_path: Path, capsys: Any) -> None:
    run = tmp_path / "run"
    half(wholes["auto"], run)
    train(chosen_recipe(str(run), {"precision": "fp32"}, resume=True), resume=True)
    assert not same(run, Path(wholes["auto"].out))
    found = record(run)
    assert found["changes"] == [{"step": HALF, "from": "bf16", "to": "fp32"}] and found["precision"] == "bf16"
    assert yaml.safe_load((run / "recipe.yaml").read_text())["precision"] == "fp32"

    shutil.copytree(run, tmp_path / "again")
    shutil.rmtree(tmp_path / "again" / "checkpoints" / f"step-{STEPS:08d}")
    capsys.readouterr()
    train(chosen_recipe(str(tmp_path / "again"), {}, resume=True), resume=True)
    assert f"fp32: as since step {HALF}" in capsys.readouterr().err
    assert same(tmp_path / "again", run) and record(tmp_path / "again") == found
    with pytest.raises(UserError, match=f"precision is bf16, but .*again goes on in fp32, as since step {HALF}"):
        train(chosen_recipe(str(tmp_path / "again"), {"precision": "bf16"}, resume=True), resume=True)


@pytest.mark.parametrize("asked", ["fp32", None])
def test_a_run_of_an_earlier_version_goes_on_in_fp32_and_records_it(
    wholes: dict[str, Recipe], tmp_path: Path, asked: str | None
) -> None:
    run = tmp_path / "run"
    recipe = half(wholes["fp32"], run)
    (run / "precision.json").unlink()
    saved = yaml.safe_load((run / "recipe.yaml").read_text())
    saved["precision"] = asked or "auto"
    (run / "recipe.yaml").write_text(yaml.safe_dump(saved))
    train(dataclasses.replace(recipe, precision=saved["precision"]), resume=True)
    assert same(run, Path(wholes["fp32"].out))
    assert record(run)["precision"] == "fp32" and record(run)["why"] == "as it began"


# ---------------------------------------------------------------- bad input


def test_bf16_where_the_processor_has_none_is_one_line(lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TOLD, "0")
    done = lab.run("train", lab.file("run", precision="auto"), "--precision", "bf16")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert re.fullmatch(
        r"unmask: error: precision is bf16, but this .* has no bf16 products; give --precision fp32", line
    )
    assert not (lab.folder / "run").exists()


@pytest.mark.parametrize("asked", ["auto", "bf16"])
def test_a_bf16_run_there_is_one_line_that_names_the_way_out(
    wholes: dict[str, Recipe], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: str
) -> None:
    monkeypatch.setenv(TOLD, "0")
    recipe = dataclasses.replace(half(wholes["auto"], tmp_path / "run"), precision=asked)
    before = snapshot(tmp_path / "run")
    with pytest.raises(
        UserError, match=r"^precision of .*run is bf16, but this processor .*give --precision fp32 to go"
    ):
        train(recipe, resume=True)
    assert snapshot(tmp_path / "run") == before


def test_an_fp32_run_does_not_go_on_in_bf16(wholes: dict[str, Recipe], tmp_path: Path) -> None:
    recipe = half(wholes["fp32"], tmp_path / "run")
    before = snapshot(tmp_path / "run")
    with pytest.raises(UserError, match="precision is bf16, but .*run goes on in fp32, as it began; leave it out, or"):
        train(dataclasses.replace(recipe, precision="bf16"), resume=True)
    assert snapshot(tmp_path / "run") == before


@pytest.mark.parametrize(("asked", "near"), [("fp16", "bf16"), ("b16", "bf16"), ("outo", "auto")])
def test_an_unknown_type_is_one_line_with_the_nearest(lab: Any, asked: str, near: str) -> None:
    with pytest.raises(UserError) as caught:
        lab.recipe("run", precision=asked)
    assert str(caught.value) == f"precision is '{asked}' (did you mean '{near}'?); give one of auto, fp32, bf16"


@pytest.mark.parametrize("text", ["", "[]", '{"precision": "fp16"}', '{"precision": "bf16", "changes": [{"to": 3}]}'])
def test_a_damaged_record_is_one_line(wholes: dict[str, Recipe], tmp_path: Path, text: str) -> None:
    recipe = half(wholes["bf16"], tmp_path / "run")
    (tmp_path / "run" / "precision.json").write_text(text)
    with pytest.raises(UserError, match=r"precision.json is damaged.*put back its own, or write .* there") as caught:
        train(recipe, resume=True)
    assert "\n" not in str(caught.value)
    (tmp_path / "run" / "precision.json").write_text('{"precision": "bf16"}')  # as it says
    train(recipe, resume=True)
    assert same(tmp_path / "run", Path(wholes["bf16"].out))
