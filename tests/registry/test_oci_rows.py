"""Every row of our port of the distribution specification's conformance list is a test, and every test that claims a row is of the list."""

import ast
import csv
import re
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROW = re.compile(r"[K-N]\d+")


def test_every_row_has_a_test_and_every_test_a_row():
    with (HERE / "oci_rows.tsv").open() as table:
        rows = {row["id"] for row in csv.DictReader(table, delimiter="\t")}
    assert len(rows) == 64
    functions = [node for file in HERE.glob("test_oci_*.py") for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.FunctionDef)]
    claimed = {node.name.split("_")[1] for node in functions if node.name.startswith("test_")}
    claimed = set(filter(ROW.fullmatch, claimed))
    assert (rows - claimed, claimed - rows) == (set(), set())
