"""The runs of a sweep as a table: a CSV of anyone's, our results file, or a folder of TensorBoard logs.

    runs = read_runs("c4_isoflop.csv")                        # Runs
    mdm = runs.of("mdm")
    runs = read_runs("quokka_logs", tag="validation/loss")    # folders or files called {FLOPs}_{sizeM}_{tokens}

Columns: objective, flops, params, loss; tokens may be missing where 6 N D gives them. Optional: seed, trunk (runs that
branch off one another), se (of the loss), plateau (D0: tokens at which the training loss first falls 0.5 nats below the
unigram), unique (tokens of the data, where they were repeated), best_loss and best_tokens (of such a run's best
checkpoint: its loss, and what it was trained on until then), protocol and validation (what the loss was measured by:
one for the whole table). Other columns are read over.
"""

from __future__ import annotations

import csv
import dataclasses
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from unmask.errors import UserError, nearest
from unmask.files import parse_json
from unmask.scaling.cost import follows_six_nd

NEEDED = ("objective", "flops", "params", "loss")
NUMBERS = ("flops", "params", "tokens", "loss", "se", "plateau", "unique", "best_loss", "best_tokens")
OPTIONAL = ("tokens", "seed", "trunk", "se", "plateau", "unique", "best_loss", "best_tokens", "protocol", "validation")
WORDS = ("where", "objective", "seed", "subset", "tried", "trunk")
OTHER_NAMES = {"unique_tokens": "unique", "d0": "plateau", "validation_sha256": "validation"}
RESULTS = "results.jsonl"  # in a sweep's folder
COLUMNS = f"the columns are {', '.join(NEEDED)}, and optionally {', '.join(OPTIONAL)}"


@dataclasses.dataclass(frozen=True)
class LeftOut:
    """A run that takes no part in the fit, and why."""

    where: str
    objective: str
    flops: float
    params: float
    tokens: float | None
    loss: float | None
    reason: str

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return dataclasses.asdict(self)


@dataclasses.dataclass(frozen=True)
class Runs:
    """One row a run; every field an array [R], numbers as float64 with nan for what is not said, words as objects."""

    where: np.ndarray
    objective: np.ndarray
    flops: np.ndarray
    params: np.ndarray
    tokens: np.ndarray
    loss: np.ndarray
    seed: np.ndarray
    subset: np.ndarray  # of the unique tokens, by number; "" for the first
    tried: np.ndarray  # what a sweep's run was trained by otherwise than all others: "dropout 0.1, weight_decay 1"
    trunk: np.ndarray
    se: np.ndarray
    plateau: np.ndarray
    unique: np.ndarray
    best_loss: np.ndarray
    best_tokens: np.ndarray
    sources: np.ndarray  # by source of the held-out text, {"loss", "tokens"}, as a sweep's rows have them
    apart: np.ndarray  # bool: a row on repeated data that a sweep set aside: shown beside the others, no law's

    @classmethod
    def of_rows(cls, rows: Sequence[Mapping[str, Any]]) -> Runs:
        """Numbers that a row does not have are nan, words empty."""
        names = [field.name for field in dataclasses.fields(cls)]
        nothing = dict.fromkeys(WORDS, "") | {"apart": False, "sources": None}
        columns = {name: [row.get(name, nothing.get(name, math.nan)) for row in rows] for name in names}
        types = dict.fromkeys(NUMBERS, float) | {"apart": bool}
        return cls(**{n: np.array(v, dtype=types.get(n, object)) for n, v in columns.items()})

    def __len__(self) -> int:
        return len(self.loss)

    def take(self, which: np.ndarray) -> Runs:
        """The rows of a mask or of indices."""
        return Runs(**{field.name: getattr(self, field.name)[which] for field in dataclasses.fields(self)})

    def of(self, objective: str) -> Runs:
        return self.take(self.objective == objective)

    @property
    def names(self) -> list[str]:
        """The objectives, in the order in which they first come."""
        return list(dict.fromkeys(self.objective))

    @property
    def repeats(self) -> np.ndarray:
        """Whether a run saw its tokens more than once, as far as `unique` says, [R]."""
        return np.nan_to_num(self.unique, nan=np.inf) < self.tokens * 0.999

    @property
    def flops_rule(self) -> str:
        """`6nd` where FLOPs are 6 N D in every row, else `exact`: whatever the rows carry."""
        return "6nd" if follows_six_nd(self.flops, self.params, self.tokens) else "exact"

    def left_out(self, which: np.ndarray, reason: str | Callable[[int], str]) -> list[LeftOut]:
        """The rows of a mask, as what takes no part."""
        rows = []
        for i in np.flatnonzero(which):
            tokens, loss = (float(v) if math.isfinite(v) else None for v in (self.tokens[i], self.loss[i]))
            why = reason if isinstance(reason, str) else reason(int(i))
            place = (str(self.where[i]), str(self.objective[i]), float(self.flops[i]), float(self.params[i]))
            rows.append(LeftOut(*place, tokens, loss, why))
        return rows


def read_runs(path: str | Path, tag: str | None = None) -> tuple[Runs, list[LeftOut]]:
    """(runs, those that diverged). Raises `UserError` naming the file, the line and the column that is wrong."""
    path = Path(path)
    if path.is_dir() and not (path / RESULTS).is_file():
        from unmask.scaling.event_logs import read_logs

        return runs_of(read_logs(path, tag), str(path))
    if tag is not None:
        raise UserError(f"--tag is of a folder of TensorBoard logs, and {path} is none; leave it out")
    if path.is_dir():
        path = path / RESULTS
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}; give a CSV, a sweep or a folder of logs") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text; give a CSV with a header; {COLUMNS}") from error
    records = _json_lines(text, path) if text.lstrip().startswith("{") else _csv(text, path)
    return runs_of(records, str(path))


def _csv(text: str, path: Path) -> list[tuple[str, dict[str, Any]]]:
    reader = csv.reader(text.splitlines())
    header = [OTHER_NAMES.get(name.strip().lower(), name.strip().lower()) for name in next(reader, [])]
    for name in NEEDED:
        if name not in header:
            near = nearest(name, header) if header else ""
            raise UserError(f"{path}: there is no column '{name}'{near}; {COLUMNS}")
    if twice := [name for name in header if name in (*NEEDED, *OPTIONAL) and header.count(name) > 1]:
        raise UserError(f"{path}: column '{twice[0]}' stands there twice; leave out one")
    records: list[tuple[str, dict[str, Any]]] = []
    for cells in reader:
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) != len(header):
            raise UserError(f"{path}:{reader.line_num}: {len(cells)} cells under {len(header)} columns; mend the line")
        row: dict[str, Any] = {name: cell.strip() for name, cell in zip(header, cells, strict=True)}
        records.append((f"line {reader.line_num}", row))
    return records


def _json_lines(text: str, path: Path) -> list[tuple[str, dict[str, Any]]]:
    """Rows of a sweep's results; those of runs that are not finished, or that failed, are read over, and so are those
    set aside, but for what repeats its data."""
    records = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = parse_json(line)
        except ValueError as error:
            raise UserError(f"{path}:{number}: no JSON object; mend or remove the line") from error
        if not isinstance(row, dict):
            raise UserError(f"{path}:{number}: no JSON object; mend or remove the line")
        apart = row.get("state") == "aside" and bool(row.get("unique_tokens"))
        if row.get("state", "finished") != "finished" and not apart:
            continue
        row["apart"] = apart
        fields = {str(OTHER_NAMES.get(name, name)): value for name, value in row.items()}
        records.append((f"line {number}", fields))
    return records


def runs_of(records: Iterable[tuple[str, dict[str, Any]]], name: str) -> tuple[Runs, list[LeftOut]]:
    """Checked. Raises `UserError` as `read_runs` does."""
    records = list(records)
    usual = _usual(row.get("recipe") for _, row in records)
    rows = [_row(row, f"{name}: {where}", usual) | {"where": where} for where, row in records]
    if not rows:
        raise UserError(f"{name} holds no runs; {COLUMNS}")
    for field in ("protocol", "validation"):
        values = list(dict.fromkeys(str(row[field]) for row in rows if row[field] not in (None, "")))
        if len(values) > 1:
            places = [next(r["where"] for r in rows if str(r[field]) == value) for value in values[:2]]
            raise UserError(
                f"{name}: losses of more than one {field} ('{values[0]}' in {places[0]}, '{values[1]}' in {places[1]}) "
                "cannot be compared; keep the rows of one"
            )
    runs = Runs.of_rows(rows)
    diverged = ~np.isfinite(runs.loss)
    runs, gone = runs.take(~diverged), runs.left_out(diverged, "diverged: its loss is no finite number")
    if not len(runs):
        raise UserError(f"{name}: every run diverged; there is nothing to fit")
    _check_tokens(runs, name, {str(row["where"]) for row in rows if row["counted"]})
    _check_repeats(runs, name)
    return runs, gone


def _row(row: dict[str, Any], where: str, usual: dict[str, Any]) -> dict[str, Any]:
    """One row with its numbers read; tokens from 6 N D where there are none. usual: `_usual` of all rows."""
    fields: dict[str, Any] = {field: _word(row.get(field)) for field in ("objective", "seed", "trunk", *OPTIONAL[-2:])}
    subset = _word(row.get("subset"))
    fields["subset"] = "" if subset == "0" else subset
    fields["tried"] = _tried(row.get("recipe"), usual)
    if not fields["objective"]:
        raise UserError(f"{where}: objective is empty; name one, such as arm or mdm")
    for field in NUMBERS:
        fields[field] = _number(row.get(field), field, where)
    for field in ("flops", "params"):
        if not (0 < fields[field] < math.inf):
            raise UserError(f"{where}: {field} is {row.get(field)}; give a number above 0")
    if fields["loss"] <= 0:
        raise UserError(f"{where}: loss is {row.get('loss')}; give nats a token, above 0, or remove the row")
    if row.get("loss") in (None, ""):
        raise UserError(f"{where}: loss is empty; give nats a token, or nan for a run that diverged")
    fields["sources"] = row.get("sources")
    fields["apart"] = row.get("apart") is True
    fields["counted"] = math.isnan(fields["tokens"])
    if fields["counted"]:
        fields["tokens"] = fields["flops"] / 6 / fields["params"]
    for field in ("tokens", "plateau", "unique", "se", "best_loss", "best_tokens"):
        zero = field not in ("plateau", "se") and fields[field] == 0
        if fields[field] < 0 or zero or math.isinf(fields[field]):
            raise UserError(f"{where}: {field} is {row.get(field)}; give a number above 0, or leave it empty")
    return fields


def _usual(recipes: Iterable[Any]) -> dict[str, Any]:
    """What the recipes of all of a sweep's rows say alike."""
    told = [recipe for recipe in recipes if isinstance(recipe, dict)]
    return {k: v for k, v in told[0].items() if all(k in keys and keys[k] == v for keys in told)} if told else {}


def _tried(recipe: Any, usual: dict[str, Any]) -> str:
    """What a sweep's row says of its recipe that not all do, beside the objective: ``dropout 0.1, weight_decay 1``."""
    keys = recipe if isinstance(recipe, dict) else {}
    own = {k: v for k, v in keys.items() if k not in usual and not k.startswith("objective.")}
    return ", ".join(f"{k.rpartition('.')[2]} {v}" for k, v in sorted(own.items()))


def together(*parts: Runs) -> Runs:
    """The rows of several tables."""
    fields = [field.name for field in dataclasses.fields(Runs)]
    return Runs(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in fields})


def _word(value: Any) -> str:
    if isinstance(value, dict | list):
        return json.dumps(value, sort_keys=True)
    return "" if value is None else str(value).strip()


def _number(value: Any, field: str, where: str) -> float:
    if value is None or value == "":
        return math.nan
    try:
        return float(value)
    except (TypeError, ValueError) as error:
        raise UserError(f"{where}: {field} is '{value}'; give a number") from error


def _check_tokens(runs: Runs, name: str, counted: set[str]) -> None:
    """Where some rows give tokens of another rule, those that give none cannot be told by 6 N D."""
    by_rule = np.array([where in counted for where in runs.where])
    given = runs.take(~by_rule)
    if by_rule.any() and len(given) and not follows_six_nd(given.flops, given.params, given.tokens):
        row = str(runs.where[np.flatnonzero(by_rule)[0]])
        raise UserError(f"{name}: {row}: no tokens, and other rows' FLOPs are not 6 N D; give its tokens")


def _check_repeats(runs: Runs, name: str) -> None:
    """Rows that stand there twice: the same run of the same seed, or without seeds the same loss as well."""
    seen: dict[tuple[Any, ...], str] = {}
    for i in range(len(runs)):
        key = (runs.objective[i], runs.flops[i], runs.params[i], runs.tokens[i], runs.seed[i], runs.trunk[i])
        key += (runs.subset[i], runs.tried[i], str(runs.unique[i])) + (() if runs.seed[i] else (runs.loss[i],))
        if key in seen:
            what = f"{runs.objective[i]}, {runs.flops[i]:.4g} FLOPs, {runs.params[i]:.4g} parameters"
            mend = "remove one, or give the rows their own seed"
            raise UserError(f"{name}: {runs.where[i]} is the same run as {seen[key]} ({what}); {mend}")
        seen[key] = str(runs.where[i])
