"""The reversal experiment from end to end, tiny: stopped after the choice, gone on with, and its result.

make test ARGS=tests/experiments/reversal/test_experiment.py
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from unmask.errors import UserError
from unmask.experiments.command import run_experiment
from unmask.experiments.frame import Settings
from unmask.experiments.reversal.experiment import chosen_late
from unmask.experiments.reversal.people import own_people
from unmask.experiments.reversal.report import reading
from unmask.experiments.reversal.rows import row_length, write_rows
from unmask.experiments.workplace import Workplace
from unmask.model.config import ModelConfig
from unmask.model.folder import save
from unmask.model.tokenizers import Tokenizer
from unmask.model.transformer import Transformer

from .conftest import SMALL, Chosen, options


def test_it_goes_on_and_the_result_has_the_keys_that_others_read(chosen: Chosen) -> None:
    out = chosen.out
    runs = {path: path.stat().st_mtime_ns for path in (out / "runs").glob("*/metrics.jsonl")}
    result = run_experiment(options(out, resume=True, plot=True))
    assert runs == {path: path.stat().st_mtime_ns for path in runs}  # finished runs are not touched
    for kind in ("mdm", "arm"):
        for direction in ("trained", "reversed", "both"):
            figures = result["headline"]["own"][kind][direction]
            assert {"name_accuracy", "description_accuracy", "name_first_name", "name_shuffled", "name_ranking",
                    "name_likeliest", "name_likeliest_of_group", "name_nats",
                    "description_bare", "description_any_form", "description_bleu_char",
                    "description_bleu_word"} <= set(figures)  # fmt: skip
            assert figures["name_accuracy"]["clusters"] == 3 and figures["name_accuracy"]["n"] == 3
    assert len(result["runs"]["own"]["mdm"]["curve"]) >= 2 and result["runs"]["own"]["arm"]["flops"] > 0
    assert result["material"]["own"]["name_tokens"] == 2
    assert result["holds"].startswith("open: the ARM does not meet") and "own: MDM" in result["figure"]
    given = {**result, "exposure": {"own": {"mdm": "not in its training tokens"}}}
    assert result["exposure"] == {} and "statements of own: MDM not in its training tokens." in reading(given)
    assert (out / "reversal.png").stat().st_size > 10_000 and (out / "README.md").is_file()
    assert set(result["runs"]["own"]["mdm"]["at_guidance"]) >= {"0", "0.8"} and not result["chosen_late"]
    assert result["material"]["own"]["sayable"]["trained"] == {"exact": 1, "bare": 1}
    with pytest.raises(UserError, match="begun with span 1, not 3"):
        run_experiment(options(out, resume=True, set=(*SMALL, "span=3")))


def test_another_grid_goes_on_in_the_same_folder(chosen: Chosen) -> None:
    """Nothing is trained again, and what was asked alike is not asked again."""
    out = chosen.out
    runs = {path: path.stat().st_mtime_ns for path in (out / "runs").glob("*/metrics.jsonl")}
    kept = {path: path.stat().st_mtime_ns for path in (out / "stages").glob("answers-*")}
    more = ("kinds=[mdm]", "grid.guidance=[0.0,2.0]", "grid.steps=[]")
    run_experiment(options(out, resume=True, until="choice", set=(*SMALL, *more)))
    assert runs == {path: path.stat().st_mtime_ns for path in (out / "runs").glob("*/metrics.jsonl")}
    assert kept == {path: path.stat().st_mtime_ns for path in kept}
    assert any("2.0" in path.name for path in (out / "stages").glob("answers-*"))


def test_a_choice_is_late_where_the_test_was_read_before_it_was_first_made(tmp_path: Path) -> None:
    place = Workplace(Settings(tmp_path / "x"), {}, "reversal")
    first, second, third = ({"own": {"start": "own", "score": score}} for score in (1.0, 0.5, 0.2))
    assert not chosen_late(place, first) and not chosen_late(place, second)
    (place.out / "stages" / "answers-mdm-own-0-6-reversed-name-1.json").touch()
    assert not chosen_late(place, first) and not chosen_late(place, second), "they stood there before"
    assert chosen_late(place, third) and chosen_late(place, third), "however often it is asked"


def test_data_that_would_not_be_read_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--data x would not be read: sets is \['own'\]; add --set"):
        run_experiment(options(tmp_path / "out", data="x"))
    assert not (tmp_path / "out").exists()


def test_the_control_without_descriptions_first_asks_what_is_left(tmp_path: Path) -> None:
    more = ("ablation=name-first-only", "kinds=[mdm]", "grid.steps=[]", "checkpoints=1")
    result = run_experiment(options(tmp_path / "out", set=(*SMALL, *more), plot=True))
    figures = result["headline"]["own"]["mdm"]
    assert not figures["both"] and "name_accuracy" not in figures["trained"]
    assert figures["reversed"]["name_accuracy"]["clusters"] == 6 and "description_accuracy" not in figures["reversed"]
    assert result["material"]["own"]["people"] == 6
    assert "counts as reversed" in reading(result) and "of the trained direction" in reading(result)


def test_a_run_begun_by_another_recipe_is_refused(chosen: Chosen, tmp_path: Path) -> None:
    out = chosen.out
    told = json.loads((out / "settings.json").read_text())
    told["settings"]["batch"] = 8
    other = tmp_path / "other"
    other.mkdir()
    (other / "settings.json").write_text(json.dumps(told))
    (other / "runs").symlink_to(out / "runs")
    with pytest.raises(UserError, match="was begun with batch_size 24, not 8"):
        run_experiment(options(other, resume=True, set=(*SMALL, "batch=8")))


@pytest.fixture
def bases(tmp_path: Path) -> tuple[str, ...]:
    """Of random weights, whose recipe names tokens that are yet to be written."""
    tokenizer = Tokenizer.train_bpe(300, ["the state of the union"])
    for kind in ("mdm", "arm"):
        config = ModelConfig(1, 1, 8, vocab_size=tokenizer.vocab_size, block_size=128, causal=kind == "arm")
        save(tmp_path / kind, Transformer(config, seed=0), tokenizer)
        (tmp_path / kind / "recipe.yaml").write_text(f"data: {tmp_path / 'data'}\n")
    return str(tmp_path / "mdm"), str(tmp_path / "arm")


@pytest.mark.parametrize("direction", ["reversed", "trained"])
def test_bases_that_have_read_the_reversed_statements_are_refused_before_anything_is_made(
    bases: tuple[str, ...], tmp_path: Path, direction: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Workplace, "train", lambda place, recipes: {})
    read = [f"{q.prompt} {q.answer}" for q in own_people(3, 3).questions if q.direction == direction]
    tokenizer = Tokenizer.from_file(bases[0])
    write_rows(tmp_path / "data", read, read[:1], tokenizer, row_length(read, tokenizer), seed=0)
    given = options(tmp_path / "out", base=bases, until="runs")
    if direction == "trained":
        run_experiment(given)
        assert (tmp_path / "out" / "bases" / "own-base-arm").is_dir()
        return
    with pytest.raises(UserError, match=r"mdm was trained on text that is tested here: .*; give a model that has not"):
        run_experiment(given)
    assert not (tmp_path / "out").exists()


def test_what_to_start_from_can_be_left_to_another_run(
    bases: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(Workplace, "train", lambda place, recipes: asked.extend(recipes) or {})
    text = [f"{q.prompt} {q.answer}" for q in own_people(3, 3).questions if q.direction == "trained"]
    tokenizer = Tokenizer.from_file(bases[0])
    write_rows(tmp_path / "data", text, text[:1], tokenizer, row_length(text, tokenizer), seed=0)
    given = options(tmp_path / "out", base=bases, until="runs", set=(*SMALL, "starts=[base]"))
    run_experiment(given)
    assert asked == ["mdm-own-base-0", "arm-own-base-0"]
    run_experiment(options(tmp_path / "out", base=bases, until="runs", resume=True))
    assert asked[2:] == ["mdm-own-0", "mdm-own-base-0", "arm-own-0", "arm-own-base-0"]


def test_bad_words_end_before_anything_is_made(tmp_path: Path) -> None:
    for more, words in (
        ({"set": (*SMALL, "sets=[original]")}, "give --data FOLDER"),
        ({"set": (*SMALL, "starts=[base]")}, r"starts=\[base\] needs models to start from; give --base twice"),
        ({"set": (*SMALL, "starts=[sleep]")}, r"--set starts=\['sleep'\] is none; give some of random, base as a"),
        ({"until": "x"}, "--until x is no stage of reversal; give runs or choice"),
        ({"base": (str(tmp_path / "no"),)}, "does not exist"),
        ({"set": (*SMALL, "sets=[original]"), "data": str(tmp_path)}, "lacks p2d_prompts_train.jsonl"),
    ):
        with pytest.raises(UserError, match=words):
            run_experiment(options(tmp_path / "x", **more))
    assert not (tmp_path / "x").exists()


def test_a_span_that_no_row_holds_and_sizes_that_cannot_be_cost_no_folder(tmp_path: Path) -> None:
    for change, words in (
        ("span=4000", r"--set span=4000 cannot be: a row of own has \d+ tokens; give 1 to \d+"),
        ("span=0", "--set span=0 cannot be"),
        ("model.n_head=3", "the recipe of mdm of own: "),
        ("lr=-1.0", "the recipe of mdm of own: optimizer.lr is -1"),
    ):
        with pytest.raises(UserError, match=words):
            run_experiment(options(tmp_path / "x", set=(*SMALL, change)))
    assert not (tmp_path / "x").exists()
