"""What a row has on the stage where it was prepared it has on the one that it joins."""

from __future__ import annotations

from decoding.constrained import BPE
from unmask.decoding.limits.stage import Stage
from unmask.decoding.prepare import prepare


def test_a_row_takes_what_it_has_along(bpe_mdm) -> None:
    options = dict(length=8, stop=["zz"], banned=[5], forced={0: " the"}, eos="truncate", pattern=" the.*")
    (row,) = prepare(bpe_mdm, ["We are"], options, seed=[(7, 3)])
    stage = Stage.of(bpe_mdm.config, bpe_mdm.eos_ids, 3, 40)
    assert not stage.limits.any and not stage.endings.any
    stage.table.join(2)
    rows_R = stage.table.join(1)
    stage.put(rows_R, [(row.stage, row.slot)])
    mine, its, width = stage.canvas, row.stage.canvas, row.positions
    assert mine.tokens_BL[2, :width].tolist() == its.tokens_BL[0].tolist()
    assert (mine.tokens_BL[2, width:] == mine.mask_id).all() and not mine.open_BL[2, width:].any()
    assert mine.forced_BL[2].nonzero().flatten().tolist() == [its.starts_B[0]]
    assert BPE.token_text(int(mine.tokens_BL[2, its.starts_B[0]])) == " the"
    assert (mine.seeds[2], int(mine.lengths_B[2]), float(mine.started_B[2]) > 0) == ((7, 3), width, True)
    assert stage.limits.any and stage.endings.any
    assert stage.endings.stops[2] is row.stage.endings.stops[0] and bool(stage.endings.truncate_B[2])
    assert len(stage.limits.spans[2]) == 1 and stage.limits.spans[2] is not row.stage.limits.spans[0]
    stage.table.leave(rows_R)
    stage.refresh()
    assert not stage.limits.any and not stage.endings.any


def test_rows_that_were_prepared_together_join_apart(bpe_mdm) -> None:
    short, long = prepare(bpe_mdm, ["We are", "We are the people of"], dict(length=[2, 30], banned=[[5], [6]]))
    assert short.stage is long.stage and short.positions < long.positions
    stage = Stage.of(bpe_mdm.config, bpe_mdm.eos_ids, 3, short.positions)  # too narrow for the other
    rows_R = stage.table.join(2)[1:]
    stage.put(rows_R, [(short.stage, short.slot)])
    assert stage.canvas.tokens_BL[1].tolist() == short.stage.canvas.tokens_BL[short.slot, : short.positions].tolist()
    assert int(stage.canvas.open_BL[1].sum()) == 2 and bool(stage.limits.banned[1][5])
