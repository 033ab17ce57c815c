"""Checkpoints: a model folder with the training state beside it, written whole or not at all.

    writer = Writer(run, ranks, keep=2)
    writer.save(state, tokenizer)                # runs/x/checkpoints/step-00001000/; may go on in the background
    writer.finish()
    restore(state, run, ranks, say)              # the newest whole one; False where there is none

``train_state/`` holds what only `--resume` needs: counters as JSON, the optimizer's tensors (and the raw weights, where
the model folder's are averaged or merged) as safetensors, or by `torch.distributed.checkpoint` where they are sharded,
each rank its own part. Either kind resumes on any number of ranks, sharded or not. Data order and noise need no state:
both are functions of (seed, sample index).
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.distributed.checkpoint as dcp
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch.distributed.tensor import DTensor, distribute_tensor

from unmask.errors import UserError
from unmask.files import replace_folder, sync_folder, write_tensors
from unmask.model.folder import WEIGHTS, write_files
from unmask.model.tokenizers import Tokenizer
from unmask.model.transformer import Transformer
from unmask.training.distribution import Ranks
from unmask.training.metrics import LEVEL_BUCKETS
from unmask.training.shards import MOMENTS, load_shards, reason_of, refuse_incomplete, shard_names, state_names

T = TypeVar("T")
FOLDER = "train_state"
STATE, TENSORS, SHARDS = f"{FOLDER}/state.json", f"{FOLDER}/optimizer.safetensors", f"{FOLDER}/shards"
ADAPTER = "adapter.safetensors"  # adapters alone, beside the merged weights
FILES = f"{FOLDER}/files.json"  # name and size of all the others


@dataclass
class Progress:
    """Where a run is. All of it a function of the steps done, but for what was skipped and the clock."""

    step: int = 0
    tokens: int = 0
    flops: float = 0.0
    seconds: float = 0.0
    skipped: int = 0
    skipped_in_a_row: int = 0
    # What the next line of metrics.jsonl has gathered so far, so that a resumed run writes the same line.
    window_loss: float = 0.0
    window_tokens: int = 0
    level_total: list[float] = field(default_factory=lambda: [0.0] * LEVEL_BUCKETS)
    level_count: list[int] = field(default_factory=lambda: [0] * LEVEL_BUCKETS)


@dataclass
class TrainState:
    """All that a step changes."""

    network: Transformer
    optimizer: torch.optim.Optimizer
    progress: Progress = field(default_factory=Progress)
    average: dict[str, torch.Tensor] | None = None  # averaged weights
    # Makes the weights of the model folder where they are not the network's own (merged adapters).
    merge: Callable[[Transformer], dict[str, torch.Tensor]] | None = None
    adapter: dict[str, str] | None = None  # metadata of the adapters' own file

    @property
    def has_raw(self) -> bool:
        """Whether the weights of the model folder are others than those that are trained."""
        return self.average is not None or self.merge is not None

    def tensors(self) -> dict[str, torch.Tensor]:
        """The optimizer's moments by parameter name; the raw weights too where the model folder's are others.

        Raises `UserError` where some are absent: what is saved without them cannot be resumed.
        """
        found: dict[str, torch.Tensor] = {}
        if not self.optimizer.state and self.progress.step == self.progress.skipped:  # no update yet
            found = {name: t for name, t in self.empty_tensors().items() if not name.startswith("raw/")}
        for name, parameter in self.network.named_parameters():
            for key, value in self.optimizer.state.get(parameter, {}).items():
                found[f"{key}/{name}"] = value
        if self.has_raw:
            trained = {name for name, parameter in self.network.named_parameters() if parameter.requires_grad}
            found |= {f"raw/{name}": t for name, t in self.network.state_dict().items() if name in trained}
        refuse_incomplete(
            found,
            state_names(self.network, self.has_raw),
            lambda what: f"the checkpoint of step {self.progress.step} is not written, since there is not {what}; "
            "go on with --resume from the one before",
        )
        return found

    def weights(self) -> dict[str, torch.Tensor]:
        """What the model folder holds."""
        if self.average is not None:
            return self.average
        return self.network.state_dict() if self.merge is None else self.merge(self.network)

    def empty_tensors(self) -> dict[str, torch.Tensor]:
        """Tensors of the names, shapes and placement that `tensors` has after a step, for a loader to fill."""
        found = {}
        for name, parameter in self.network.named_parameters():
            if parameter.requires_grad:
                value = parameter.detach()
                found[f"step/{name}"] = torch.zeros((), device=value.device)
                found |= {f"{key}/{name}": torch.zeros_like(value) for key in MOMENTS if key != "step"}
                if self.has_raw:
                    found[f"raw/{name}"] = torch.zeros_like(value)
        return found

    def take(self, progress: Progress, weights: dict[str, torch.Tensor], tensors: dict[str, torch.Tensor]) -> None:
        """Takes up a checkpoint's state; full tensors are sharded as the network is."""
        self.progress = progress
        raw = {name.removeprefix("raw/"): t for name, t in tensors.items() if name.startswith("raw/")}
        own = self.network.state_dict()
        if self.average is not None:
            self.average = {name: placed(weights[name], own[name]) for name in own}
        source = raw or weights
        missing = own.keys() - source.keys()
        if missing and not raw:
            raise UserError(f"the checkpoint lacks the tensor {sorted(missing)[0]}; is it another model's?")
        self.network.load_state_dict({name: placed(source[name], own[name]) for name in source}, strict=False)
        for name, parameter in self.network.named_parameters():
            moments = {key.removesuffix(f"/{name}"): t for key, t in tensors.items() if key.endswith(f"/{name}")}
            moments.pop("raw", None)
            if moments:
                self.optimizer.state[parameter] = {
                    key: t.to(parameter.device) if key == "step" else placed(t, parameter.detach())
                    for key, t in moments.items()
                }


def placed(tensor: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """`tensor` where `like` is: its device and, where that is sharded, its shards."""
    if isinstance(like, DTensor) and not isinstance(tensor, DTensor):
        # Every rank has read the same file: each takes its part and none is sent.
        return distribute_tensor(tensor.to(like.device), like.device_mesh, like.placements, src_data_rank=None)
    return tensor.to(like.device)


def whole(tensor: torch.Tensor, copy: bool = False) -> torch.Tensor:
    """All of a tensor on the CPU; of a sharded one on every rank (a collective).

    copy: in memory of its own. Otherwise what is on the CPU already, alone or as the only shard, is returned as it is.
    """
    full, own = (tensor.full_tensor(), tensor.to_local()) if isinstance(tensor, DTensor) else (tensor, tensor)
    full = full.detach().cpu().contiguous()
    shares = full.untyped_storage().data_ptr() == own.untyped_storage().data_ptr()
    return full.clone() if copy and shares else full


class Writer:
    """Writes the checkpoints of a run, at most one at a time."""

    def __init__(self, run: Path, ranks: Ranks, keep: int, background: bool = False) -> None:
        """`background`: `save` returns once the state is copied; the files follow while training goes on."""
        self._run, self._ranks, self._keep, self._background = run, ranks, keep, background
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._pending: Future[None] | None = None

    def save(self, state: TrainState, tokenizer: Tokenizer | None) -> None:
        """Writes the checkpoint of this step, then removes all but the newest `keep`. Every rank calls it."""
        self.finish()
        tensors = {name: t.detach() for name, t in self._ranks.together(state.tensors).items()}
        folder = self._run / "checkpoints" / f"step-{state.progress.step:08d}"
        partial = folder.with_name(f".{folder.name}.partial")
        self._ranks.together(lambda: self._guard(folder, lambda: _clear(partial)) if self._ranks.first else None)
        sharded = any(isinstance(t, DTensor) for t in tensors.values())
        weights = {}
        for name, tensor in state.weights().items() if sharded or self._ranks.first else ():
            full = whole(tensor, copy=self._background)  # what must not change under the writer
            if self._ranks.first:  # the others only take part in the gathering
                weights[name] = full
        adapter = {}
        for name, tensor in tensors.items() if state.merge is not None and (sharded or self._ranks.first) else ():
            if name.startswith("raw/"):
                adapter[name.removeprefix("raw/")] = whole(tensor, copy=True)
        shards: Any = None
        if sharded:
            shards = dcp.async_save(tensors, checkpoint_id=partial / SHARDS, process_group=self._ranks.checkpoint_group)
        if not self._ranks.first:
            self._pending = self._thread.submit(self._guard, folder, lambda: _wait(shards))
        else:
            moments = {} if sharded else {name: whole(t, copy=self._background) for name, t in tensors.items()}
            progress, config = asdict(state.progress), state.network.config

            def write() -> None:
                _wait(shards)
                if not sharded:
                    write_tensors(partial / TENSORS, moments)
                (partial / STATE).write_text(json.dumps(progress) + "\n", encoding="utf-8")
                if adapter:
                    write_tensors(partial / ADAPTER, adapter, state.adapter)
                write_files(partial, config, weights, tokenizer, step=progress["step"])
                sizes = {str(p.relative_to(partial)): p.stat().st_size for p in partial.rglob("*") if p.is_file()}
                (partial / FILES).write_text(json.dumps(sizes) + "\n", encoding="utf-8")
                sync_folder(partial)
                replace_folder(partial, folder)
                handle = os.open(folder.parent, os.O_RDONLY)
                os.fsync(handle)
                os.close(handle)
                for old in checkpoints(self._run)[: -self._keep]:
                    shutil.rmtree(old, ignore_errors=True)

            self._pending = self._thread.submit(self._guard, folder, write)
        if not self._background:
            self.finish()

    def finish(self) -> None:
        """Waits for the checkpoint under way. Raises `UserError` on every rank where it could not be written."""
        pending, self._pending = self._pending, None
        self._ranks.together(lambda: None if pending is None else pending.result())

    def _guard(self, folder: Path, work: Callable[[], None]) -> None:
        try:
            work()
        except (OSError, SafetensorError, dcp.CheckpointException) as error:
            shutil.rmtree(folder.with_name(f".{folder.name}.partial"), ignore_errors=True)
            reason = reason_of(error)
            raise UserError(f"{folder} cannot be written: {reason}; free space, then go on with --resume") from error


def _clear(partial: Path) -> None:
    shutil.rmtree(partial, ignore_errors=True)
    (partial / FOLDER).mkdir(parents=True)


def _wait(future: Any) -> None:
    if future is not None:
        future.result()


def restore(state: TrainState, run: Path, ranks: Ranks, say: Callable[[str], None]) -> bool:
    """Takes up the newest checkpoint that is whole, saying which were not. False where there is none at all.

    Raises `UserError` where there are some and none is whole.
    """

    def choose() -> tuple[Path | None, list[str]]:
        found = checkpoints(run)
        damaged: list[str] = []
        for folder in reversed(found):
            if (flaw := damage(folder)) is None:
                return folder, damaged
            damaged.append(f"checkpoint {folder} is cut short ({flaw})")
        if found:
            raise UserError(f"{damaged[0]}, and no other is whole; delete {run / 'checkpoints'} to start again")
        return None, damaged

    # All ranks must take the same one, whatever a shared disk shows to each.
    folder, damaged = ranks.same(ranks.together(choose))
    if folder is None:
        return False
    for line in damaged:
        say(f"{line}; going back to {folder.name}")
    progress, weights, tensors = ranks.together(lambda: _reading(folder, lambda: _read(state, folder)))
    if (folder / SHARDS).is_dir():  # apart: a rank that could not read the rest must not leave the others waiting
        ranks.together(lambda: _reading(folder, lambda: load_shards(tensors, folder / SHARDS, ranks)))
    ranks.together(lambda: state.take(progress, weights, tensors))
    return True


def _read(state: TrainState, folder: Path) -> tuple[Progress, dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Counters, weights and the training state's tensors; sharded ones are yet to be filled."""
    progress = Progress(**json.loads((folder / STATE).read_text(encoding="utf-8")))
    if (folder / SHARDS).is_dir():
        tensors, there = state.empty_tensors(), shard_names(folder / SHARDS)
    else:
        tensors = load_file(folder / TENSORS)
        there = list(tensors)
    untouched = progress.step == progress.skipped  # what was written before the first update may hold no moments
    refuse_incomplete(
        there,
        [name for name in state_names(state.network, state.has_raw) if not untouched or name.startswith("raw/")],
        lambda what: f"checkpoint {folder} cannot be resumed: it lacks {what}; move it elsewhere to go on from the one "
        f"before, or begin a new run from its weights with --init {folder}",
    )
    if (folder / SHARDS).is_dir():
        tensors = {name: tensor for name, tensor in tensors.items() if name in set(there)}
    return progress, load_file(folder / WEIGHTS), tensors


def _reading(folder: Path, work: Callable[[], T]) -> T:
    try:
        return work()
    except (OSError, ValueError, TypeError, SafetensorError, dcp.CheckpointException) as error:
        reason = reason_of(error)
        mend = "move it elsewhere to go on from the one before"
        raise UserError(f"checkpoint {folder} cannot be read ({reason}); {mend}") from error


def damage(folder: Path) -> str | None:
    """What is missing of a checkpoint, by the sizes written with it; None where it is whole."""
    try:
        sizes = json.loads((folder / FILES).read_text(encoding="utf-8"))
        for name, size in sizes.items():
            there = (folder / name).stat().st_size
            if there != size:
                return f"{name} has {there:,} of {size:,} bytes"
    except FileNotFoundError as error:
        return f"{Path(error.filename).relative_to(folder)} is missing"
    except (OSError, ValueError, AttributeError):
        return f"{FILES} cannot be read"
    return None


def checkpoints(run: Path) -> list[Path]:
    """Checkpoints, oldest first. They appear under their name when whole; a disk may have lost some of it since."""
    return sorted((run / "checkpoints").glob("step-*"))


def newest_checkpoint(run: Path) -> Path | None:
    """The newest whole one."""
    return next((folder for folder in reversed(checkpoints(run)) if damage(folder) is None), None)
