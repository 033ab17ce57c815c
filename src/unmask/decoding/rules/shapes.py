"""What each hook of a rule gives back, and the line that says so where a plug-in's gives something else.

    guard(rule, "order", "rarest", "plug-in mine.py")        # its own hooks are checked from here on

Our own rules are held to it by tests, not at every pass. A hook that raises becomes one line too, with the line of the
user's file; from Python the error itself is its cause.

Shapes: R rows in a turn, L positions, K ranks, N positions asked for.
"""

from __future__ import annotations

import functools
import math
import traceback
from collections.abc import Callable
from typing import Any

import torch

from unmask.decoding.rules.answers import Answers, Ranked
from unmask.decoding.rules.law import Law
from unmask.decoding.rules.revise import Before, Step
from unmask.decoding.state.turn import Turn
from unmask.errors import UserError

# Hook: the letters of its shape and what it holds.
HOOKS: dict[str, dict[str, tuple[str, str]]] = {
    "order": {"priority": ("RL", "numbers"), "takes": ("RL", "bools"), "score": ("RL", "numbers")},
    "quota": {"count": ("R", "whole numbers"), "admit": ("RK", "bools")},
    "eligible": {"within": ("RL", "bools")},
    "revise": {"before": ("", "a Before"), "after": ("", "nothing"), "done": ("R", "bools"), "leave": ("", "nothing")},
    "guidance_schedule": {"at": ("", "a number")},
    "statistic": {"of": ("N", "numbers"), "join": ("", "nothing"), "begin": ("", "nothing")},
}
BEFORE = {"share_R": ("R", "numbers"), "needs_R": ("R", "bools"), "shows_RL": ("RL", "whole numbers")}
BEFORE |= dict.fromkeys(("reopen_RL", "asks_RL"), ("RL", "bools"))
AFTER = dict.fromkeys(("chosen_RL", "reopen_RL", "rewrite_RL"), ("RL", "bools"))


def guard(rule: type, kind: str, name: str, source: str) -> None:
    """Puts a check around the hooks that are not ours, and makes errors of theirs one line that begins with `source`
    and names the rule."""
    for hook in HOOKS[kind]:
        made = getattr(rule, hook)
        made = getattr(made, "unguarded", made)
        if not str(made.__module__).startswith("unmask."):
            setattr(rule, hook, guarded(made, kind, hook, f"{source}: {kind} '{name}': {hook}"))


def guarded(made: Callable[..., Any], kind: str, hook: str, where: str) -> Callable[..., Any]:
    @functools.wraps(made)
    def called(self: Any, *given: Any, **named: Any) -> Any:
        try:
            answer = made(self, *given, **named)
        except UserError:
            raise
        except Exception as error:
            raise UserError(f"{where} raised {raised(error, made.__code__.co_filename)}; mend the file") from error
        check(answer, kind, hook, sizes(given), where, given)
        return answer

    called.unguarded = made  # type: ignore[attr-defined]
    return called


def raised(error: BaseException, file: str) -> str:
    """An error in a few words, with the line of the file that it comes from."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    line = error.lineno if isinstance(error, SyntaxError) else lines[-1] if lines else None
    words = (error.msg if isinstance(error, SyntaxError) else str(error)).strip().partition("\n")[0]
    return f"{type(error).__name__}{': ' * bool(words)}{words}" + (f" (line {line})" if line else "")


def sizes(given: tuple[Any, ...]) -> dict[str, int]:
    """What the letters stand for in a call."""
    size: dict[str, int] = {}
    for one in given:
        turn = one.turn if isinstance(one, Step) else one
        if isinstance(turn, Turn):
            size |= {"R": len(turn.rows_R), "L": turn.open_RL.shape[1]}
        elif isinstance(one, Answers):
            size |= {"R": one.asked_RL.shape[0], "L": one.asked_RL.shape[1]}
        elif isinstance(one, Ranked):
            size["K"] = one.open_RK.shape[1]
        elif isinstance(one, Law):
            size["N"] = len(one.logits_NV)
    return size


def check(answer: Any, kind: str, hook: str, size: dict[str, int], where: str, given: tuple[Any, ...]) -> None:
    """Raises `UserError` that begins with `where` for what is of another shape or kind than the hook's."""
    letters, holds = HOOKS[kind][hook]
    if letters:
        check_tensor(answer, letters, holds, size, where)
    elif hook == "before":
        if not isinstance(answer, Before):
            raise UserError(f"{where} gave {described(answer)}; give a Before")
        for name, expected in BEFORE.items():
            if (value := getattr(answer, name)) is not None:
                check_tensor(value, *expected, size, f"{where}: {name}")
    elif hook == "after":
        for name, expected in AFTER.items():
            if (value := vars(given[0]).get(name)) is not None:
                check_tensor(value, *expected, size, f"{where}: {name}")
    elif hook == "at" and not (type(answer) in (int, float) and math.isfinite(answer)):
        raise UserError(f"{where} gave {described(answer)}; give a number")


def check_tensor(answer: Any, letters: str, holds: str, size: dict[str, int], where: str) -> None:
    shape = [size[letter] for letter in letters]
    if not isinstance(answer, torch.Tensor) or list(answer.shape) != shape or not holds_right(answer, holds):
        raise UserError(f"{where} gave {described(answer)}; give [{', '.join(letters)}] = {shape} of {holds}")


def holds_right(answer: torch.Tensor, holds: str) -> bool:
    if answer.dtype == torch.bool or holds == "bools":
        return answer.dtype == torch.bool and holds == "bools"
    return not answer.is_complex() and (holds == "numbers" or not answer.is_floating_point())


def described(answer: Any) -> str:
    if isinstance(answer, torch.Tensor):
        return f"{list(answer.shape)} of {str(answer.dtype).removeprefix('torch.')}"
    return repr(answer) if isinstance(answer, int | float | None) else f"a {type(answer).__name__}"
