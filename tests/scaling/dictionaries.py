"""Dictionaries as their packages hold them, in small."""

from __future__ import annotations

import gzip

from scaling.archives import deb

GCIDE = """

00-database-short
   A dictionary of nothing

Blorb \\Blorb\\ (bl[^o]rb), n. [OE. blorbe, fr. L. blorba a
   thing; cf. {Flarb}.] (Zool.)
   1. A small, round animal that lives in clay; as, a blorb was
      seen. [Obs.] --Smith.
      [1913 Webster]

            The blorb is shy.                     --A. Jones.
      [1913 Webster]

   2. One who acts like a {blorb}.
      [PJC]

   Syn: Flarb; na[i^]f; caf['e]; h[ae]m.
        [1913 Webster]

Blorb \\Blorb\\, v. i.
   To live in clay. [R.]
   [Webster 1913 Suppl.]

Flarbish \\Flarb"ish\\, Flarby \\Flarb"y\\, a.
   See {Flarb}.
   [1913 Webster]

Empty \\Emp"ty\\, n.
   [1913 Webster]
"""


def dictd(tmp_path, name, text):
    return deb(tmp_path / f"{name}.deb", {f"./usr/share/dictd/{name}.dict.dz": gzip.compress(text.encode())})
