"""`unmask tune`: the decoding rule, threshold and steps of a model, picked by measuring, written as its defaults.

    unmask tune runs/demo/mdm --data runs/demo/data --target speed --min-quality 0.9
    unmask tune runs/demo/mdm --from decode.json --target quality --min-speed 2000
    unmask tune runs/demo/mdm --show

A sweep is that of `unmask bench decode` (or one of its results, of the same weights). Quality is the judge's perplexity
per byte, as a share of the best setting's: 0.9 is a perplexity 1 / 0.9 times as high. Settings flattered by low entropy
(`bench.decode.pareto`) take no part, nor do guided ones and other temperatures, which sample from another distribution.
`speed` takes the fastest setting of at least `min_quality`, `quality` the best of at least `min_speed` useful tokens/s.
The choice goes into the model folder as generation.json, with what was measured; `generate` then uses it wherever the
caller names no rule.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from unmask.bench.decode.measure import KIND, SCHEMA_VERSION, bench_decode
from unmask.bench.decode.options import DecodeBenchOptions, TuneOptions
from unmask.bench.decode.pareto import Point, points
from unmask.decoding.rules.plugins import load_plugins, need, used
from unmask.errors import UserError
from unmask.files import file_sha256
from unmask.model.defaults import FILE, read_file, remove_defaults, write_defaults
from unmask.model.folder import WEIGHTS, resolve
from unmask.settings import read_json
from unmask.statistics import ci_text

USUAL = "ancestral, L steps"  # what a model without defaults does


def tune(options: TuneOptions) -> dict[str, Any]:
    """Measures, picks and writes; the content of the file, and `path`, None where there is none (any more)."""
    folder = resolve(options.model)
    if options.show or options.reset:
        file = remove_defaults(folder) if options.reset else read_file(folder)
        whole = file if isinstance(file, dict) else {"options": {}, "measured": {}}
        return {**whole, "path": str(folder / FILE) if isinstance(file, dict) else None, "removed": file is True}
    options.check()
    load_plugins(options.plugin)
    result = read_sweep(Path(options.sweep), folder) if options.sweep else sweep(options, folder)
    cell, batch = only_cell(result, options)
    best = pick(points(cell, batch), cell, options)
    row = next(row for row in cell["rows"] if row["setting"] == best.name)
    chosen = {name: value for name, value in row["options"].items() if value is not None}
    if row["steps_per_token"] is not None:
        chosen["steps_per_token"] = row["steps_per_token"]
    usual = next((row for row in cell["rows"] if row["setting"] == USUAL), None)
    least = "min_quality" if options.target == "speed" else "min_speed"
    measured = {
        "target": options.target,
        least: getattr(options, least),
        "setting": best.name,
        "among": len(cell["rows"]),
        "weights_sha256": result["models"]["mdm"]["weights_sha256"],
        **{name: result[name] for name in ("data", "judge", "machine", "threads", "versions")},
        **{name: cell[name] for name in ("prompt", "length")},
        "batch": int(batch),
        **{name: value for name, value in result.get("options", {}).items() if name in ("device", "dtype")},
        "speed": row["speed"][batch],
        "quality": {name: value for name, value in row["quality"].items() if name != "shown"},
        "real_text": {name: value for name, value in cell["real_text"].items() if name != "shown"},
        "usual": None if usual is None else {"setting": USUAL, "speed": usual["speed"][batch]["tokens_per_second"]},
    }
    path = write_defaults(folder, chosen, measured, used(chosen).get("plugins"))
    return {"options": chosen, "measured": measured, "path": str(path), "removed": False}


def sweep(options: TuneOptions, folder: Path) -> dict[str, Any]:
    """A new measurement, of this model alone."""
    return bench_decode(
        DecodeBenchOptions(
            str(folder), options.data or "", judge=options.judge, batch=[options.batch], samples=options.samples,
            length=[] if options.length is None else [options.length],
            prompt=[] if options.prompt is None else [options.prompt],
            temperature=[options.temperature], rounds=options.rounds, only=options.only, gaps=0, seed=options.seed,
            threads=options.threads, out=options.out, verify=options.verify, device=options.device,
            dtype=[options.dtype], plugin=options.plugin,
        )
    )  # fmt: skip


def read_sweep(path: Path, folder: Path) -> dict[str, Any]:
    """A result of `unmask bench decode` on the weights in `folder`. Raises `UserError` for any other file."""
    result = read_json(path)
    if not isinstance(result, dict) or (result.get("kind"), result.get("schema_version")) != (KIND, SCHEMA_VERSION):
        raise UserError(f"{path} is no result of this version's unmask bench decode; give its --out FILE")
    if result["models"]["mdm"]["weights_sha256"] != file_sha256(folder / WEIGHTS):
        raise UserError(f"{path} was measured on other weights than those of {folder}; measure again with --data")
    need(result.get("plugins"), path)
    return result


def only_cell(result: dict[str, Any], options: TuneOptions) -> tuple[dict[str, Any], str]:
    """The one (prompt, length) to tune for, and its batch size. Raises `UserError` where the result leaves a choice."""
    wanted = {name: getattr(options, name) for name in ("prompt", "length") if getattr(options, name) is not None}
    cells = [cell for cell in result["cells"] if all(cell[name] == value for name, value in wanted.items())]
    if len(cells) != 1:
        known = ", ".join(f"{cell['prompt']}/{cell['length']}" for cell in result["cells"])
        raise UserError(f"the sweep has prompt/length {known}; name one of them by --prompt and --length")
    batch = str(options.batch)
    if batch not in cells[0]["rows"][0]["speed"]:
        known = " or ".join(cells[0]["rows"][0]["speed"])
        raise UserError(f"the sweep was not timed at batch {batch}; give --batch {known}")
    return cells[0], batch


def pick(measured: Sequence[Point], cell: dict[str, Any], options: TuneOptions) -> Point:
    """The setting for the target. Raises `UserError` where none was judged or none is good enough."""
    others = {
        row["setting"]
        for row in cell["rows"]
        if any("over_first_dtype" in speed for speed in row["speed"].values())  # of a further type
        or row["options"].get("guidance")
        or row["options"].get("temperature", 1.0) != options.temperature
    }
    entropy = cell["real_text"]["entropy"]["value"]
    judged = [
        (point, point.bits)
        for point in measured
        if point.kind == "mdm" and point.bits is not None and not point.flattered(entropy) and point.name not in others
    ]
    if not judged:
        raise UserError("no setting has a judged quality that low entropy does not flatter; try --judge or --only")
    if options.target == "speed":
        lowest = min(bits for _, bits in judged)
        return max((p for p, bits in judged if share_of(lowest, bits) >= options.min_quality), key=lambda p: p.speed)
    fast = [(point, bits) for point, bits in judged if point.speed >= options.min_speed]
    if not fast:
        most = max(point.speed for point, _ in judged)
        raise UserError(f"no setting writes {options.min_speed:,.0f} tokens/s; the fastest writes {most:,.0f}")
    return min(fast, key=lambda pair: pair[1])[0]


def share_of(best_bits: float, bits: float) -> float:
    """The best perplexity per byte over this one."""
    return float(2 ** (best_bits - bits))


def in_words(result: dict[str, Any]) -> str:
    """What is written now, and what it was measured to be."""
    if result["path"] is None:
        return "the model's own defaults are gone" if result["removed"] else "the model has no defaults of its own"
    options = ", ".join(f"{name} {value}" for name, value in result["options"].items())
    measured = result["measured"]
    if "setting" not in measured:
        return f"{result['path']}: {options}"
    speed, quality = measured["speed"]["tokens_per_second"], measured["quality"]
    usual = measured["usual"]
    faster = f", {speed['median'] / usual['speed']['median']:.2f}x '{usual['setting']}'" if usual else ""
    return "\n".join(
        [
            f"{result['path']}: {options}",
            f"  for {measured['target']}, of {measured['among']} settings: {measured['setting']}",
            f"  {speed['median']:,.0f} [{speed['q1']:,.0f}, {speed['q3']:,.0f}] useful tokens/s{faster}; "
            f"prompt {measured['prompt']}, length {measured['length']}, batch {measured['batch']}, "
            f"{measured['threads']} threads",
            f"  bits/byte {quality['bits_per_byte']['value']:.3f} (se {quality['bits_per_byte']['se']:.3f})"
            f"{ci_text(quality['bits_per_byte'].get('interval'), '.3f')}, perplexity "
            f"{quality['perplexity']['value']:,.1f}, entropy {quality['entropy']['value']:.2f} (held-out text "
            f"{measured['real_text']['bits_per_byte']['value']:.3f}, {measured['real_text']['entropy']['value']:.2f})",
        ]
    )
