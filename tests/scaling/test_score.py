"""The score of a run: of its last step alone, and by which protocol."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from unmask.errors import UserError
from unmask.model.checkpoints import write_list
from unmask.scaling.score import final_weights, known_entropy, protocol


def test_an_earlier_checkpoint_is_never_scored(tmp_path: Path) -> None:
    for step in (4, 8):
        checkpoint = tmp_path / "checkpoints" / f"step-{step:08d}"
        (checkpoint / "train_state").mkdir(parents=True)
        write_list(checkpoint, None)
    assert final_weights(tmp_path, 8) == tmp_path / "checkpoints" / "step-00000008"
    with pytest.raises(UserError, match="has no whole checkpoint of its last step, 12; train it again") as caught:
        final_weights(tmp_path, 12)
    assert "\n" not in str(caught.value)


def test_the_unigrams_entropy_is_counted_once(data: Path, tmp_path: Path) -> None:
    kept = tmp_path / "unigram.json"
    found = known_entropy(kept, str(data))
    assert 0 < found < np.log(300) and known_entropy(kept, "no such folder") == found


def test_losses_are_compared_by_their_tokens_and_their_draws() -> None:
    windows_NT = np.arange(12).reshape(2, 6)
    one = protocol(windows_NT, {"draws": 4, "seed": 1})
    assert (one["sequences"], one["tokens"], one["type"]) == (2, 12, "fp32")
    assert protocol(windows_NT.astype(np.uint16), {"draws": 4, "seed": 1}) == one  # whatever type holds the ids
    assert protocol(windows_NT + 1, {"draws": 4, "seed": 1}) != one
    assert protocol(windows_NT, {"draws": 8, "seed": 1}) != one
