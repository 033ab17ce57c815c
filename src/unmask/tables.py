"""The tables of options in the docs, made of their declarations.

    python -m unmask.tables docs          # writes them anew between their marks; a test compares

A table stands between `<!-- options: VERB -->` (or `recipe`, `generate`) and `<!-- end -->`; the page `options.md` has
one of every verb.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from unmask.cli import VERBS, every_verb
from unmask.files import write_whole
from unmask.model.generation_options import OF_MASKED, GenerationOptions
from unmask.options import NEEDED, Option, declared, options
from unmask.training.options import recipe_keys

MARK = re.compile(r"<!-- options: ([\w -]+?) -->\n.*?<!-- end -->", re.S)
PAGE = "options.md"


def table(name: str) -> str:
    """Markdown of one table: of a verb's options, of a recipe's keys, or of what `generate` takes."""
    if name == "recipe":
        rows = [f"| `{key}` | {shown(default)} | {words} |" for key, words, default in recipe_keys()]
        return "\n".join(["| Key | Default | Meaning |", "|---|---|---|", *rows])
    if name == "generate":
        head = ["| Option | Command line | Default | Range | Meaning |", "|---|---|---|---|---|"]
        return "\n".join([*head, *map(of_generate, declared(GenerationOptions))])
    cls = dict(every_verb())[name]
    rows = [of_verb(opt, elsewhere) for opt, elsewhere in options(cls)]
    return "\n".join(["| Option | Default | Meaning |", "|---|---|---|", *rows, "| `--json` | | the result as JSON |"])


def of_verb(opt: Option, elsewhere: bool) -> str:
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
    for path in sorted(folder.glob("*.md")):
        if path.name != PAGE and (text := path.read_text(encoding="utf-8")) != written(text):
            write_whole(path, written(text))
            print(path)
    write_whole(folder / PAGE, page())


if __name__ == "__main__":
    main(Path(sys.argv[1] if sys.argv[1:] else "docs"))
