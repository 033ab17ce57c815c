"""What a result says of the model it was measured on: which weights, which tokenizer, which type.

model_facts(model)["weights_sha256"]; write_result(Path("result.json"), result)
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from unmask.files import file_sha256, write_whole
from unmask.likelihood.scoring import config_hash
from unmask.model.folder import WEIGHTS, Model
from unmask.model.placement import noted

SCHEMA_VERSION = 1  # of the files that `unmask eval` writes
KIND = "unmask-eval"


def model_facts(model: Model) -> dict[str, Any]:
    """Kind, size and hashes of a model: of its weights' file, its tokenizer, and its shape with the tokenizer; and the
    type it computes in, where that is not fp32."""
    weights = None if model.path is None else model.path / WEIGHTS
    return {
        "kind": model.kind,
        "parameters": model.config.n_params,
        "context": model.config.block_size,
        "weights_sha256": file_sha256(weights) if weights is not None and weights.is_file() else None,
        "tokenizer_hash": model.tokenizer.hash if model.tokenizer else None,
        "config_hash": config_hash(model),
        **noted(model.dtype),
    }


def write_result(path: Path, result: dict[str, Any]) -> None:
    """A result as JSON, whole or not at all. Raises `UserError` where it cannot be written."""
    write_whole(path, json.dumps(result, indent=1, ensure_ascii=False) + "\n")
