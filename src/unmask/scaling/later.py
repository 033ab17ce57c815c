"""A run trained after the fit, to be laid over what the fit predicts for it.

    later = read_later("runs/large", rule="exact")
    later["params"], later["tokens"], later["flops"], later["loss"], later["curve"]["flops"]

The loss is that of the run's last validation: other windows and draws than a sweep is scored by, which the report says.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from unmask.errors import UserError


def read_later(run: str | Path, rule: str) -> dict[str, Any]:
    """Size, tokens, FLOPs by `rule` (`exact` or `6nd`) and validation losses of a run folder.

    Raises `UserError` where the folder is no run, or has no validation yet.
    """
    from unmask.model.config import ModelConfig
    from unmask.model.folder import CONFIG, read_config, resolve
    from unmask.training.metrics import METRICS, read_records
    from unmask.training.record import read_record

    run = Path(run)
    record = read_record(run)
    if record is None:
        raise UserError(f"{run} is no run: it has no recipe.yaml; give --over a folder that unmask train has made")
    if record.settings.get("sft") or record.settings.get("init"):
        raise UserError(f"{run} began from other weights, or was fine-tuned; a law speaks of runs from nothing")
    folder = resolve(run)
    config = ModelConfig.from_dict(read_config(folder)["model"], where=f"{folder / CONFIG}: model")
    records = read_records(run)
    trained = [r for r in records if r["kind"] == "train" and _numbers(r, "flops", "tokens")]
    scored = [r for r in records if r["kind"] == "validation" and _numbers(r, "flops", "loss")]
    if not trained or not scored:
        raise UserError(f"{run / METRICS} has no validation yet; train the run first, with validation.every above 0")
    last = trained[-1]
    factor = _factor(config, record.settings, last, rule)
    return {
        "name": run.name,
        "objective": config.kind,
        "rule": rule,
        "params": config.n_params_non_embedding,
        "tokens": last["tokens"],
        "flops": last["flops"] * factor,
        "loss": scored[-1]["loss"],
        "se": scored[-1].get("se"),
        "step": scored[-1]["step"],
        "curve": {"flops": [r["flops"] * factor for r in scored], "loss": [r["loss"] for r in scored]},
    }


def _factor(config: Any, settings: dict[str, Any], last: dict[str, Any], rule: str) -> float:
    """What the run's own count of FLOPs is multiplied by to have it by `rule`."""
    from unmask.diffusion.objective_config import ObjectiveConfig
    from unmask.model.flops import training_flops_per_token

    if settings["flops_rule"] == rule:
        return 1.0
    share = ObjectiveConfig(**settings["objective"]).head_share(settings["context"])
    return training_flops_per_token(config, settings["context"], share, rule) * last["tokens"] / last["flops"]


def _numbers(record: dict[str, Any], *names: str) -> bool:
    return all(isinstance(record.get(name), int | float) and record[name] > 0 for name in names)
