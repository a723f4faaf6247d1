"""Every method on every task it claims, on the class of SD1, predicting ε and v: a row comes out of a random network.

The scores mean nothing and are looked at by nothing; that every path runs, saves, loads and draws is the test.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.matrix import Case, row_of, whole


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("matrix")


@pytest.mark.parametrize("case", whole("epsilon", "v"))
def test_a_row_comes_out(case: Case, root: Path) -> None:
    row = row_of(case, root)
    assert (row.status, row.kind) == ("ok", case[2])
