"""What a pattern may say, and what it is told where it may not."""

from __future__ import annotations

import re

import pytest

from unmask.decoding.limits.automaton import compile_pattern
from unmask.errors import UserError


@pytest.mark.parametrize("text", ["a{", "{", "a{}b", "a{x}", "a{1,2,3}", "}", "]", "[]a]+", "[^]a]", "[a-]", r"[\-a]"])
def test_braces_and_brackets_that_are_characters(text: str) -> None:
    automaton = compile_pattern(text)
    for other in (text, "a", "]", "-", "b", "]a]", "a{", "x"):
        assert automaton.matches(other) == bool(re.fullmatch(text, other))


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("ab(?=c)", r"\(\?= is not supported at position 2; only groups"),
        ("(?<!a)b", r"\(\?< is not supported at position 0"),
        ("(?P<x>a)", r"\(\?P is not supported at position 0"),
        (r"(a)\1", r"reference to a group\) is not supported at position 3"),
        ("a*?b", r"lazy quantifier is not supported at position 2; leave out its \?"),
        ("a{2}+", r"possessive quantifier is not supported at position 4"),
        (r"a\b", r"\\b is not supported at position 1; of letters only"),
        ("a^b", r"\^ inside a pattern is not supported at position 1"),
        ("(a$)b", r"\$ inside a pattern is not supported at position 2"),
        ("(ab", r"has a \( without a \) at position 0"),
        ("ab)c", r"has a \) without a \( at position 2"),
        ("a[bc", r"has a \[ without a \] at position 1"),
        ("a[", r"has a \[ without a \] at position 1"),
        ("[a-", r"has a \[ without a \] at position 0"),
        ("[z-a]", "from high to low at position 1"),
        (r"[\d-z]", "range that ends in a class at position 1"),
        ("*a", r"has \* with nothing to repeat at position 0"),
        ("a**", "repeats a repetition at position 2"),
        ("a{3,2}", r"has \{3,2\}, most before least at position 1"),
        ("a{5000}", "a count over 2048 is not supported at position 1"),
        (r"\xg1", r"has \\xg1 at position 0; write 2 hexadecimal digits"),
        ("ab\\", "ends in a backslash at position 2"),
        ("(" * 101 + ")" * 101, "nests more than 100 groups at position 100"),
        (r"[^\x00-\U0010ffff]", "matches no text at all"),
    ],
)
def test_bad_patterns(pattern: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        compile_pattern(pattern)
    assert "\n" not in str(caught.value) and str(caught.value).startswith("pattern ")


@pytest.mark.parametrize(
    "pattern", [r"\0", r"\07", r"a\0b", r"\012", r"\0123", r"\101", r"[\1]", r"[\101-\103]", r"[^\0]", r"[\b]", r"\08"]
)
def test_octal_escapes_are_those_of_re(pattern: str) -> None:
    r"""\0 is NUL, not a reference to a group, and in a class every number is a character."""
    automaton = compile_pattern(pattern)
    for text in ("\0", "\7", "a\0b", "\n", "\n3", "A", "C", "\1", "\b", "\x008", "0", "8", ""):
        assert automaton.matches(text) == bool(re.fullmatch(pattern, text)), (pattern, text)


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        (r"a\400", r"has \\400, over \\377, at position 1; write \\uHHHH"),
        (r"[\777]", r"has \\777, over \\377, at position 1"),
        (r"[\8]", r"has \\8 in a class at position 1; write 8 for the digit"),
        (r"(a)\1", r"\\1 \(a reference to a group\) is not supported at position 3"),
        (r"(a)\18", r"\\1 \(a reference to a group\)"),
    ],
)
def test_numbers_that_are_no_characters(pattern: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        compile_pattern(pattern)
