"""What `unmask tune` and `unmask bench decode` take; no heavy import, since their help is shown from here.

    unmask bench decode runs/demo/mdm --arm runs/demo/arm --data runs/demo/data
    unmask tune runs/demo/mdm --data runs/demo/data
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from unmask.bench.kit.folders import check_folders
from unmask.errors import UserError
from unmask.model.generation_options import PluginOptions
from unmask.model.placement_options import PlacementOptions, TypesOptions
from unmask.options import NEEDED, argument, option

MODEL = ("RUN", "a run, a checkpoint or a model folder")


@dataclass(frozen=True)
class DecodeBenchOptions(TypesOptions, PluginOptions):
    """Every decoding rule and cache: speed and quality, beside an autoregressive twin.

    Settings are measured in each type; the first one is the table's own. Lengths and prompts that exceed a model's
    context together are left out.
    """

    does = "unmask.bench.decode.measure:bench_decode"

    model: str = argument(*MODEL)
    data: str = option(NEEDED, "prepared data; its validation split gives prompts", metavar="FOLDER")
    arm: str | None = option(None, "the autoregressive twin, of the same tokenizer", metavar="RUN")
    judge: str = option("smollm2", "who reads the samples: smollm2, an autoregressive RUN, or none")
    length: list[int] = option([], "new tokens; repeatable; half the context", least=1)
    prompt: list[int] = option([], "tokens of it; repeatable; a quarter", least=0)
    batch: list[int] = option([1, 8], "rows a call; repeatable", least=1)
    samples: int = option(128, "texts whose quality is measured, of each setting", least=2)
    span: int = option(3, "tokens of a gap in held-out text", least=1)
    gaps: int = option(256, "gaps to fill; 0: none", least=0)
    temperature: list[float] = option([1.0, 0.7, 0.5], "repeatable", least=0)
    rounds: int = option(5, "turns of each setting", least=1)
    only: list[str] = option([], "settings by name: 'confidence*'; the twin is always there", metavar="PATTERN")
    setting: list[str] = option(
        [], "in place of the table: 'order: margin, block: 8, steps_per_token: 0.5'; repeatable", metavar="RULES"
    )
    transformers: bool = option(True, "without transformers", flag="--no-transformers")
    seed: int = option(0, "of the sampling noise")
    threads: int = option(0, "0: all cores", least=0)
    out: str | None = option(None, "the result as JSON; a stopped run goes on", metavar="FILE")
    plot: str | None = option(None, "and as a picture, .png or .svg", metavar="FILE")

    def check(self) -> None:
        """Raises `UserError` for what cannot be measured."""
        from unmask.model.placement import check_types

        check_types(self.dtype, self.device)
        if not self.temperature:
            raise UserError("--temperature: give at least one, each 0 or more", field="temperature")
        check_folders(self.out, self.plot)


@dataclass(frozen=True)
class TuneOptions(PlacementOptions, PluginOptions):
    """Picks rule, threshold and steps for a speed or quality target, and writes them into the model folder."""

    does = "unmask.bench.decode.tune:tune"

    model: str = argument(*MODEL)
    target: Literal["speed", "quality"] = option("speed", "speed (of at least --min-quality), or quality (--min-speed)")
    min_quality: float = option(0.9, "best perplexity per byte over that of the choice", above=0, most=1)
    min_speed: float = option(0.0, "useful tokens/s", least=0, metavar="RATE")
    sweep: str | None = option(None, "what unmask bench decode --out wrote", flag="--from", metavar="FILE")
    data: str | None = option(None, "or prepared data, for a sweep now", metavar="FOLDER")
    judge: str = option("smollm2", "smollm2, or an autoregressive RUN")
    length: int | None = option(None, "new tokens; half the context", least=1)
    prompt: int | None = option(None, "tokens of it; a quarter of the context", least=0)
    batch: int = option(1, "rows a call", least=1)
    samples: int = option(128, "texts whose quality is measured, of each setting", least=2)
    temperature: float = option(1.0, "of the tokens drawn; no other is picked", least=0)
    rounds: int = option(5, "turns of each setting", least=1)
    only: list[str] = option([], "settings by name: 'confidence*'", metavar="PATTERN")
    seed: int = option(0, "of the sampling noise")
    threads: int = option(0, "0: all cores", least=0)
    out: str | None = option(None, "the sweep as JSON; a stopped one goes on", metavar="FILE")
    show: bool = option(False, "only say what the model's defaults are")
    reset: bool = option(False, "take them away")

    def check(self) -> None:
        """Raises `UserError` for what cannot be tuned for."""
        from unmask.model.placement import check_dtype, choose_device

        check_dtype(self.dtype)
        choose_device(self.device)
        if (self.sweep is None) == (self.data is None):
            raise UserError("give either --data FOLDER, to measure, or --from FILE, of unmask bench decode")
