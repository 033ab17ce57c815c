"""Prompts from a file or stdin, a line each, and a line of JSON for each result.

    with open("prompts.jsonl", "rb") as stream:
        for line in read_lines(stream, "prompts.jsonl", as_json=True): ...
    bad = sample_lines(model, lines, Defaults({"length": 32}, seed=0), out)

    unmask sample RUN --prompts prompts.txt --length 32 --out out.jsonl
    echo '{"prompt": "My fellow", "length": 8, "id": "a"}' | unmask sample RUN --prompts - --jsonl

A line is a text, or a JSON object: "prompt" (a text; null for a bare canvas), "ids" or "fill" (a text with gaps, of
"gap" tokens), any options of `generate` for this line alone, and other keys, which come out again. A line's result is a
function of its own settings, its seed and its number: neither the batch nor the lines around it matter. Lines are read
as they are needed, so that a file may be of any length.
"""

from __future__ import annotations

import codecs
import difflib
import hashlib
import json
import re
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, BinaryIO

from unmask._version import __version__
from unmask.decoding.generate import DEFAULT_GAP, generate
from unmask.decoding.generation import Generation
from unmask.decoding.options import COLLECTIONS, DEFAULTS, own_defaults
from unmask.decoding.prepare import prepare
from unmask.decoding.rules.plugins import used
from unmask.decoding.show.result_lines import ResultFile, ResultStream, as_line
from unmask.errors import UserError
from unmask.files import file_sha256
from unmask.model.folder import WEIGHTS, Model
from unmask.model.placement import noted
from unmask.terminal import LiveLine, say

ROWS_AT_ONCE = 16
MOST_WAITING = 256  # results in memory, old ones among them
QUIET_SECONDS = 5.0  # before the first line of progress
SOURCES = ("prompt", "ids", "fill")
OPTIONS = (*DEFAULTS, "negative")
ALIASES = {"ban": "banned", "force": "forced", "choice": "choices"}  # as the command line calls them
OUR_KEYS = {
    *("index", "sample", "settings", "settings_hash", "tokens_per_pass", "schema_version"),
    *(field.name for field in fields(Generation)),
}


@dataclass
class Line:
    """One prompt with what stood beside it. `error`: why it cannot be one; then the rest says nothing."""

    number: int  # from 1
    prompt: str | list[int] | None = None
    source: str = "prompt"  # which of SOURCES it came from
    gap: int | None = None  # of `fill`; None: as the command line says
    options: dict[str, Any] = field(default_factory=dict)
    seed: Any = None
    beside: dict[str, Any] = field(default_factory=dict)  # the user's own keys
    error: str | None = None

    @property
    def index(self) -> int:
        return self.number - 1


@dataclass
class Defaults:
    """What holds for all lines that do not say otherwise."""

    options: Mapping[str, Any]
    seed: int = 0
    gap: int = DEFAULT_GAP
    samples: int = 1  # of each line
    batch: int = ROWS_AT_ONCE
    model: str | None = None  # how results call it


@dataclass
class Todo:
    """One result that is to be written, or an old one that is kept."""

    line: Line
    key: dict[str, int]  # index, and sample where there are several
    options: dict[str, Any]  # the line's and the command's
    settings: dict[str, Any]  # with the model's own defaults where neither says a word
    settings_hash: str
    seed: tuple[int, int]
    kept: bytes | None = None


# ------------------------------------------------------------------ reading


def read_lines(stream: BinaryIO, name: str, as_json: bool) -> Iterator[Line]:
    """Every line of a stream; blank ones among JSON are passed over, a blank text is an empty prompt.

    Raises `UserError` for a stream that cannot be read, and one in UTF-16.
    """
    try:
        for number, raw in enumerate(stream, start=1):
            if number == 1 and raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
                raise UserError(f"{name} is UTF-16; convert it to UTF-8")
            raw = raw.removeprefix(codecs.BOM_UTF8) if number == 1 else raw
            raw = raw.removesuffix(b"\n").removesuffix(b"\r")
            if as_json and not raw.strip():
                continue
            try:
                text = raw.decode("utf-8")
                yield read_object(number, text) if as_json else Line(number, text)
            except UnicodeDecodeError as error:
                yield Line(number, error=f"not UTF-8 at byte {error.start}; convert it")
            except UserError as error:
                yield Line(number, error=str(error))
    except OSError as error:
        raise UserError(f"{name} cannot be read: {error.strerror}; give a file of prompts, or - for stdin") from error


def read_object(number: int, text: str) -> Line:
    """Raises `UserError` for what is no prompt."""
    fields = parse(text)
    given = [source for source in SOURCES if source in fields]
    if len(given) != 1:
        what = "none" if not given else " and ".join(given)
        raise UserError(f'{what} of "prompt", "ids" and "fill" stands there; give one')
    source = given[0]
    line = Line(number, fields.pop(source), source)
    if source == "ids":
        check_ids("ids", line.prompt)
    elif not isinstance(line.prompt, str) and not (source == "prompt" and line.prompt is None):
        raise UserError(f"{source} is {shown(line.prompt)}; give a text")
    line.seed, line.gap = fields.pop("seed", None), fields.pop("gap", None)
    check_seed(line.seed)
    if line.gap is not None and (source != "fill" or type(line.gap) is not int or line.gap < 1):
        raise UserError(f"gap is {shown(line.gap)}; give a whole number of at least 1, beside fill")
    for name, value in fields.items():
        option = ALIASES.get(name, name)
        if option not in OPTIONS:
            line.beside[name] = value
        elif value is not None:
            if option in line.options:
                raise UserError(f"{option} stands there under two names; leave out one")
            line.options[option] = read_option(option, value)
    if taken := OUR_KEYS.intersection(line.beside):
        raise UserError(f"the key {min(taken)!r} is one of the result's; call it otherwise")
    return line


def parse(text: str) -> dict[str, Any]:
    def pairs(found: list[tuple[str, Any]]) -> dict[str, Any]:
        fields = dict(found)
        if len(fields) < len(found):
            counts = Counter(name for name, _ in found)
            raise UserError(f"the key {counts.most_common(1)[0][0]!r} stands there twice; leave out one")
        return fields

    def no_number(word: str) -> Any:
        raise UserError(f"not JSON ({word} is no number of it); leave it out")

    try:
        found = json.loads(text, object_pairs_hook=pairs, parse_constant=no_number)
    except json.JSONDecodeError as error:
        raise UserError(f"not JSON ({error.msg} at column {error.colno}); mend it") from error
    except ValueError as error:  # a whole number of thousands of digits
        raise UserError(f"not JSON ({error}); mend it") from error
    except RecursionError as error:
        raise UserError("nested too deep; give a prompt and its options") from error
    if not isinstance(found, dict):
        raise UserError('no JSON object; give one with "prompt", "ids" or "fill"')
    return found


def read_option(name: str, value: Any) -> Any:
    """The value of one row, as a list of rows may hold it; its range is checked later."""
    if name in COLLECTIONS:
        return value if isinstance(value, list) else [value]
    if name == "forced" and isinstance(value, dict):
        if bad := next((place for place in value if not re.fullmatch(r"\d{1,9}", place, re.ASCII)), None):
            raise UserError(f"forced is at {bad!r}; give places among the new tokens, from 0 on")
        return {int(place): token for place, token in value.items()}
    if name == "negative" and not isinstance(value, str):
        check_ids(name, value)
    return value


def check_ids(name: str, value: Any) -> None:
    if not isinstance(value, list) or not all(type(token) is int for token in value):
        raise UserError(f"{name} is {shown(value)}; give a list of token ids")


def check_seed(seed: Any) -> None:
    pair = isinstance(seed, list) and len(seed) == 2 and all(type(part) is int for part in seed)
    if seed is not None and type(seed) is not int and not pair:
        raise UserError(f"seed is {shown(seed)}; give a whole number, or two of them as a result has")


def shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else text[:37] + "..."


# ------------------------------------------------------------------ writing


def sample_lines(
    model: Model, lines: Iterable[Line], defaults: Defaults, out: ResultFile | ResultStream, name: str = "prompts"
) -> tuple[int, list[int]]:
    """Writes a result for every line that is a prompt; names the others on stderr. Returns how many lines there were,
    and the numbers of those without a result."""
    runner = Runner(model, defaults, out, name)
    with LiveLine(seconds=15.0) as progress:
        started = time.monotonic()
        for line in lines:
            runner.add(line)
            if progress.due and time.monotonic() - started > QUIET_SECONDS:
                progress.show(f"sample: line {line.number} | {runner.written} written, {runner.kept} kept")
        runner.flush()
    out.finish()
    return runner.lines, sorted(runner.bad)


class Runner:
    """Gathers lines into batches; what it puts out is in the order of the lines."""

    def __init__(self, model: Model, defaults: Defaults, out: ResultFile | ResultStream, name: str) -> None:
        self.model, self.defaults, self.out, self.name = model, defaults, out, name
        self.identity = identity(model)
        self.waiting: list[Todo] = []
        self.lines = self.written = self.kept = 0
        self.bad: set[int] = set()
        self.hinted: set[str] = set()

    def add(self, line: Line) -> None:
        self.lines += 1
        if line.error is not None:
            self.refuse(line, line.error)
            return
        self.hint(line)
        options = {**self.defaults.options, **line.options}
        todos = [self.todo(line, options, number) for number in range(self.defaults.samples)]
        if any(todo.kept is None for todo in todos):
            try:
                self.check(line, options)
            except UserError as error:
                self.refuse(line, str(error))
                return
        for todo in todos:
            self.waiting.append(todo)
            new = sum(todo.kept is None for todo in self.waiting)
            if new in (0, self.defaults.batch) or len(self.waiting) >= MOST_WAITING:
                self.flush()

    def todo(self, line: Line, options: dict[str, Any], number: int) -> Todo:
        """One of a line's samples; row i of all draws from (seed, i), unless the line says otherwise."""
        samples = self.defaults.samples
        key = {"index": line.index} | ({"sample": number} if samples > 1 else {})
        base = self.defaults.seed if line.seed is None else line.seed
        row = line.index * samples + number
        seed = (base[0], base[1] + number) if isinstance(base, list) else (base, row)
        settings = {**own_defaults(self.model.defaults, options), **options}
        settings |= {**({"gap": self.gap(line)} if line.source == "fill" else {}), **used(settings)}
        facts = [self.identity, line.source, line.prompt, sorted(settings.items()), list(seed), line.beside]
        text = json.dumps(facts, sort_keys=True).encode()
        settings_hash = hashlib.sha256(text).hexdigest()[:24]
        kept = self.out.find(line.index, number, settings_hash)
        return Todo(line, key, options, settings, settings_hash, seed, kept)

    def check(self, line: Line, options: dict[str, Any]) -> None:
        """Raises `UserError` for a line that `generate` would refuse: it must not take the others along."""
        columns, negative = in_columns([options])
        fill = [self.gap(line)] if line.source == "fill" else None
        how: dict[str, Any] = {"names": ["the prompt"], "trace": False}
        prepare(self.model, [line.prompt], columns, negative=negative, fill=fill, **how)

    def gap(self, line: Line) -> int:
        return line.gap or self.defaults.gap

    def flush(self) -> None:
        """Samples what waits and puts it out."""
        todos = [todo for todo in self.waiting if todo.kept is None]
        rows = iter(self.rows(todos))
        for todo in self.waiting:
            if todo.kept is not None:
                self.kept += 1
                self.out.put(todo.kept)
            elif (found := next(rows)) is not None:
                self.written += 1
                self.out.put(as_line(self.result(todo, found)))
        self.waiting = []

    def rows(self, todos: list[Todo]) -> list[Generation | None]:
        """Of a batch; where it fails, of each of its lines alone, None for those that fail again."""
        if not todos:
            return []
        columns, negative = in_columns([todo.options for todo in todos])
        fill = [self.gap(todo.line) if todo.line.source == "fill" else None for todo in todos]
        try:
            return list(
                generate(
                    self.model,
                    [todo.line.prompt for todo in todos],
                    seed=[todo.seed for todo in todos],
                    negative=negative,
                    fill=fill if any(fill) else None,
                    trace=False,
                    **columns,
                )
            )
        except UserError as error:
            if len(todos) > 1:
                return [row for todo in todos for row in self.rows([todo])]
            self.refuse(todos[0].line, str(error))
            return [None]

    def result(self, todo: Todo, found: Generation) -> dict[str, Any]:
        return {
            **todo.key,
            "settings_hash": todo.settings_hash,
            todo.line.source: todo.line.prompt,
            **todo.line.beside,
            "settings": {"model": self.defaults.model, **noted(self.model.dtype), **todo.settings},
            **found.to_dict(),
        }

    def refuse(self, line: Line, why: str) -> None:
        say(f"unmask: {self.name}, line {line.number}: {why}")
        self.bad.add(line.number)

    def hint(self, line: Line) -> None:
        """Says once that a key, which passes through, looks like an option."""
        for name in line.beside:
            close = difflib.get_close_matches(name, (*OPTIONS, "seed", "gap", "prompt"), n=1, cutoff=0.8)
            if close and name not in self.hinted:
                self.hinted.add(name)
                where = f"{self.name}, line {line.number}"
                say(f"unmask: {where}: key {name!r} passes through (did you mean '{close[0]}'?)")


def in_columns(rows: list[dict[str, Any]]) -> tuple[dict[str, Any], Any]:
    """Options as `generate` takes them, a list with an entry for each row; the negative prompts apart."""
    names = {name for row in rows for name in row if name in DEFAULTS}
    columns = {name: [row.get(name) for row in rows] for name in sorted(names)}
    negative = [row.get("negative") for row in rows]
    return columns, negative if any(entry is not None for entry in negative) else None


def identity(model: Model) -> list[Any]:
    """What beside its settings a result rests on."""
    weights = None if model.path is None else model.path / WEIGHTS
    return [
        __version__,
        model.config.to_dict(),
        None if model.tokenizer is None else model.tokenizer.hash,
        file_sha256(weights) if weights is not None and weights.is_file() else None,
        *noted(model.dtype).values(),
    ]
