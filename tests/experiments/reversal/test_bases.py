"""Models to start from are of one shape."""

from __future__ import annotations

from pathlib import Path

import pytest

from unmask.errors import UserError
from unmask.experiments.reversal.bases import refuse_unequal
from unmask.model.config import ModelConfig
from unmask.model.folder import save
from unmask.model.transformer import Transformer


def test_bases_of_unequal_shape_are_refused(tmp_path: Path) -> None:
    for name, layers, causal in (("mdm", 2, False), ("arm", 1, True), ("other", 2, True)):
        config = ModelConfig(layers, 1, 8, vocab_size=9, block_size=8, causal=causal)
        save(tmp_path / name, Transformer(config, seed=0))
    refuse_unequal({"mdm": str(tmp_path / "mdm"), "arm": str(tmp_path / "other")})
    with pytest.raises(UserError, match=r"differ in n_layer, n_head, n_embd: .*mdm has 2/1/8, .*arm has 1/1/8; give"):
        refuse_unequal({"mdm": str(tmp_path / "mdm"), "arm": str(tmp_path / "arm")})
