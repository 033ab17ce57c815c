"""Fine-tuning as keys of a recipe: what each may be."""

from __future__ import annotations

import pytest

from unmask.data.sft_fields import SFTFields
from unmask.errors import UserError


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({"format": "pair"}, r"sft.format is 'pair' \(did you mean 'pairs'\?\); give one of auto, pairs"),
        ({"prompt_dropout": 1.0}, "sft.prompt_dropout is 1.0; give at least 0 and below 1"),
        ({"bucket_batches": -1}, "sft.bucket_batches is -1; give at least 0"),
        ({"validation_share": 0.0}, "hold something out"),
        ({"packing": True}, "set sft.padding: ignore"),
        ({"template": "chat"}, "sft.template is 'chat'"),
    ],
)
def test_bad_values_are_named(fields: dict[str, object], line: str) -> None:
    with pytest.raises(UserError, match=line):
        SFTFields(**fields)  # type: ignore[arg-type]
