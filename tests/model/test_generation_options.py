"""The one table of what generating takes: `generate`, registries, command line and model defaults agree."""

from __future__ import annotations

import inspect
import re

import unmask
from unmask.decoding.options import DEFAULTS, read_request
from unmask.decoding.passes.caches import CACHES
from unmask.decoding.rules import REGISTRIES
from unmask.decoding.show.sample_options import SampleOptions
from unmask.model.defaults import OPTIONS
from unmask.model.generation_options import OF_MASKED, TABLE
from unmask.options import flags


def test_generate_takes_what_the_table_has_and_leaves_the_defaults_to_it() -> None:
    parameters = inspect.signature(unmask.generate).parameters
    assert set(TABLE) <= set(parameters)
    assert {parameters[name].default for name in TABLE} == {None}
    others = set(parameters) - set(TABLE)
    assert others == {"model", "prompts", "seed", "fill", "trace", "watch"}


def test_the_command_line_has_every_option() -> None:
    assert {one.flag for one in TABLE.values()} <= set(flags(SampleOptions))


def test_defaults_of_a_model_are_some_of_them() -> None:
    assert set(OPTIONS) - {"steps_per_token"} <= set(TABLE) and set(OF_MASKED) <= set(TABLE)


def test_every_registered_rule_is_named_in_the_help_and_no_other() -> None:
    for name, registry in REGISTRIES.items():
        if name != "statistic":
            words = re.sub(r".*?: ", "", TABLE[name].declared.help, count=1).partition(";")[0]
            assert {word.partition(":")[0] for word in words.split(", ")} == set(registry), name
    assert {"reuse", "prefix", "dual"} <= set(CACHES)


def test_defaults_are_those_of_a_request() -> None:
    request = read_request("mdm", dict(DEFAULTS), "paper")
    assert (request.order.name, request.temperature, request.guidance_interval) == ("ancestral", 1.0, (0.0, 1.0))
