"""Every row of the list is a test, and every test that claims a row is of the list."""

import ast
import csv
import re
from pathlib import Path

TESTS = Path(__file__).resolve().parent.parent
ROW = re.compile(r"[A-J]\d+")


def test_every_row_has_a_test_and_every_test_a_row():
    with (Path(__file__).parent / "rows.tsv").open() as table:
        rows = {row["id"] for row in csv.DictReader(table, delimiter="\t")}
    assert len(rows) == 73
    claimed = in_python() | in_javascript()
    assert (rows - claimed, claimed - rows) == (set(), set())


def in_python() -> set[str]:
    names = [
        node.name.split("_")[1]
        for file in TESTS.rglob("test_*.py")
        if ".cache" not in file.parts
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    ]
    return set(filter(ROW.fullmatch, names))


def in_javascript() -> set[str]:
    sources = [file.read_text() for file in (TESTS / "js").glob("*.test.mjs")]
    return {row for source in sources for row in re.findall(r"^test\('([A-J]\d+) ", source, re.MULTILINE)}
