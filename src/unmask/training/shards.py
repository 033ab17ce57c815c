"""The training state's tensors: which there must be, and those of sharded networks, read rank by rank.

    names = state_names(network, raw=False)               # "exp_avg/layers.0.mlp.down.weight", ...
    refuse_incomplete(there, names, lambda what: f"{folder} lacks {what}")
    load_shards(tensors, folder, ranks)                   # fills them, on any number of ranks
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from pathlib import Path

import torch

from unmask.errors import UserError
from unmask.model.transformer import Transformer
from unmask.training.distribution import Ranks

MOMENTS = ("step", "exp_avg", "exp_avg_sq")  # AdamW's, of each parameter


def state_names(network: Transformer, raw: bool) -> list[str]:
    """The tensors of a training state: the moments of each trained parameter, and its weight where `raw`."""
    kinds = (*MOMENTS, "raw") if raw else MOMENTS
    trained = [name for name, parameter in network.named_parameters() if parameter.requires_grad]
    return [f"{kind}/{name}" for name in trained for kind in kinds]


def refuse_incomplete(there: Iterable[str], wanted: Iterable[str], line: Callable[[str], str]) -> None:
    """Raises `UserError` with `line` of what is wanted and not there."""
    wanted, there = list(wanted), set(there)
    absent = [name for name in wanted if name not in there]
    if absent:
        kind, _, parameter = absent[0].partition("/")
        what = f"the {'weight' if kind == 'raw' else f'optimizer state {kind!r}'} of {parameter}"
        raise UserError(line(f"{what} ({len(absent)} of {len(wanted)} tensors are absent)"))


def shard_names(folder: Path) -> list[str]:
    """The tensors in a folder of shards. Raises OSError, or ValueError where their list is damaged."""
    import torch.distributed.checkpoint as dcp

    try:
        return list(dcp.FileSystemReader(folder).read_metadata().state_dict_metadata)
    except OSError:
        raise
    except Exception as error:  # a pickle can fail in any way
        raise ValueError(f"{folder.name}/.metadata is damaged: {reason_of(error)}") from error


def load_shards(tensors: dict[str, torch.Tensor], folder: Path, ranks: Ranks) -> None:
    """Fills tensors of any placement; every rank calls it. Raises OSError on all ranks alike."""
    import torch.distributed.checkpoint as dcp

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "torch.distributed is disabled", UserWarning)  # as it is in one process
        try:
            dcp.load(tensors, checkpoint_id=folder, no_dist=not ranks.joined)
        except dcp.CheckpointException as error:
            raise OSError(reason_of(error)) from error


def reason_of(error: BaseException) -> str:
    """Why files could not be read or written, in one line; of a failure on several ranks, why on the first of them."""
    if failures := getattr(error, "failures", None):  # of a `CheckpointException`: by rank
        return reason_of(failures[min(failures)][0])
    text = getattr(error, "strerror", None) or str(error).strip()
    return str(text).splitlines()[0].rstrip(". ") if text else type(error).__name__
