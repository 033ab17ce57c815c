"""The result: its JSON, old and new, its times, and what is refused."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from unmask.decoding import Generation, generate
from unmask.errors import UserError
from unmask.model.folder import Model


@pytest.fixture
def found(mdm: Model) -> Generation:
    return generate(mdm, [[1, 2]], length=6, steps=3, order="confidence")[0]


def test_json_round_trip(found: Generation) -> None:
    again = Generation.from_dict(json.loads(json.dumps(found.to_dict())))
    assert again == found and again.seed == (0, 0)
    assert (again.seconds, again.seconds_to_first, again.computed) == (
        found.seconds,
        found.seconds_to_first,
        found.computed,
    )


def test_a_trace_is_columns_in_json_and_events_in_python(found: Generation) -> None:
    assert found.trace is not None
    columns = found.to_dict()["trace"]
    assert list(columns) == ["step", "position", "token", "probability"]
    assert [e["token"] for e in found.trace] == columns["token"] and len(columns["step"]) == 6
    assert len(json.dumps(columns)) < len(json.dumps(found.trace)) / 1.5


def test_a_result_without_a_trace(mdm: Model) -> None:
    (bare,) = generate(mdm, [[1, 2]], length=3, trace=False)
    assert bare.to_dict()["trace"] is None
    assert Generation.from_dict(bare.to_dict()) == bare


def test_the_first_schema_is_still_read(found: Generation) -> None:
    old = found.to_dict() | {"schema_version": 1, "trace": found.trace}
    for name in ("seconds", "seconds_to_first", "computed"):
        del old[name]
    again = Generation.from_dict(json.loads(json.dumps(old)))
    assert (again.tokens, again.trace, again.seed) == (found.tokens, found.trace, found.seed)
    assert again.seconds is None and again.seconds_to_first is None and again.computed == 0


def test_times_are_of_this_row_and_not_compared(mdm: Model) -> None:
    first, second = generate(mdm, [[1, 2], [3]], length=8, order="left-to-right")
    for g in (first, second):
        assert g.seconds is not None and g.seconds_to_first is not None
        assert 0 < g.seconds_to_first < g.seconds < 60
    (again, _) = generate(mdm, [[1, 2], [3]], length=8, order="left-to-right")
    assert again == first and again.seconds != first.seconds


def test_tokens_per_pass(mdm: Model) -> None:
    (g,) = generate(mdm, [[1, 2]], length=8, steps=2, order="confidence", quota="even")
    assert g.nfe == 2 and g.tokens_per_pass == 4
    (guided,) = generate(mdm, [[1, 2]], length=8, steps=2, order="confidence", quota="even", guidance=0.5)
    assert guided.nfe == 4 and guided.tokens_per_pass == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema_version": 99}, "schema_version is 99; this release reads 1 and 2"),
        ({"colour": 1}, "generation.colour is unknown"),
        ({"tokens": "abc"}, "generation.tokens is not a list of whole numbers"),
        ({"positions": [0.5] * 6}, "generation.positions is not a list of whole numbers"),
        ({"probabilities": [None] * 6}, "generation.probabilities is not a list of numbers"),
        ({"steps": [1]}, "differ in length"),
        ({"seed": [1, 2, 3]}, "generation.seed is"),
        ({"trace": {"step": [1]}}, "generation.trace is not the columns step, position"),
        ({"trace": [{"step": 1}]}, "generation.trace.position is not a list of whole numbers"),
        ({"trace": {"step": [1], "position": [], "token": [], "probability": []}}, "different lengths"),
    ],
)
def test_bad_fields_are_named(found: Generation, change: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        Generation.from_dict(found.to_dict() | change)
    assert "\n" not in str(caught.value)


def test_a_missing_field_is_named(found: Generation) -> None:
    fields = found.to_dict()
    del fields["nfe"]
    with pytest.raises(UserError, match="generation.nfe is missing"):
        Generation.from_dict(fields)


def test_infinite_times_never_reach_json(found: Generation) -> None:
    assert all(math.isfinite(x) for x in (found.seconds, found.seconds_to_first) if x is not None)
    json.dumps(found.to_dict(), allow_nan=False)
