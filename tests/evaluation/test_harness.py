"""The harness behind our command: unknown tasks at once, its data by our rule, its tracebacks in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("lm_eval")

from unmask.errors import UserError
from unmask.evaluation import harness
from unmask.evaluation.harness import TASKS, check_names, harness_folder, in_one_line, names_in


def test_names_are_found_without_the_index(tmp_path: Path) -> None:
    check_names(["gsm8k", "mmlu", "unmask_piqa", "lambada_*"], [TASKS])
    names, own = names_in(harness_folder())
    assert {"hellaswag", "mmlu_stem", "ai2_arc"} <= names and own["gsm8k"].name == "gsm8k.yaml"
    with pytest.raises(UserError, match=r"task 'gsm8j' is unknown \(did you mean 'gsm8k'\?\)"):
        check_names(["gsm8j"], [TASKS])
    with pytest.raises(UserError, match=r"task 'lambda' is unknown \(did you mean 'lambada'\?\)"):
        check_names(["lambda"], [TASKS], more=["lambada"])
    (tmp_path / "mine.yaml").write_text("include: x\\ntask: my_own_task\\n".replace("\\n", "\n"))
    check_names(["my_own_task", str(tmp_path / "mine.yaml")], [tmp_path])


@pytest.mark.slow
def test_no_name_of_the_harness_is_missed() -> None:
    assert set(harness.task_manager().all_tasks) <= names_in(harness_folder())[0] | names_in(TASKS)[0]


def test_what_the_harness_raises_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LMEVAL_LOG_LEVEL", raising=False)
    with pytest.raises(UserError, match="task x: ValueError: no such thing") as caught, in_one_line("x"):
        raise ValueError("no such thing\nand more")
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="as it is"), in_one_line():
        raise UserError("as it is")
    with pytest.raises(PermissionError), in_one_line():
        raise PermissionError(13, "no", "file")
    monkeypatch.setenv("LMEVAL_LOG_LEVEL", "DEBUG")
    with pytest.raises(ValueError, match="again"), in_one_line():
        raise ValueError("again")
