"""The command line of a benchmark: its own options beside those that all have, its result in words or as JSON.

    Benchmark("engine", EngineBenchOptions, bench_engine, in_words, add_options, model=False).main()

Lines, statuses and `--json` are those of `unmask`: results on stdout, progress on stderr, 2 and one line for bad input.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from unmask.arguments import Help, Parser, add_placement, add_verify
from unmask.cli import main
from unmask.errors import UserError, nearest


@dataclass(frozen=True)
class Benchmark:
    """One of them: `measure` takes `options` made of the arguments, and gives JSON values that `in_words` tells."""

    name: str
    help: str
    options: type
    measure: Callable[[Any], dict[str, Any]]
    in_words: Callable[[dict[str, Any]], str]
    add_options: Callable[[Parser], None]
    model: bool = True  # of a model folder; else on random weights
    types: str = "one"  # or "many", side by side

    def parser(self) -> Parser:
        made = Parser(prog=f"python -m benchmarks.{self.name}", description=self.help, formatter_class=Help)
        add_placement(made, self.types)
        if self.model:
            made.add_argument("model", metavar="RUN", help="a run, a checkpoint or a model folder")
            add_verify(made)
        made.add_argument("--threads", type=int, default=0, help="0: all cores")
        made.add_argument("--json", action="store_true", help="print the result as JSON")
        self.add_options(made)
        return made

    def run(self, argv: Sequence[str]) -> int:
        """Measures and prints. Raises `UserError` for arguments that cannot be measured."""
        parser = self.parser()
        args, rest = parser.parse_known_args(argv)
        if rest:
            flags = [flag for action in parser._actions for flag in action.option_strings]
            raise UserError(f"unknown argument {rest[0]}{nearest(rest[0], flags)}; see {parser.prog} --help")
        fields = {name: value for name, value in vars(args).items() if name != "json" and value is not None}
        result = self.measure(self.options(**fields))
        print(json.dumps(result) if args.json else self.in_words(result))
        return 0

    def main(self, argv: Sequence[str] | None = None) -> NoReturn:
        """Runs it and exits with its status."""
        main(argv, self.run)
