"""What a number must carry to be had again: which weights, which tokenizer, which versions, where.

model_facts(model)["weights_sha256"], versions()["torch"]; write_result(Path("result.json"), result)
"""

from __future__ import annotations

import importlib.metadata
import json
import platform
from pathlib import Path
from typing import Any

from unmask._version import __version__
from unmask.files import file_sha256, write_whole
from unmask.likelihood.scoring import config_hash
from unmask.model.folder import WEIGHTS, Model
from unmask.model.placement import noted

PACKAGES = ("torch", "numpy", "tokenizers", "safetensors", "transformers", "lm_eval", "datasets")

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


def versions() -> dict[str, str]:
    """Of unmask, Python and the packages that numbers depend on, as far as they are installed."""
    found = {"unmask": __version__, "python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def write_result(path: Path, result: dict[str, Any]) -> None:
    """A result as JSON, whole or not at all. Raises `UserError` where it cannot be written."""
    write_whole(path, json.dumps(result, indent=1, ensure_ascii=False) + "\n")
