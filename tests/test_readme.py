"""Tables of the READMEs are what their commands print."""

import pytest

from scripts import readme


@pytest.mark.ngspice
def test_the_quickstarts_table_comes_out_to_the_digit():
    assert readme.main(["quickstart"], write=False) == 0


def test_tables_from_files_are_those_of_the_files():
    assert readme.main([".csv"], write=False) == 0


def test_a_table_that_differs_is_noticed(tmp_path, monkeypatch):
    (tmp_path / "numbers.csv").write_text("network,ideal\nlenet,99.1\n")
    page = tmp_path / "README.md"
    page.write_text("<!-- table: csv numbers.csv -->\n| old |\n<!-- end -->\n")
    monkeypatch.setattr(readme, "ROOT", tmp_path)
    monkeypatch.setattr(readme, "PAGES", ("README.md",))
    assert readme.main([], write=False) == 1 and "| old |" in page.read_text()
    assert readme.main(["other"], write=False) == 0
    assert readme.main([], write=True) == 1 and "| lenet | 99.1 |" in page.read_text()
    assert readme.main([], write=False) == 0
