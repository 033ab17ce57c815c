"""The tables of options and of decoding rules in the docs, made of their declarations; names of rules for help.

    python -m unmask.tables docs          # writes them anew between their marks; a test compares

A table stands between `<!-- options: VERB -->` (or `recipe`, `generate`, or `rules` with their kind, such as `rules
quota`) and `<!-- end -->`; the page `options.md` has one of every verb. Help imports no rule: it has their names from
`model/rule_names.py`, which is written here too.
"""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from unmask.cli import VERBS, every_verb
from unmask.decoding.rules import REGISTRIES
from unmask.files import write_whole
from unmask.model import rule_names
from unmask.model.generation_options import OF_MASKED, GenerationOptions
from unmask.options import NEEDED, Option, declared, options
from unmask.training.options import recipe_keys

MARK = re.compile(r"<!-- options: ([\w -]+?) -->\n.*?<!-- end -->", re.S)
PAGE = "options.md"
PAPER = re.compile(r"arXiv (\d{4}\.\d{5})")


def table(name: str) -> str:
    """Markdown of one table: of a verb's options, of a recipe's keys, or of what `generate` takes."""
    if name == "recipe":
        rows = [f"| `{key}` | {shown(default)} | {words} |" for key, words, default in recipe_keys()]
        return "\n".join(["| Key | Default | Meaning |", "|---|---|---|", *rows])
    if name == "generate":
        head = ["| Option | Command line | Default | Range | Meaning |", "|---|---|---|---|---|"]
        return "\n".join([*head, *map(of_generate, declared(GenerationOptions))])
    if name.startswith("rules "):
        return of_rules(name.removeprefix("rules "))
    cls = dict(every_verb())[name]
    rows = [of_verb(opt) for opt, _ in options(cls)]
    return "\n".join(["| Option | Default | Meaning |", "|---|---|---|", *rows, "| `--json` | | the result as JSON |"])


def of_verb(opt: Option) -> str:
    name = f"`{opt.flag}`" + (f", `--no-{opt.flag[2:]}`" if opt.both_ways else "")
    if opt.declared.place:
        name = f"`{opt.declared.metavar}`" + (" ..." if opt.many else "")
    silent = opt.kind is bool and not opt.both_ways
    default = "must be given" if opt.default is NEEDED else "" if silent else shown(opt.default)
    return f"| {name} | {default} | {escaped(opt.declared.help)} |"


def of_generate(opt: Option) -> str:
    limits = ", ".join(opt.choices) or opt.range
    only = " (MDM alone)" if opt.name in OF_MASKED else ""
    return f"| `{opt.name}` | `{opt.flag}` | {shown(opt.default)} | {limits} | {escaped(opt.declared.help)}{only} |"


# ------------------------------------------------------------------ rules


def of_rules(kind: str) -> str:
    """What the registered rules of a kind say of themselves: the first words of their docstrings, and the papers."""
    rows = [of_rule(name, rule) for name, rule in REGISTRIES[kind].items()]
    if kind == "statistic":
        return "\n".join(["| `reads` | What it is | Source |", "|---|---|---|", *rows])
    head = f"| `--{kind.replace('_', '-')}` | What it does | Parameters | Source |"
    return "\n".join([head, "|---|---|---|---|", *rows])


def of_rule(name: str, rule: Any) -> str:
    words = (rule.__doc__ or "").partition("\n\n")[0]
    papers = ", ".join(f"[{paper}](https://arxiv.org/abs/{paper})" for paper in dict.fromkeys(PAPER.findall(words)))
    text = " ".join(re.sub(rf"\s*\({PAPER.pattern}\)", "", words).split()).rstrip(".")
    cells = [f"`{name}`", escaped(text if text[1:2].isupper() else text[:1].lower() + text[1:])]
    if hasattr(rule, "parameters"):
        cells.append("; ".join(of_parameter(*item) for item in rule.parameters().items()))
    return f"| {' | '.join([*cells, papers])} |"


def of_parameter(name: str, parameter: Any) -> str:
    limits = parameter.range.partition(" number ")[2].removeprefix("of ")
    return f"`{name}` {parameter.default:g}, {'whole, ' * parameter.whole}{limits}"


def names_for_help() -> str:
    """The source of `model/rule_names.py`: every rule that an option names, with its number where it takes just one."""
    lines = [f'"""{rule_names.__doc__}"""', ""]
    for kind, registry in REGISTRIES.items():
        if kind != "statistic":
            words = ", ".join(map(as_written, registry, registry.values()))
            line = f'{kind.upper()} = "{words}"'
            lines.append(line if len(line) <= 120 else in_pieces(kind, words))
    return "\n".join(lines) + "\n"


def as_written(name: str, rule: Any) -> str:
    values = [parameter.default for parameter in rule.parameters().values()]
    return f"{name}:{values[0]:g}" if len(values) == 1 else name


def in_pieces(kind: str, words: str) -> str:
    """The same over several lines."""
    pieces = textwrap.wrap(words, 100, break_on_hyphens=False)
    quoted = [f'    "{piece} "' for piece in pieces[:-1]] + [f'    "{pieces[-1]}"']
    return "\n".join([f"{kind.upper()} = (", *quoted, ")"])


# ------------------------------------------------------------------ pages


def shown(default: object) -> str:
    """A default as a table says it; nothing where nothing is given."""
    if default in (None, "", [], {}):
        return ""
    if isinstance(default, int) and default >= 10_000:
        return f"`{default:,}`"
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    return f"`{' '.join(map(str, default)) if isinstance(default, list | tuple) else default}`"


def escaped(words: str) -> str:
    return words.replace("|", "\\|").replace("<", "&lt;")


def written(text: str) -> str:
    """A page with its tables as they are now. Raises KeyError for a mark that names no verb."""
    return MARK.sub(lambda mark: f"<!-- options: {mark[1]} -->\n{table(mark[1])}\n<!-- end -->", text)


def page() -> str:
    """The page of all verbs."""
    lines = ["# Options", ""]
    lines += ["Made of their declarations (`python -m unmask.tables docs`), as `unmask VERB --help` is.", ""]
    lines += ["Keys of recipes are in [training](training.md),"]
    lines += ["options of `generate` in [decoding](decoding.md#options).", ""]
    for name, purpose in verbs():
        lines += [f"## unmask {name}", "", f"{purpose[0].upper()}{purpose[1:]}.", ""]
        lines += [f"<!-- options: {name} -->", "<!-- end -->", ""]
    return written("\n".join(lines))


def verbs() -> Iterator[tuple[str, str]]:
    for name, (home, purpose) in VERBS.items():
        if name == "lm-eval":  # all of its words are the harness's
            continue
        if isinstance(home, str):
            yield name, purpose
        else:
            yield from ((f"{name} {verb}", words) for verb, (_, words) in home.items())


def main(folder: Path) -> None:
    """Writes what has changed; names of rules first, and then the rest in a process that has them in its help."""
    source = Path(rule_names.__file__)
    if source.read_text(encoding="utf-8") != names_for_help():
        write_whole(source, names_for_help())
        print(source, flush=True)
        subprocess.run([sys.executable, "-m", "unmask.tables", str(folder)], check=True)
        return
    for path in sorted(folder.glob("*.md")):
        if path.name != PAGE and (text := path.read_text(encoding="utf-8")) != written(text):
            write_whole(path, written(text))
            print(path)
    write_whole(folder / PAGE, page())


if __name__ == "__main__":
    main(Path(sys.argv[1] if sys.argv[1:] else "docs"))
