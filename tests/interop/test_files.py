"""Small files beside published weights."""

from __future__ import annotations

from pathlib import Path

import pytest

from unmask.errors import UserError
from unmask.interop.llama import import_llama


@pytest.mark.parametrize(
    ("text", "message"),
    [('{"model_type": "llama", "model_type": "llama"}', "model_type is given twice"), ("[" * 99999, "it nests too")],
)
def test_a_config_that_cannot_be_relied_on_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(UserError, match=f"config.json.*{message}") as caught:
        import_llama(tmp_path, tmp_path / "out")
    assert "\n" not in str(caught.value)
