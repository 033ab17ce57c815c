"""Options: one value or one a row, what is missing, and what is refused."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from unmask.decoding import generate
from unmask.decoding.options import read_requests
from unmask.errors import UserError
from unmask.model.folder import Model


def test_none_among_the_entries_is_the_default(mdm: Model) -> None:
    mixed = generate(mdm, [[1], [1]], length=[6, 8], order=["margin", None], steps=[3, None], guidance=[None, 0.5])
    (alone,) = generate(mdm, [[1]], length=8, guidance=0.5, seed=[(0, 1)])
    assert (mixed[1].tokens, mixed[1].nfe) == (alone.tokens, alone.nfe) and len(mixed[0].tokens) == 6


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, "steps is 0"),
        ({"steps": 2.5}, "steps is 2.5"),
        ({"length": -1}, "length is -1"),
        ({"length": 0}, "nothing to generate"),
        ({"length": 95}, "prompt 0 has 2 tokens.*context of 96"),
        ({"order": "confidense"}, "did you mean 'confidence'.*left-to-right"),
        ({"order": "margin", "quota": "odd"}, "quota 'odd' is unknown.*paper, even"),
        ({"quota": "even"}, "order 'ancestral', which draws its own"),
        ({"block": 0}, "block is 0"),
        ({"block": 2, "steps": 3, "length": 8}, "fewer than the 4 blocks"),
        ({"revise": "remdm"}, "revise 'remdm' is unknown.*remdm-cap.*p2, edit"),
        ({"revise": "p2"}, "revise 'p2' needs an order that scores tokens.*confidence"),
        ({"revise": "remdm-cap", "order": "margin", "quota": "threshold"}, "fixed number of steps.*quota 'threshold'"),
        ({"revise": "p2", "order": "first-hitting"}, "revise 'p2' needs"),
        ({"revise": "remdm-cap:2"}, r"revise remdm-cap: eta is 2; give a number in \[0, 1\]"),
        ({"cache": "suffix"}, "cache 'suffix' is unknown.*none, reuse, prefix, dual"),
        ({"cache": "dual:-1"}, "cache dual: refresh is -1; give a whole number of at least 0"),
        ({"cache": "reuse:3"}, "cache reuse has no '3'; it takes no value"),
        ({"order": "margin", "threshold": 1.5}, r"quota threshold: threshold is 1.5; give a number in \(0, 1\]"),
        ({"order": "margin", "quota": "threshold:0"}, r"threshold is 0; give a number in \(0, 1\]"),
        ({"order": "margin", "quota": "threshold:nan"}, "threshold is nan"),
        ({"order": "margin", "quota": "klass:tau=1"}, "quota klass has no 'tau'; it takes threshold, kl, history"),
        ({"order": "margin", "quota": "klass:history=1.5"}, "history is 1.5; give a whole number"),
        ({"order": "margin", "quota": "factor", "threshold": 0.9}, "threshold does not go with quota 'factor'"),
        ({"threshold": 0.9}, "quota 'threshold' does not go with order 'ancestral'"),
        ({"order": "first-hitting", "steps": 4}, "takes a pass per token; leave out steps"),
        ({"order_noise": 1.0}, "order_noise needs an order that scores proposals"),
        ({"order_noise": -1.0, "order": "margin"}, "order_noise is -1"),
        ({"top_p": 0}, "top_p is 0; give a number above 0 and at most 1"),
        ({"top_k": 0}, "top_k is 0"),
        ({"eos": "end"}, "eos is 'end'.*fill, truncate, stop, suppress"),
        ({"guidance_mode": "text"}, "guidance_mode is 'text'.*mask, drop"),
        ({"guidance_schedule": "up"}, "guidance_schedule 'up' is unknown"),
        ({"guidance_interval": (0.5, 0.2)}, "guidance_interval is 0.5 to 0.2"),
        ({"guidance_interval": 1}, "guidance_interval is 1; give two noise levels"),
        ({"guidance": 1.0, "negative": [1] * 90, "length": 10}, "negative of prompt 0 has 90 tokens"),
        ({"steps": [1, 2]}, "steps has 2 entries for 1 prompts"),
        ({"pattern": 5}, "pattern is 5; give a regular expression"),
        ({"negative": 5, "guidance": 1.0}, "negative is 5; give a text"),
        ({"temperature": -0.1}, "temperature is -0.1"),
        ({"temperature": float("nan")}, "temperature is nan"),
        ({"guidance": float("inf")}, "guidance is inf"),
        ({"guidance": "much"}, "guidance is 'much'"),
        ({"seed": [1, 2, 3]}, "seed has 3 entries for 1 prompts"),
        ({"seed": 1.5}, "seed is 1.5"),
        ({"seed": "one"}, "seed is 'one'"),
        ({"fill": 0}, "fill is 0"),
    ],
)
def test_bad_settings(mdm: Model, options, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        generate(mdm, [[1, 2]], **options)
    assert "\n" not in str(caught.value)


def test_a_rows_defaults_do_not_depend_on_its_neighbours(mdm: Model) -> None:
    """A model's own rules hold for a row that names none, whatever the row beside it names."""
    tuned = dataclasses.replace(mdm, defaults={"order": "left-to-right", "quota": "even", "steps_per_token": 0.5})
    first, second = generate(tuned, [[1], [1]], length=8, order=[None, "confidence"])
    (alone,) = generate(tuned, [[1]], length=8)
    assert (first.tokens, first.steps, first.nfe) == (alone.tokens, alone.steps, 4)
    assert second.nfe > 4


def test_rows_that_ask_for_the_same_are_read_once_and_others_on_their_own() -> None:
    same, again, other = read_requests(3, "mdm", temperature=[0.5, 0.5, 0.7], banned=[[3], [3], [4]])
    assert same == again and (other.temperature, other.banned) == (0.7, (4,))
    first, second = read_requests(2, "mdm", order="confidence")
    assert first is second
    with pytest.raises(UserError, match="banned holds array"):  # which cannot be compared with another
        read_requests(2, "mdm", banned=[np.array([1, 2]), np.array([1, 2])])
