"""Entries of dictionaries as documents."""

from __future__ import annotations

import pytest

from scaling.archives import tgz
from scaling.dictionaries import GCIDE, dictd
from unmask.scaling import corpus_sources as sources
from unmask.scaling.corpus_dictionaries import foldoc_entries, gcide_entries, wordnet_entries


def test_entries_of_gcide():
    noun, verb, adjective = gcide_entries(GCIDE)
    assert (noun.words, noun.part) == (("Blorb",), "n.")
    assert noun.senses == (
        "(Zool.) 1. A small, round animal that lives in clay; as, a blorb was seen. [Obs.] --Smith.",
        "The blorb is shy. --A. Jones.",
        "2. One who acts like a blorb.",
        "Syn: Flarb; naîf; café; haem.",
    )
    assert noun.gloss == "A small, round animal that lives in clay"
    assert verb.text == "Blorb, v. i.: To live in clay. [R.]" and verb.gloss == "To live in clay."
    assert adjective.words == ("Flarbish", "Flarby") and adjective.part == "a."


FOLDOC = """00-database-info
   This was converted.

blorb
BLB

   <jargon> A small {thing}
   in clay.

   {Home (http://blorb.org/)}.

   (1997-07-23)

flarb

   Undated.
"""


def test_entries_of_foldoc_are_dated(tmp_path):
    blorb, flarb = foldoc_entries(FOLDOC)
    assert (blorb.words, blorb.date) == (("blorb", "BLB"), "1997-07-23")
    assert blorb.senses[0] == "<jargon> A small thing in clay." and flarb.date is None
    documents = list(sources.foldoc_words(dictd(tmp_path, "foldoc", FOLDOC)))
    assert [document.date for document in documents] == ["1997-07-23", None]


def test_synsets_of_wordnet(tmp_path):
    lines = [
        "  1 This software ...",
        '00001 04 n 02 blorb 0 clay_animal 0 001 @ 00002 n 0000 | a small animal; "a blorb is shy"  ',
        "00003 00 s 01 blorby(a) 0 000 | of clay",
    ]
    noun, adjective = wordnet_entries(lines)
    assert noun.text == 'blorb, clay animal, n.: a small animal; "a blorb is shy"' and noun.gloss == "a small animal"
    assert adjective.text == "blorby, adj.: of clay"
    path = tgz(tmp_path / "w.tgz", {"package/dict/data.noun": "\n".join(lines), "package/dict/index.noun": "blorb n"})
    assert [document.keys for document in sources.wordnet_synsets(path)][0] == ("word blorb", "word clay animal")


@pytest.mark.parametrize("text", ["", "\n\n", "head only\n", "Head \\Head\\", "Head \\He", "Head \\H\\, n. [a\n   b"])
def test_odd_dictionaries_break_nothing(text):
    assert list(gcide_entries(text)) == [] and len(list(foldoc_entries(text))) <= 1
