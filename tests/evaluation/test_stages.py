"""Children side by side: what they print, how long they took, how they end."""

from __future__ import annotations

import json
import re
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from screen import on_a_terminal
from unmask.errors import UserError
from unmask.evaluation.stages import Stages, run_together


def child(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_children_run_at_once_and_their_json_comes_back(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    stages = Stages(tmp_path / "stages.json")
    code = "import sys, time, json; print('here I am', file=sys.stderr); time.sleep(2); print(json.dumps({'name': %r}))"
    started = time.monotonic()
    found = run_together({"a": child(code % "A"), "b": child(code % "B")}, stages, facts={"a": {"note": 7}})
    assert time.monotonic() - started < 3.9
    assert found == {"a": {"name": "A"}, "b": {"name": "B"}}
    kept = json.loads((tmp_path / "stages.json").read_text())
    assert kept["a"]["note"] == 7 and "note" not in kept["b"]
    assert 2 <= kept["a"]["seconds"] < 4
    assert sorted(capfd.readouterr().err.splitlines()) == ["a: here I am", "b: here I am"]


@pytest.mark.parametrize("columns", [80, 40])
def test_steps_of_all_children_share_one_live_line(tmp_path: Path, columns: int) -> None:
    steps = "import sys, time\nfor i in range(1, 9):\n    print(f'step {i}00/800 | loss 4.1234 | 1:02:03 left | 12,345 "
    steps += "tokens/s | 99% of matmul peak', file=sys.stderr, flush=True)\n    time.sleep(0.1)\n"
    steps += "print('step 800 | validation 4.2 nats/token', file=sys.stderr)\nprint(1)"
    program = "from pathlib import Path; from unmask.evaluation.stages import *; import sys\n"
    program += "commands = {name: [sys.executable, '-c', sys.argv[1]] for name in ('mdm', 'arm')}\n"
    program += "print(run_together(commands, Stages(Path(sys.argv[2]))))"
    shown = on_a_terminal([sys.executable, "-c", program, steps, str(tmp_path / "stages.json")], columns)
    assert shown.stdout == b"{'mdm': 1, 'arm': 1}\n"
    assert re.search(r"\r(mdm|arm) [1-8]00/800, loss 4.1234, 1:0", shown.written)
    assert 0 < shown.widest_live < columns
    stand = "".join(shown.lines)
    assert sorted(stand.replace("arm", "mdm").split("mdm: ")) == ["", *2 * ["step 800 | validation 4.2 nats/token"]]


def test_peak_memory_is_that_of_the_child(tmp_path: Path) -> None:
    stages = Stages(tmp_path / "stages.json")
    code = "import time; a = bytearray(b'x') * {}; time.sleep(0.5); print(0)"
    run_together({"small": child(code.format(1)), "large": child(code.format(200_000_000))}, stages)
    peaks = {name: record["peak_memory_bytes"] for name, record in stages.records.items()}
    assert 1.9e8 < peaks["large"] - peaks["small"] < 2.4e8


def test_a_failure_stops_the_others_and_gives_its_last_line(tmp_path: Path) -> None:
    stages = Stages(tmp_path / "stages.json")
    failing = "import sys; print('first', file=sys.stderr); sys.exit('unmask: error: the disk is full')"
    started = time.monotonic()
    with pytest.raises(UserError, match="^bad: the disk is full$"):
        both = {"bad": child(failing), "long": child("import time; time.sleep(60)")}
        run_together(both, stages, facts={"bad": {"well": 1}})
    assert time.monotonic() - started < 20
    assert "well" not in stages.records["bad"]


def test_the_next_command_starts_when_one_ends(tmp_path: Path) -> None:
    code = "import json, sys, time; began = time.monotonic(); time.sleep(float(sys.argv[1]));"
    code += "print(json.dumps([began, time.monotonic()]))"
    ended: list[str] = []
    commands = {name: [*child(code), seconds] for name, seconds in {"long": "2.5", "a": "0.5", "b": "0.5"}.items()}
    found = run_together(
        commands, Stages(tmp_path / "s.json"), at_once=2, ended=lambda name, times: ended.append(name)
    )
    assert list(found) == list(commands) and sorted(ended) == sorted(commands) and ended.index("a") < ended.index("b")
    assert found["a"][0] < found["long"][1] and found["b"][0] >= found["a"][1], "never more than two"
    assert found["b"][0] < found["long"][1], "it does not wait for the long one"


def test_what_ended_well_is_told_before_another_fails_and_nothing_starts_after(tmp_path: Path) -> None:
    started = tmp_path / "started"
    commands = {
        "good": child("print(1)"),
        "bad": child("import sys, time; time.sleep(1); sys.exit('no room')"),
        "long": child("import time; time.sleep(60)"),
        "never": child(f"open({str(started)!r}, 'w')"),
    }
    ended: dict[str, Any] = {}
    with pytest.raises(UserError, match="^bad: no room$"):
        run_together(commands, Stages(tmp_path / "s.json"), at_once=2, ended=ended.__setitem__)
    assert ended == {"good": 1} and not started.exists()


def test_work_adds_up_over_calls_and_a_measurement_replaces(tmp_path: Path) -> None:
    stages = Stages(tmp_path / "stages.json")
    stages.add("train", 2.0, 100)
    again = Stages(tmp_path / "stages.json")
    again.add("train", 3.0, 50, finished="x")
    assert again.records["train"] == {"seconds": 5.0, "peak_memory_bytes": 100, "finished": "x"}
    with again.measure("train"):
        time.sleep(0.05)
    assert 0.05 <= again.records["train"]["seconds"] < 1
    (tmp_path / "stages.json").write_text("{ cut")
    assert Stages(tmp_path / "stages.json").records == {}
