"""The loop of a sweep, and what it is told."""

from __future__ import annotations

import pytest

from unmask.errors import UserError
from unmask.scaling.options import shard_of

pytestmark = pytest.mark.timeout(400)  # every run is a process that imports torch


@pytest.mark.parametrize("text", ["0/2", "3/2", "2", "a/b", "1/0"])
def test_shards_are_counted_from_one(text):
    with pytest.raises(UserError, match="--shard"):
        shard_of(text)
    assert shard_of("2/3") == (2, 3)
