"""What a run can hand to others: its metrics to Weights & Biases, a trace of some of its steps to a viewer.

    unmask train RECIPE --wandb offline          # pip install 'unmask[wandb]'; then wandb sync RUN/wandb/offline-run-*
    unmask train RECIPE --profile 3              # RUN/trace.json, for chrome://tracing or ui.perfetto.dev

The id of the W&B run lies in the run folder, so that a resumed run goes on as the same one; steps that are done again
come out the same, and are not taken twice there.
"""
from __future__ import annotations

import importlib.util
import os
import secrets
from pathlib import Path
from typing import Any

import torch

from unmask.errors import UserError

ID_FILE, TRACE_FILE = "wandb-id", "trace.json"
PROJECT = "unmask"  # unless $WANDB_PROJECT says otherwise


def require_wandb(mode: str) -> None:
    """Raises `UserError` where a recipe wants W&B and it is not installed."""
    if mode != "off" and importlib.util.find_spec("wandb") is None:
        raise UserError(f"wandb: {mode} needs the package wandb; pip install 'unmask[wandb]', or set wandb: off")


class WandbRun:
    """One run there, opened anew or again."""

    def __init__(self, folder: Path, mode: str, recipe: dict[str, Any]) -> None:
        """`mode`: offline or online. Raises `UserError` where W&B cannot be reached or does not know the user."""
        import wandb

        path = folder / ID_FILE
        if not path.exists():
            path.write_text(secrets.token_hex(4) + "\n", encoding="utf-8")
        try:
            self._run = wandb.init(
                project=os.environ.get("WANDB_PROJECT", PROJECT),
                id=path.read_text(encoding="utf-8").strip(),
                name=folder.name,
                dir=str(folder),
                mode="offline" if mode == "offline" else "online",
                resume=None if mode == "offline" else "allow",  # offline the id alone does it, when it is synced
                config=recipe,
                settings=wandb.Settings(silent=True, console="off"),
            )
        except wandb.errors.Error as error:
            reason = " ".join(str(error).split())
            raise UserError(f"wandb: {mode} does not work ({reason}); log in, or set wandb: offline") from error

    def write(self, scalars: dict[str, float], step: int) -> None:
        self._run.log(scalars, step=step)

    def close(self) -> None:
        self._run.finish()


class Trace:
    """Writes what `n` steps did, after one that is left out and one to warm up, as ``trace.json``; 0: nothing."""

    def __init__(self, folder: Path, n: int) -> None:
        self._profiler: Any = None
        if n:
            path = str(folder / TRACE_FILE)
            self._profiler = torch.profiler.profile(
                schedule=torch.profiler.schedule(wait=1, warmup=1, active=n, repeat=1),
                on_trace_ready=lambda profiler: profiler.export_chrome_trace(path),
            )

    def __enter__(self) -> Trace:
        if self._profiler is not None:
            self._profiler.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._profiler is not None:
            self._profiler.stop()

    def step(self) -> None:
        """To be called after every step."""
        if self._profiler is not None:
            self._profiler.step()
