"""What a result says of the model it was measured on (weights, tokenizer, type), and how it is written.

    model_facts(model)["weights_sha256"]; write_result(Path("result.json"), result)
    with writing("result.json", protocol, result) as store: result["n"] = work(store)
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from unmask.evaluation.request_store import RequestStore
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


@contextmanager
def writing(out: str | Path | None, protocol: dict[str, Any], result: dict[str, Any]) -> Iterator[RequestStore]:
    """A store in OUT.partial.jsonl while the block fills the result; then OUT is written and the store goes.

    Without an `out` answers are in memory, and nothing is written.
    """
    partial = Path(f"{out}.partial.jsonl") if out else None
    with RequestStore(partial, protocol) as store:
        yield store
    if out and partial:
        write_result(Path(out), result)
        partial.unlink()
