"""Checkpoints: a model folder with the training state beside it, written whole or not at all.

    writer = Writer(run, ranks, keep=2)
    writer.save(state, tokenizer)                # runs/x/checkpoints/step-00001000/; may go on in the background
    writer.finish()
    restore(state, run, ranks, say)              # the newest whole one; None where there is none

``train_state/`` holds what only `--resume` needs: counters as JSON, the optimizer's tensors (and the raw weights, where
the model folder's are averaged or merged) as safetensors, or by `torch.distributed.checkpoint` where they are sharded,
each rank its own part. Either kind resumes on any number of ranks, sharded or not. Data order and noise need no state:
both are functions of (seed, sample index). `files.json` there has the sums of all files (`unmask.model.checkpoints`);
which checkpoint is taken up and which are kept is `checkpoint_files.py`.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Collection
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from unmask.errors import UserError
from unmask.files import reading, replace_folder, sync, sync_folder, write_tensors
from unmask.model.checkpoints import Sum, checkpoints, newest_checkpoint, read_list, write_list
from unmask.model.config import ModelConfig
from unmask.model.folder import CONFIG, WEIGHTS, read_config, write_files
from unmask.model.sharded import is_sharded, sharded_like
from unmask.model.tokenizers import Tokenizer
from unmask.model.transformer import Transformer
from unmask.training.checkpoint_files import STATE, choose, prune, set_aside
from unmask.training.distribution import Ranks
from unmask.training.metrics import LEVEL_BUCKETS
from unmask.training.recipe import differences
from unmask.training.shards import MOMENTS, load_shards, reason_of, refuse_incomplete, shard_names, state_names

__all__ = ["Progress", "TrainState", "Writer", "checkpoints", "newest_checkpoint", "restore"]

T = TypeVar("T")
FOLDER = "train_state"
TENSORS, SHARDS = f"{FOLDER}/optimizer.safetensors", f"{FOLDER}/shards"
ADAPTER = "adapter.safetensors"  # adapters alone, beside the merged weights


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
        tensors: dict[str, torch.Tensor] = {}
        if not self.optimizer.state and self.progress.step == self.progress.skipped:  # no update yet
            tensors = {name: t for name, t in self.empty_tensors().items() if not name.startswith("raw/")}
        for name, parameter in self.network.named_parameters():
            for key, value in self.optimizer.state.get(parameter, {}).items():
                tensors[f"{key}/{name}"] = value
        if self.has_raw:
            trained = {name for name, parameter in self.network.named_parameters() if parameter.requires_grad}
            tensors |= {f"raw/{name}": t for name, t in self.network.state_dict().items() if name in trained}
        refuse_incomplete(
            tensors,
            state_names(self.network, self.has_raw),
            lambda what: f"the checkpoint of step {self.progress.step} is not written, since there is not {what}; "
            "go on with --resume from the one before",
        )
        return tensors

    def weights(self) -> dict[str, torch.Tensor]:
        """What the model folder holds."""
        if self.average is not None:
            return self.average
        return self.network.state_dict() if self.merge is None else self.merge(self.network)

    def empty_tensors(self) -> dict[str, torch.Tensor]:
        """Tensors of the names, shapes and placement that `tensors` has after a step, for a loader to fill."""
        tensors = {}
        for name, parameter in self.network.named_parameters():
            if parameter.requires_grad:
                value = parameter.detach()
                tensors[f"step/{name}"] = torch.zeros((), device=value.device)
                tensors |= {f"{key}/{name}": torch.zeros_like(value) for key in MOMENTS if key != "step"}
                if self.has_raw:
                    tensors[f"raw/{name}"] = torch.zeros_like(value)
        return tensors

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
    if is_sharded(like) and not is_sharded(tensor):
        return sharded_like(tensor, like)  # every rank has read the same file
    return tensor.to(like.device)


def whole(tensor: torch.Tensor, copy: bool = False) -> torch.Tensor:
    """All of a tensor on the CPU; of a sharded one on every rank (a collective).

    copy: in memory of its own. Otherwise what is on the CPU already, alone or as the only shard, is returned as it is.
    """
    full, own = (tensor.full_tensor(), tensor.to_local()) if is_sharded(tensor) else (tensor, tensor)
    full = full.detach().cpu().contiguous()
    shares = full.untyped_storage().data_ptr() == own.untyped_storage().data_ptr()
    return full.clone() if copy and shares else full


class Writer:
    """Writes the checkpoints of a run, at most one at a time."""

    def __init__(
        self,
        run: Path,
        ranks: Ranks,
        keep: int,
        background: bool = False,
        run_id: str | None = None,
        restored: Path | None = None,
        full: bool = True,
        named: Collection[int] = (),
    ) -> None:
        """`background`: `save` returns once the state is copied; the files follow while training goes on.

        run_id: written into each checkpoint. restored: the one the run goes on from, whole. full: whether older ones
        count as whole by their contents, or by their sizes alone. named: steps whose checkpoints are never removed.
        """
        self._run, self._ranks, self._keep, self._background = run, ranks, keep, background
        self._run_id, self._full, self._named = run_id, full, frozenset(named)
        self._whole = set() if restored is None else {restored}
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._pending: Future[None] | None = None

    def save(self, state: TrainState, tokenizer: Tokenizer | None) -> None:
        """Writes the checkpoint of this step, then removes all but the newest whole `keep`. Every rank calls it."""
        self.finish()
        tensors = {name: t.detach() for name, t in self._ranks.together(state.tensors).items()}
        folder = self._run / "checkpoints" / f"step-{state.progress.step:08d}"
        partial = folder.with_name(f".{folder.name}.partial")
        self._ranks.together(lambda: self._guard(folder, lambda: _clear(partial)) if self._ranks.first else None)
        sharded = any(is_sharded(t) for t in tensors.values())
        weights = {}
        for name, tensor in state.weights().items() if sharded or self._ranks.first else ():
            full = whole(tensor, copy=self._background)  # what must not change under the writer
            if self._ranks.first:  # the others only take part in the gathering
                weights[name] = full
        adapter = {}
        for name, tensor in tensors.items() if state.merge is not None and (sharded or self._ranks.first) else ():
            if name.startswith("raw/"):
                adapter[name.removeprefix("raw/")] = whole(tensor, copy=True)
        write_shards: Callable[[], dict[str, Sum]] = dict
        if sharded:
            from unmask.training.shard_writer import save_shards

            write_shards = save_shards(tensors, partial / SHARDS, self._ranks.checkpoint_group)
        if not self._ranks.first:
            self._pending = self._thread.submit(self._guard, folder, write_shards)
        else:
            moments = {} if sharded else {name: whole(t, copy=self._background) for name, t in tensors.items()}
            progress, config = asdict(state.progress), state.network.config

            def write() -> None:
                sums = write_shards()
                if not sharded:
                    write_tensors(partial / TENSORS, moments)
                (partial / STATE).write_text(json.dumps(progress) + "\n", encoding="utf-8")
                if adapter:
                    write_tensors(partial / ADAPTER, adapter, state.adapter)
                write_files(partial, config, weights, tokenizer, step=progress["step"])
                write_list(partial, self._run_id, {f"{SHARDS}/{name}": checksum for name, checksum in sums.items()})
                sync_folder(partial)
                if os.path.lexists(folder) and folder not in self._whole:
                    set_aside(folder)
                replace_folder(partial, folder)
                sync(folder.parent)
                prune(self._run, folder, self._keep, self._run_id, self._whole, self._full, self._named)

            self._pending = self._thread.submit(self._guard, folder, write)
        if not self._background:
            self.finish()

    def finish(self) -> None:
        """Waits for the checkpoint under way. Raises `UserError` on every rank where it could not be written."""
        pending, self._pending = self._pending, None
        self._ranks.together(lambda: None if pending is None else pending.result())

    def _guard(self, folder: Path, work: Callable[[], Any]) -> None:
        try:
            work()
        except (OSError, SafetensorError) as error:
            shutil.rmtree(folder.with_name(f".{folder.name}.partial"), ignore_errors=True)
            reason = reason_of(error)
            raise UserError(f"{folder} cannot be written: {reason}; free space, then go on with --resume") from error


def _clear(partial: Path) -> None:
    shutil.rmtree(partial, ignore_errors=True)
    (partial / FOLDER).mkdir(parents=True)


def restore(
    state: TrainState, run: Path, ranks: Ranks, say: Callable[[str], None], full: bool = True
) -> Path | None:
    """Takes up the newest whole checkpoint and returns it; None where there is none at all.

    Newer ones that are damaged are named, and renamed so that they count no more. full: files' contents are checked,
    not their sizes alone. Raises `UserError` where there are checkpoints and none is whole, and where one is another
    model's.
    """
    folder, damaged = choose(run, ranks, full)
    if folder is None:
        return None
    if ranks.first and not read_list(folder).has_sums:
        say(f"{folder.name} was written before checkpoints had sums of their files: only sizes are checked")
    for bad, flaw in damaged.items():
        say(f"{bad.name} is damaged: {flaw}; going back to {folder.name}")
    ranks.together(lambda: [set_aside(bad) for bad in damaged] if ranks.first else None)
    load_into(state, folder, ranks)
    return folder


def load_into(state: TrainState, folder: Path, ranks: Ranks) -> None:
    """Takes up a checkpoint that is known to be whole; every rank calls it. Raises `UserError` as `restore` does."""
    progress, weights, tensors = ranks.together(lambda: _reading(folder, lambda: _read(state, folder)))
    if (folder / SHARDS).is_dir():  # apart: a rank that could not read the rest must not leave the others waiting
        ranks.together(lambda: _reading(folder, lambda: load_shards(tensors, folder / SHARDS, ranks)))
    ranks.together(lambda: state.take(progress, weights, tensors))


def _read(state: TrainState, folder: Path) -> tuple[Progress, dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Counters, weights and the training state's tensors; sharded ones are yet to be filled."""
    refuse_other_model(folder, state.network.config)
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
        with reading():
            return work()
    except (OSError, ValueError, TypeError, SafetensorError) as error:
        reason = reason_of(error)
        mend = "move it elsewhere to go on from the one before"
        raise UserError(f"checkpoint {folder} cannot be read ({reason}); {mend}") from error


def refuse_other_model(
    folder: Path, config: ModelConfig, mend: str = "give the run's own data and recipe, or another --out"
) -> None:
    """Raises `UserError` where a checkpoint's model is not of this shape, naming what differs."""
    now, then = config.to_dict(), ModelConfig.from_dict(read_config(folder)["model"], f"{folder / CONFIG}: model")
    if differing := differences(now, then.to_dict()):
        raise UserError(f"{folder} is of another model: {differing}; {mend}")
