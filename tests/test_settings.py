"""Settings files: what they hold, and one line for whatever is wrong with them."""

from __future__ import annotations

from pathlib import Path

import pytest

from unmask.errors import UserError
from unmask.settings import RECIPES, parse_yaml, read_json, read_yaml, shipped, shown


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("steps: 20\nseed: 1\nsteps: 3\n", "steps is given twice, in lines 1 and 3; leave out one"),
        ("a: 1\nmodel:\n  n_layer: 1\n  n_head: 2\n  n_layer: 2\n", "model.n_layer is given twice, in lines 3 and 5"),
        ("model: {n_layer: 1, n_layer: 2}\n", "model.n_layer is given twice, in line 1; leave out one"),
        ("'a': 1\na: 2\n", "a is given twice, in lines 1 and 2"),
        ("a: [{b: 1, b: 2}]\n", "a.0.b is given twice"),
        ("a: {b: &x {c: 1, c: 1}}\nd: *x\n", "a.b.c is given twice"),
        ("[" * 50000, "nests too deeply"),
        ("{a: " * 300 + "1" + "}" * 300, "nests too deeply"),
        ("a: 2024-13-45\n", "cannot be read as YAML: month must be in"),
        ("a: [\n", "cannot be read as YAML"),
        ("a: 1\n---\na: 2\n", "cannot be read as YAML: expected a single document"),
        ("a: !!python/object:os.system {}\n", "cannot be read as YAML: could not determine a constructor"),
        ("a: \x00\n", "cannot be read as YAML"),
    ],
)
def test_a_yaml_file_that_is_wrong_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=message) as caught:
        read_yaml(path)
    assert str(caught.value).startswith(str(path)) and "\n" not in str(caught.value) and len(str(caught.value)) < 400


def test_what_yaml_means(tmp_path: Path) -> None:
    text = "a: off\nb: yes\nc: true\nd: False\ne: &x {f: 1}\ng: {<<: *x, f: 2}\nh: *x\n"
    found = {"a": "off", "b": "yes", "c": True, "d": False, "e": {"f": 1}, "g": {"f": 2}, "h": {"f": 1}}
    assert parse_yaml(text, "here") == found
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        (tmp_path / encoding).write_text(text, encoding=encoding)
        assert read_yaml(tmp_path / encoding) == found
    (tmp_path / "latin").write_bytes("a: \xe9\n".encode("latin-1"))
    with pytest.raises(UserError, match="latin cannot be read as YAML"):
        read_yaml(tmp_path / "latin")


def test_a_file_of_another_kind_is_not_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    with path.open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(UserError, match="is no settings file: it has 1,099,511,627,776 bytes"):
        read_yaml(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": {"b": 1, "b": 2}}', "b is given twice; leave out one"),
        ("[" * 100000, "it nests too deeply"),
        ("{", "cannot be read as JSON"),
    ],
)
def test_a_json_file_that_is_wrong_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "x.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=message) as caught:
        read_json(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_a_value_in_an_error_is_short() -> None:
    lots: list[object] = [1]
    for _ in range(20):
        lots = [lots] * 20
    assert len(shown(lots)) < 200 and len(shown("x" * 10**6)) < 100
    assert (shown(None), shown("four"), shown(2.5)) == ("null", "'four'", "2.5")


def test_every_shipped_recipe_says_what_it_is() -> None:
    assert set(shipped()) == {path.stem for path in RECIPES.iterdir()} >= {"demo-mdm", "demo-arm", "gsm8k-sft"}
    assert all(20 < len(line) < 120 for line in shipped().values())


def test_the_repository_shows_the_same_recipes(root: Path) -> None:
    assert (root / "recipes").is_symlink() and (root / "recipes").samefile(RECIPES)
