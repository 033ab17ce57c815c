"""Errors a user can mend."""

from __future__ import annotations

from unmask.errors import SaidElsewhere, UserError, nearest


def test_the_nearest_name_is_suggested_and_nothing_where_none_is_near() -> None:
    assert nearest("confidense", ["random", "confidence"]) == " (did you mean 'confidence'?)"
    assert nearest("zzz", ["random", "confidence"]) == nearest("x", []) == ""
    assert nearest("trian", iter(["train", "plan"])) == " (did you mean 'train'?)"


def test_what_another_process_says_is_still_an_error_of_the_user() -> None:
    assert issubclass(SaidElsewhere, UserError) and not issubclass(UserError, (ValueError, OSError))
