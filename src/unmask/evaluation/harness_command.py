"""The harness's own command line with our model and tasks in it.

    unmask lm-eval --model unmask --model_args path=runs/mdm --tasks unmask_hellaswag

Words are checked before the harness begins: its index alone takes 15 s.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from unmask.errors import UserError
from unmask.evaluation.generation_arguments import read_arguments
from unmask.evaluation.harness import NO_TEMPLATE, TASKS, check_names, harness_folder, in_one_line
from unmask.hub import settle


def command(argv: list[str]) -> int:
    """`unmask lm-eval ARGS`: the harness's command line, with the model `unmask` and the tasks `unmask_*` known.

    Raises `UserError` in place of the harness's tracebacks for bad input, and before it begins for a task that is
    unknown and for generation arguments that cannot be followed.
    """
    harness_folder()
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    words, types = without(argv, "--dtype", "give fp32, bf16 or auto")
    words, plugins = without(words, "--plugin", "give a file with rules")
    dtype = types[-1] if types else None
    given = any(word.partition("=")[0] == "--include_path" for word in words)
    if any(word.startswith("-") and word not in ("--help", "-h") for word in words) and not given:
        words += ["--include_path", str(TASKS)]
    sys.argv = ["lm-eval", *words]

    from lm_eval._cli import HarnessCLI
    from lm_eval.utils import setup_logging

    setup_logging()
    parser = HarnessCLI()
    args = vars(parsed := parser.parse_args())
    if args.get("model") == "unmask":
        if args.get("apply_chat_template"):
            raise UserError(f"--apply_chat_template: {NO_TEMPLATE}")
        if plugins:
            from unmask.decoding.rules.plugins import load_plugins

            load_plugins(plugins)
        if args.get("gen_kwargs"):
            read_arguments(args["gen_kwargs"])
        place(parsed, dtype)
    elif dtype is not None:
        raise UserError("--dtype concerns --model unmask; other models take it by --model_args")
    elif plugins:
        raise UserError("--plugin concerns --model unmask; leave it out")
    if isinstance(tasks := args.get("tasks"), list):
        folders = [Path(args["include_path"])] if args.get("include_path") else []
        check_names([name for entry in tasks for name in str(entry).split(",")], folders)
    if str(args.get("model") or "").startswith(("hf", "huggingface")):
        settle()
    import lm_eval.models  # noqa: F401 (its models are registered before ours, or not at all)

    import unmask.evaluation.lm_eval_adapter  # noqa: F401 (from here on the harness knows ours)

    with in_one_line():
        parser.execute(parsed)
    return 0


def without(argv: Sequence[str], ours: str, mend: str) -> tuple[list[str], list[str]]:
    """The words without an option of ours, which the harness does not know, and its values."""
    words, values = list[str](), list[str]()
    given = iter(argv)
    for word in given:
        name, equals, value = word.partition("=")
        if name != ours:
            words.append(word)
        elif value := value if equals else next(given, ""):
            values.append(value)
        else:
            raise UserError(f"{ours} has no value; {mend}")
    return words, values


def place(parsed: argparse.Namespace, dtype: str | None) -> None:
    """Device and type of our model: from the command line `auto` and fp32 unless told. Raises `UserError`."""
    from unmask.model.placement import check_dtype, choose_device

    arguments = dict(parsed.model_args or {})
    if dtype is not None:
        if arguments.setdefault("dtype", dtype) != dtype:
            raise UserError(f"--dtype is {dtype} and model_args has dtype={arguments['dtype']}; leave out one")
        parsed.model_args = arguments
    if parsed.device is None and "device" not in arguments:
        parsed.device = "auto"
    choose_device(arguments.get("device", parsed.device))
    check_dtype(arguments.get("dtype", "fp32"))
