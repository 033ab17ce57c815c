"""Settings that people write: YAML and JSON read strictly, and the recipes that come with the package.

    read_yaml("recipe.yaml")                # a key given twice, at any depth, is an error that names both lines
    read_json(Path("config.json"))          # likewise, without the lines
    shipped()                               # {"demo-mdm": "The masked diffusion model of `make demo`; ...", ...}

Below every room, and light: `unmask train --help` lists the recipes.
"""

from __future__ import annotations

import functools
import json
import reprlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unmask.errors import UserError
from unmask.files import reading
from unmask.terminal import aligned

if TYPE_CHECKING:
    import yaml

RECIPES = Path(__file__).parent / "recipes"
LARGEST = 2**24  # bytes: whoever gives more has named another file, such as one of weights
DEEPEST = 100  # levels of nesting that settings may have

_repr = reprlib.Repr()
_repr.maxstring = _repr.maxother = _repr.maxlong = 60
_repr.maxdict = _repr.maxlist = 4
_repr.maxlevel = 2


def shipped() -> dict[str, str]:
    """The package's recipes by name, each with the first sentence of its file."""
    lines = {}
    for path in sorted(RECIPES.glob("*.yaml")):
        with path.open(encoding="utf-8") as file:
            lines[path.stem] = file.readline().lstrip("# ").rstrip("\n :;.")
    return lines


def listed_recipes() -> str:
    """The same as lines for people."""
    return "\n".join(f"  {line}" for line in aligned(list(shipped().items())))


def shown(value: Any) -> str:
    """A value from a settings file in an error line: short whatever it is, and null as such a file writes it."""
    return "null" if value is None else _repr.repr(value)


def read_yaml(path: str | Path) -> Any:
    """What a YAML file holds. Raises `UserError` for what is none, nests too deeply or gives a key twice."""
    path = Path(path)
    try:
        with reading():
            if (size := path.stat().st_size) > LARGEST:
                raise UserError(f"{path} is no settings file: it has {size:,} bytes; give a YAML file")
            text = path.read_bytes()
        return parse_yaml(text, str(path))
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}; give a YAML file") from error


def parse_yaml(text: str | bytes, where: str) -> Any:
    """The same of a text; bytes may be UTF-8, or UTF-16 with its mark. `on`, `off`, `yes` and `no` are words."""
    import yaml

    try:
        loader = _loader()(text)
        try:
            node = loader.get_single_node()
            if node is None:
                return None
            for name, first, second in _repeated(node):
                lines = f"line {first}" if first == second else f"lines {first} and {second}"
                raise UserError(f"{where}: {name} is given twice, in {lines}; leave out one")
            return loader.construct_document(node)
        finally:
            loader.dispose()
    except RecursionError as error:
        raise UserError(f"{where} cannot be read as YAML: it nests too deeply") from error
    except (yaml.YAMLError, ValueError, OverflowError) as error:  # ValueError: a date that there is not
        reason = " ".join(str(error).split())
        raise UserError(f"{where} cannot be read as YAML: {reason}") from error


@functools.cache
def _loader() -> type[yaml.SafeLoader]:
    """PyYAML's, but that only true and false are so: `wandb: off` is what it says."""
    import yaml

    class Loader(yaml.SafeLoader):
        yaml_implicit_resolvers = {
            first: [(tag, form) for tag, form in rules if first in "tTfF" or not tag.endswith(":bool")]
            for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
        }

    return Loader


def _repeated(root: yaml.Node) -> Iterator[tuple[str, int, int]]:
    """(dotted name, line, line) of each key that one mapping gives twice."""
    import yaml

    stack, seen = [(root, "", 1)], set()
    while stack:
        node, prefix, depth = stack.pop()
        if id(node) in seen:  # an alias
            continue
        seen.add(id(node))
        if depth > DEEPEST:
            raise RecursionError
        inner = []
        if isinstance(node, yaml.SequenceNode):
            inner = [(item, f"{prefix}{i}.", depth + 1) for i, item in enumerate(node.value)]
        if isinstance(node, yaml.MappingNode):
            lines: dict[tuple[str, str], int] = {}
            for key, value in node.value:
                name = "a key"
                if isinstance(key, yaml.ScalarNode):
                    name, line = key.value, key.start_mark.line + 1
                    if (key.tag, name) in lines:
                        yield f"{prefix}{name}", lines[key.tag, name], line
                    lines[key.tag, name] = line
                inner.append((value, f"{prefix}{name}.", depth + 1))
        stack += reversed(inner)  # in the order of the file


def read_json(path: Path) -> Any:
    """What a JSON file holds. Raises `UserError` for what is none, nests too deeply or gives a key twice."""
    try:
        with reading():
            return json.loads(path.read_text(encoding="utf-8-sig"), object_pairs_hook=_once)
    except RecursionError as error:
        raise UserError(f"{path} cannot be read as JSON: it nests too deeply") from error
    except _Twice as error:
        raise UserError(f"{path}: {error.args[0]} is given twice; leave out one") from error
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read as JSON: {str(error).splitlines()[0]}") from error


class _Twice(Exception):
    """A key that one JSON object gives twice."""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    mapping: dict[str, Any] = {}
    for name, value in pairs:
        if name in mapping:
            raise _Twice(name)
        mapping[name] = value
    return mapping
