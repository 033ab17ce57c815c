"""The pictures of a report, as files."""

from __future__ import annotations


def test_every_picture_stands_as_png_and_svg_and_nothing_else_is_left(made):
    pictures = ("frontier", "gap", "isoflop", "repeated", "residuals")
    names = {f"{name}.{suffix}" for name in pictures for suffix in ("png", "svg")}
    assert {path.name for path in made.iterdir()} == names | {"report.html", "fit.json"}
    assert [path.name for path in made.parent.iterdir()] == ["report"]
    assert all((made / name).stat().st_size > 2000 for name in names)
