"""What `unmask sample` takes; no heavy import, since its help is shown from here.

    unmask sample runs/mdm --prompt "My fellow" --length 32 --order confidence
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from unmask.model.generation_options import GenerationOptions, PluginOptions
from unmask.model.placement_options import PlacementOptions
from unmask.options import Result, argument, group, option


@dataclass(frozen=True)
class SampleOptions(PlacementOptions, PluginOptions):
    """Generates text in any order (MDM) or from left to right (ARM), or fills the gaps of a text."""

    model: str = argument("RUN", "a run, a checkpoint or a model folder")
    prompt: list[str] | None = option(None, "may be given several times: one batch")
    ids: list[str] | None = option(None, "token ids: '1 2 3'; repeatable", metavar="IDS")
    fill: list[str] | None = option(None, "a text with gaps: The ____ of", metavar="TEXT")
    gap: int | None = option(None, "tokens a gap; by default 3", least=1)
    prompts: str | None = option(None, "a prompt a line, -: stdin; results are JSON lines", metavar="FILE")
    jsonl: bool = option(False, "--prompts are JSON, as those named .jsonl (docs/decoding.md)")
    out: str | None = option(None, "of --prompts: where results go; a killed run goes on", metavar="FILE")
    batch: int | None = option(None, "of --prompts: lines at once, which changes no result; 16", least=1)
    rules: dict[str, Any] = group(GenerationOptions)
    samples: int = option(1, "of each prompt", least=1)
    seed: int = option(0, "of the sampling noise")
    watch: bool = option(False, "show the canvas filling in")
    trace: str | None = option(None, "what was written when, as JSON", metavar="FILE")
    html: str | None = option(None, "the same as a page, step by step", metavar="FILE")
    svg: str | None = option(None, "the first one as an animated picture", metavar="FILE")

    def run(self) -> Result | None:
        from unmask.decoding.show.sample import sample

        found = sample(self)  # None: the lines are out
        return None if found is None else Result(found.rows, "\n---\n".join(found.texts))
