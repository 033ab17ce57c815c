"""What `unmask convert` takes."""

from __future__ import annotations

import pytest

from unmask.errors import UserError
from unmask.interop.options import ConvertOptions


def test_formats_are_known_ones() -> None:
    given, _ = ConvertOptions.from_words("llama there --out here --no-verify".split(), "unmask convert")
    assert (given.format, given.source, given.out, given.verify) == ("llama", "there", "here", False)
    with pytest.raises(UserError, match=r"FORMAT is 'lama' \(did you mean 'llama'\?\); give one of smdm, llama, gguf"):
        ConvertOptions.from_words("lama there --out here".split(), "unmask convert")
