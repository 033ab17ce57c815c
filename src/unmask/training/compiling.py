"""Compiling small networks whole, and where `torch.compile` keeps what it has made for the next process of a shape.

    keep_compiled()             # before the first compiled step
    compile_whole(network)      # one graph for the layers together, where `fits` says that it pays

What is made is kept in a folder of the user's cache (`files.cache_folder`), unless TORCHINDUCTOR_CACHE_DIR names
another. PyTorch's own default is a folder for temporary files, which a restart may clear.
"""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch

from unmask.errors import UserError
from unmask.files import cache_folder
from unmask.model.transformer import Transformer

VARIABLE = "TORCHINDUCTOR_CACHE_DIR"
# What a layer's own graph costs at each call is felt where layers are small; with more of them one graph takes long to
# compile (docs/performance.md).
WIDEST, DEEPEST = 96, 4


def keep_compiled() -> Path | None:
    """Names the folder to PyTorch; None where it cannot be written, and PyTorch's default stays."""
    if VARIABLE not in os.environ:
        try:
            folder = cache_folder() / "compiled"
            folder.mkdir(parents=True, exist_ok=True)
        except (OSError, UserError):
            return None
        os.environ[VARIABLE] = str(folder)
    return Path(os.environ[VARIABLE])


def fits(network: Transformer) -> bool:
    """Whether one graph for all layers pays, as measured on CPUs; shards are gathered layer by layer."""
    from torch.distributed.fsdp import FSDPModule

    if network.device.type != "cpu":
        return False
    small = network.config.n_embd <= WIDEST and network.config.n_layer <= DEEPEST
    return small and not network.recompute and not isinstance(network, FSDPModule)


def eagerly(compiled: bool) -> AbstractContextManager[Any]:
    """For batches of many shapes, each of which would be compiled; where nothing is, no compiler is imported."""
    return torch.compiler.set_stance("force_eager") if compiled else nullcontext()


def compile_whole(network: Transformer) -> None:
    """Compiles what runs before the head, for any number of scored positions; validation runs it as it is."""
    plain, compiled = network.hidden, torch.compile(network.hidden)

    def hidden(tokens_BT: torch.Tensor, **where: Any) -> torch.Tensor:
        if not torch.is_grad_enabled():
            return plain(tokens_BT, **where)
        for at_N in where.get("at") or ():
            torch._dynamo.maybe_mark_dynamic(at_N, 0)
        return compiled(tokens_BT, **where)

    vars(network)["hidden"] = hidden  # on the instance, over the method of the class
