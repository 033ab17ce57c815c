"""What a plug-in's hook gives is checked, and named in one line where it is something else."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import unmask
from decoding.oracle import SHARP, oracle
from plugged import LAST, write
from unmask.decoding import generate
from unmask.errors import UserError

MODEL = oracle(SHARP, context=64)
pytestmark = pytest.mark.usefixtures("no_plugins")


def rule(kind: str, hook: str, body: str, more: str = "pass") -> str:
    registry, base = {
        "order": ("ORDERS", "Order"),
        "quota": ("QUOTAS", "Quota"),
        "adaptive": ("QUOTAS", "Adaptive"),
        "eligible": ("ELIGIBLE", "Eligibility"),
        "revise": ("REVISIONS", "Revision"),
        "guidance_schedule": ("SCHEDULES", "Schedule"),
    }[kind]
    return f"@{registry}.register('x')\nclass X({base}):\n    {more}\n\n    def {hook}:\n        {body}\n"


TURN = "priority(self, turn, answers)"


ADMIT, COUNT, WITHIN = "admit(self, turn, ranked)", "count(self, turn)", "within(self, turn)"
OWN, FREE = "own_quota = True", "needs_steps = False"
WRONG = [
    (rule("order", TURN, "return torch.zeros(3)"), r"priority gave [3] of float32; give [R, L] = [1, 7] of numbers"),
    (rule("order", TURN, "return turn.open_RL"), "priority gave [1, 7] of bool; give [R, L] = [1, 7] of numbers"),
    (rule("order", TURN, "return None"), "priority gave None; give [R, L] = [1, 7] of numbers"),
    (rule("order", "takes(self, turn)", "return turn.keys_RL", OWN), "takes gave [1, 7] of float64; give [R, L]"),
    (rule("order", TURN, "return {}['a']"), "priority raised KeyError: 'a' (line 9); mend the file"),
    (rule("quota", COUNT, "return 1"), "count gave 1; give [R] = [1] of whole numbers"),
    (rule("quota", COUNT, "return turn.left_R / 2"), "count gave [1] of float32; give [R] = [1] of whole numbers"),
    (rule("adaptive", ADMIT, "return ranked.open_RK[:, 1:]"), "admit gave [1, 6] of bool; give [R, K] = [1, 7]"),
    (rule("eligible", WITHIN, "return turn.left_R"), "within gave [1] of int64; give [R, L] = [1, 7] of bools"),
    (rule("revise", "done(self, turn)", "return True", FREE), "done gave True; give [R] = [1] of bools"),
    (rule("revise", "before(self, turn)", "return None"), "before gave None; give a Before"),
    (rule("revise", "before(self, turn)", "return Before(asks_RL=turn.left_R)"), "before: asks_RL gave [1] of int64"),
    (rule("revise", "after(self, step)", "step.chosen_RL = step.turn.left_R"), "after: chosen_RL gave [1] of int64"),
    (rule("guidance_schedule", "at(self, t)", "return 'half'"), "at gave a str; give a number"),
]


@pytest.mark.parametrize(("source", "line"), WRONG, ids=[line[:30] for _, line in WRONG])
def test_a_hook_that_gives_something_else(source: str, line: str, tmp_path: Path) -> None:
    ((kind, _),) = unmask.plugin(write(tmp_path, source)).rules
    options = {"order": "left-to-right", "quota": "even", "guidance": 0.5, kind: "x"}
    if "own_quota" in source:
        del options["quota"]
    with pytest.raises(UserError, match="^" + re.escape(f"plug-in mine.py: {kind} 'x': {line}")):
        generate(MODEL, [[1]], length=6, **options)


def test_a_statistic_that_gives_something_else(tmp_path: Path) -> None:
    source = rule("order", TURN, "return answers['y']", "reads = ('y',)")
    source += "\n@STATISTICS.register('y')\nclass Y(Statistic):\n    def of(self, law):\n        return law.logits_NV\n"
    unmask.plugin(write(tmp_path, source))
    with pytest.raises(UserError, match=r"statistic 'y': of gave \[6, 8\] of float32; give \[N\] = \[6\] of numbers"):
        generate(MODEL, [[1]], length=6, order="x", quota="even")


def test_hooks_answer_for_every_row_alone(tmp_path: Path) -> None:
    """What a guard counts as R, L, K and N is what a batch of several rows has."""
    unmask.plugin(write(tmp_path, LAST))
    prompts, lengths = [[1], [2, 3], [4]], [5, 3, 7]
    together = generate(MODEL, prompts, length=lengths, order="last", quota="even")
    for row, (prompt, length) in enumerate(zip(prompts, lengths, strict=True)):
        (alone,) = generate(MODEL, [prompt], length=length, order="last", quota="even", seed=[(0, row)])
        assert alone.tokens == together[row].tokens
