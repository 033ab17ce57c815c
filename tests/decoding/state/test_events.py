"""Events: what a step did, in order; all of a row's are its text, and its trace."""

from __future__ import annotations

import torch

from unmask.decoding.loop import Loop
from unmask.decoding.prepare import prepare
from unmask.decoding.state.events import Events
from unmask.model.folder import Model


def events(*told: tuple[int, int, int, float, int]) -> Events:
    columns = [torch.tensor(column) for column in zip(*told, strict=True)]
    return Events(9, *columns)


def test_pieces_are_joined_in_order() -> None:
    first, second = events((0, 4, 2, 0.5, 0), (1, 3, 9, 0.0, 2)), events((0, 5, 1, 0.25, 1))
    both = Events.joined(9, [first, second])
    assert len(both) == 3 and both.open_N.tolist() == [False, True, False]
    assert [row for row, _ in both] == [0, 1, 0]
    assert both.of(0) == [
        {"step": 0, "position": 4, "token": 2, "probability": 0.5},
        {"step": 1, "position": 5, "token": 1, "probability": 0.25},
    ]
    none = Events.joined(9, [])
    assert len(none) == 0 and not none.of(0) and Events.joined(9, [first]) is first


def test_a_rows_events_rebuild_its_text(mdm: Model) -> None:
    """Also where tokens are taken back; a row that keeps no trace has events as well."""
    options = dict(length=12, order="ancestral", steps=24, revise="remdm-cap:0.4")
    rows = prepare(mdm, [[1, 2], [3]], options, seed=4, trace=False)
    loop = Loop.for_rows(mdm, rows)
    loop.join(rows)
    held, opened = {(0, p): 7 for p in range(2, 14)} | {(1, p): 7 for p in range(1, 13)}, 0
    while loop.running:
        found = loop.step().events
        opened += int(found.open_N.sum())
        for row, event in found:
            held[row, event["position"]] = event["token"]
        for (row, position), token in held.items():
            assert int(loop.canvas.tokens_BL[row, position]) == token
    assert opened and loop.canvas.trace == [None, None]
