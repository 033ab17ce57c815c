r"""Regular expressions from their text to a tree: the dialect of `pattern=`.

    tree = parse(r"\d{4}-\d{2}-\d{2}")

Python's `re` under `re.ASCII`, the whole text matching: literals, escapes, classes, ``.``, groups, ``|``, ``* + ?`` and
``{m,n}``. What no finite automaton can say, or what only steers a search, is refused with its place. What becomes
of the tree: see `automaton`.
"""

from __future__ import annotations

import re
import string
from dataclasses import dataclass

from unmask.errors import UserError

LARGEST_COUNT, DEEPEST = 2048, 100
LAST_CHARACTER = 0x10FFFF

Ranges = tuple[tuple[int, int], ...]  # of code points, both ends included
DIGITS: Ranges = ((0x30, 0x39),)
WORD: Ranges = ((0x30, 0x39), (0x41, 0x5A), (0x5F, 0x5F), (0x61, 0x7A))
SPACES: Ranges = ((0x09, 0x0D), (0x20, 0x20))
NEWLINE: Ranges = ((0x0A, 0x0A),)
CLASSES = {"d": DIGITS, "w": WORD, "s": SPACES}
CONTROLS = {"n": "\n", "t": "\t", "r": "\r", "f": "\f", "v": "\v", "a": "\a"}
HEX_DIGITS = {"x": 2, "u": 4, "U": 8}
LARGEST_OCTAL = 0o377


@dataclass(frozen=True)
class Chars:
    """One character out of ranges."""

    ranges: Ranges


@dataclass(frozen=True)
class Sequel:
    """Parts one after another; without parts, the empty text."""

    parts: tuple[Node, ...]


@dataclass(frozen=True)
class Either:
    options: tuple[Node, ...]


@dataclass(frozen=True)
class Repeat:
    """`least` to `most` times; None: any number."""

    part: Node
    least: int
    most: int | None


Node = Chars | Sequel | Either | Repeat


def parse(pattern: str) -> Node:
    """The tree of a pattern. Raises `UserError` naming the place of what is wrong or not supported."""
    return Parser(pattern).parse()


class Parser:
    """Recursive descent over one pattern; positions in messages count characters from 0."""

    def __init__(self, pattern: str) -> None:
        self.pattern, self.at, self.depth = pattern, 0, 0

    def parse(self) -> Node:
        if self.peek() == "^":
            self.at += 1
        tree = self.alternatives()
        if self.at < len(self.pattern):
            raise self.error("has a ) without a (", mend="escape it as \\)")
        return tree

    def alternatives(self) -> Node:
        options = [self.sequence()]
        while self.peek() == "|":
            self.at += 1
            options.append(self.sequence())
        return options[0] if len(options) == 1 else Either(tuple(options))

    def sequence(self) -> Node:
        parts: list[Node] = []
        while (head := self.peek()) and head not in "|)":
            if head == "$" and self.at == len(self.pattern) - 1:
                self.at += 1
                break
            parts.append(self.repeated(self.atom()))
        return parts[0] if len(parts) == 1 else Sequel(tuple(parts))

    def atom(self) -> Node:
        start, head = self.at, self.pattern[self.at]
        if head in "^$":
            raise self.unsupported(f"{head} inside a pattern", mend="the whole text must match anyway; leave it out")
        if head in "*+?" or self.quantifier() is not None:
            raise self.error(f"has {head} with nothing to repeat", start, f"escape it as \\{head}")
        self.at += 1
        if head == "(":
            return self.group(start)
        if head == "[":
            return Chars(self.character_class(start))
        if head == ".":
            return Chars(complement(NEWLINE))
        if head == "\\":
            return Chars(self.escape(start))
        return Chars(((ord(head), ord(head)),))

    def group(self, start: int) -> Node:
        if self.peek() == "?":
            if not self.pattern.startswith("?:", self.at):
                kind = self.pattern[start : start + 3]
                raise self.unsupported(kind, start, "only groups (...) and (?:...) are")
            self.at += 2
        self.depth += 1
        if self.depth > DEEPEST:
            raise self.error(f"nests more than {DEEPEST} groups", start, "write it flatter")
        inner = self.alternatives()
        if self.peek() != ")":
            raise self.error("has a ( without a )", start, "close it, or escape it as \\(")
        self.at += 1
        self.depth -= 1
        return inner

    def quantifier(self) -> tuple[int, int | None, int] | None:
        """(least, most, where it ends) of what stands here; None for a brace that is only a character."""
        head = self.peek()
        if head in ("*", "+", "?"):
            return int(head == "+"), 1 if head == "?" else None, self.at + 1
        end = self.pattern.find("}", self.at)
        if head != "{" or end < 0:
            return None
        low, comma, high = self.pattern[self.at + 1 : end].partition(",")
        if any(number and not (number.isascii() and number.isdigit()) for number in (low, high)) or not (low or comma):
            return None
        least = int(low or 0)
        most = (int(high) if high else None) if comma else least
        if most is not None and most < least:
            raise self.error(f"has {{{low},{high}}}, most before least", mend="swap them")
        if max(least, most or 0) > LARGEST_COUNT:
            raise self.unsupported(f"a count over {LARGEST_COUNT}", mend="use a smaller one")
        return least, most, end + 1

    def repeated(self, part: Node) -> Node:
        if (found := self.quantifier()) is None:
            return part
        least, most, self.at = found
        if self.peek() == "?":
            raise self.unsupported("a lazy quantifier", mend="leave out its ?, the same texts match")
        if self.peek() == "+":
            raise self.unsupported("a possessive quantifier", mend="leave out its +")
        if self.quantifier() is not None:
            raise self.error("repeats a repetition", mend="put what is repeated into (?:...)")
        return part if part == Sequel(()) else Repeat(part, least, most)

    def escape(self, start: int, in_class: bool = False) -> Ranges:
        """Of the character behind a backslash, `self.at`."""
        head = self.peek()
        if not head:
            raise self.error("ends in a backslash", start, "write \\\\ for one")
        if (ranges := self.octal(start, in_class)) is not None:
            return ranges
        self.at += 1
        if head.lower() in CLASSES:
            ranges = CLASSES[head.lower()]
            return ranges if head.islower() else complement(ranges)
        if head in HEX_DIGITS:
            digits = self.pattern[self.at : self.at + HEX_DIGITS[head]]
            whole = len(digits) == HEX_DIGITS[head] and all(digit in string.hexdigits for digit in digits)
            number = int(digits, 16) if whole else LAST_CHARACTER + 1
            if number > LAST_CHARACTER:
                raise self.error(
                    f"has \\{head}{digits}", start, f"write {HEX_DIGITS[head]} hexadecimal digits behind \\{head}"
                )
            self.at += len(digits)
            return ((number, number),)
        if head.isascii() and head.isdigit():
            if in_class:
                raise self.error(f"has \\{head} in a class", start, f"write {head} for the digit")
            raise self.unsupported(f"\\{head} (a reference to a group)", start, "write the text out")
        if head in CONTROLS:
            head = CONTROLS[head]
        elif in_class and head == "b":
            head = "\b"
        elif head.isascii() and head.isalpha():
            known = "of letters only \\d \\w \\s, \\n \\t \\r, \\xHH and \\uHHHH are"
            raise self.unsupported(f"\\{head}", start, known)
        return ((ord(head), ord(head)),)

    def octal(self, start: int, in_class: bool) -> Ranges | None:
        r"""As `re` has it: \0, \0 and up to two digits, or three digits that are no group's number; in a class any."""
        digits = re.match(r"[0-7]{1,3}" if in_class else r"0[0-7]{0,2}|[0-7]{3}", self.pattern[self.at :])
        if digits is None:
            return None
        self.at += digits.end()
        number = int(digits[0], 8)
        if number > LARGEST_OCTAL:
            raise self.error(f"has \\{digits[0]}, over \\{LARGEST_OCTAL:o},", start, "write \\uHHHH")
        return ((number, number),)

    def character_class(self, start: int) -> Ranges:
        negated = self.peek() == "^"
        self.at += negated
        found: list[tuple[int, int]] = []
        first = self.at
        while True:
            head = self.peek()
            if not head:
                raise self.error("has a [ without a ]", start, "close it, or escape it as \\[")
            if head == "]" and self.at > first:
                self.at += 1
                break
            low_at = self.at
            low = self.class_member()
            if self.peek() != "-" or self.pattern.startswith("-]", self.at) or self.at + 1 >= len(self.pattern):
                found += low
                continue
            self.at += 1
            high = self.class_member()
            if len(low) > 1 or len(high) > 1 or low[0][0] != low[0][1] or high[0][0] != high[0][1]:
                raise self.error("has a range that ends in a class", low_at, "write \\- for the character -")
            if high[0][0] < low[0][0]:
                raise self.error("has a range from high to low", low_at, "swap its ends")
            found.append((low[0][0], high[0][0]))
        return complement(tuple(found)) if negated else tuple(found)

    def class_member(self) -> Ranges:
        start, head = self.at, self.pattern[self.at]
        self.at += 1
        if head != "\\":
            return ((ord(head), ord(head)),)
        return self.escape(start, in_class=True)

    def peek(self) -> str:
        return self.pattern[self.at : self.at + 1]

    def error(self, what: str, at: int | None = None, mend: str = "") -> UserError:
        return UserError(f"pattern {shown(self.pattern)} {what} at position {self.at if at is None else at}; {mend}")

    def unsupported(self, what: str, at: int | None = None, mend: str = "") -> UserError:
        place = self.at if at is None else at
        return UserError(f"pattern {shown(self.pattern)}: {what} is not supported at position {place}; {mend}")


def shown(pattern: str) -> str:
    """A pattern in one line of a message, its backslashes as they are written."""
    return repr(pattern).replace("\\\\", "\\")


def complement(ranges: Ranges) -> Ranges:
    found, low = [], 0
    for first, last in sorted(ranges):
        if low < first:
            found.append((low, first - 1))
        low = max(low, last + 1)
    return (*found, (low, LAST_CHARACTER)) if low <= LAST_CHARACTER else tuple(found)
