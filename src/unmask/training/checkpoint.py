"""Checkpoints: a model folder with the training state beside it, written whole or not at all.

    save_checkpoint(run, state, tokenizer, keep=2)       # runs/x/checkpoints/step-00001000/
    newest_checkpoint(run)                               # its path, or None

``train_state/`` holds the optimizer's tensors (and, with averaged weights, the raw ones) as safetensors and the rest as
JSON: nothing here is a pickle. Data order and noise need no state: both are functions of (seed, sample index).
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from unmask.errors import UserError
from unmask.model.folder import CONFIG, WEIGHTS, replace_folder, write_files
from unmask.model.tokenizers import Tokenizer
from unmask.model.transformer import Transformer
from unmask.training.metrics import LEVEL_BUCKETS

STATE, TENSORS = "train_state/state.json", "train_state/optimizer.safetensors"


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

    def tensors(self) -> dict[str, torch.Tensor]:
        """The optimizer's moments by parameter name, and the raw weights where a checkpoint's are averaged."""
        found: dict[str, torch.Tensor] = {}
        for name, parameter in self.network.named_parameters():
            for key, value in self.optimizer.state.get(parameter, {}).items():
                found[f"{key}/{name}"] = value
        if self.average is not None:
            found |= {f"raw/{name}": tensor for name, tensor in self.network.state_dict().items()}
        return found

    def restore(self, folder: Path) -> None:
        """Takes up the state of a checkpoint. Raises `UserError` naming the file that is missing or cut short."""
        try:
            self.progress = Progress(**json.loads((folder / STATE).read_text(encoding="utf-8")))
            weights, tensors = load_file(folder / WEIGHTS), load_file(folder / TENSORS)
        except (OSError, ValueError, TypeError, SafetensorError) as error:
            raise UserError(
                f"checkpoint {folder} cannot be read ({error}); delete it to fall back to the one before"
            ) from error
        raw = {name.removeprefix("raw/"): t for name, t in tensors.items() if name.startswith("raw/")}
        if self.average is not None:
            self.average = {name: weights[name].to(tensor.device) for name, tensor in self.average.items()}
        self.network.load_state_dict(raw or weights)
        for name, parameter in self.network.named_parameters():
            keys = [key for key in tensors if key.endswith(f"/{name}") and not key.startswith("raw/")]
            if keys:
                self.optimizer.state[parameter] = {
                    key.split("/")[0]: tensors[key].to(
                        tensors[key].device if key.startswith("step/") else parameter.device
                    )
                    for key in keys
                }


def save_checkpoint(run: Path, state: TrainState, tokenizer: Tokenizer | None, keep: int) -> Path:
    """Writes the checkpoint of this step, then removes all but the newest `keep`."""
    folder = run / "checkpoints" / f"step-{state.progress.step:08d}"
    partial = folder.with_name(f".{folder.name}.partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        (partial / "train_state").mkdir(parents=True)
        save_file({name: t.detach().contiguous().cpu() for name, t in state.tensors().items()}, partial / TENSORS)
        (partial / STATE).write_text(json.dumps(asdict(state.progress)) + "\n", encoding="utf-8")
        write_files(partial, state.network, tokenizer, state.average, step=state.progress.step)
        replace_folder(partial, folder)
        handle = os.open(folder.parent, os.O_RDONLY)
        os.fsync(handle)
        os.close(handle)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(partial, ignore_errors=True)
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{folder} cannot be written: {reason}; free space, then go on with --resume") from error
    for old in checkpoints(run)[:-keep]:
        shutil.rmtree(old, ignore_errors=True)
    return folder


def checkpoints(run: Path) -> list[Path]:
    """Finished checkpoints, oldest first."""
    return sorted(p for p in (run / "checkpoints").glob("step-*") if (p / CONFIG).is_file())


def newest_checkpoint(run: Path) -> Path | None:
    return next(reversed(checkpoints(run)), None)
