"""What papers report: read strictly, rendered apart from what is measured."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from bench.errors import BenchError
from bench.papers.files import Paper, load, read_file, render
from bench.papers.reported import reported
from bench.row import Row, Value

TABLE: dict[str, Any] = {
    "where": "Table 1", "model": "SD", "dataset": "30 subjects", "sure": "paper",
    "columns": [{"metric": "DINO", "better": "higher"}, {"metric": "FID", "scale": "×1", "better": "lower"}],
    "values": {"A": [0.7, None], "B": [0.65, {"value": 12, "sure": "memory"}]},
}  # fmt: skip


def _file(folder: Path, table: dict[str, Any] | None = None, **fields: Any) -> Path:
    path = folder / "paper.yaml"
    said = {"name": "X", "arxiv": "2401.00001v2", "tables": [TABLE | (table or {})]} | fields
    path.write_text(yaml.safe_dump(said, allow_unicode=True), encoding="utf-8")
    return path


def test_a_page_says_reported_and_how_sure_and_rounds_nothing_away(tmp_path: Path) -> None:
    _file(tmp_path)
    page = render(load(tmp_path))
    assert "**Table 1**: SD, 30 subjects. *Reported; paper.*" in page
    assert "| *reported* | DINO ↑ | FID ↓ (×1) |" in page
    assert "| A | 0.70 |  |" in page
    assert "| B | 0.65 | 12 (memory) |" in page
    assert "[arXiv 2401.00001v2](https://arxiv.org/abs/2401.00001v2)" in page


WRONG = {
    "unknown field": ({}, {"url": "x"}, "url"),
    "unknown field of a table": ({"n": 3}, {}, "tables.0.n"),
    "a number in words": ({"values": {"A": ["high", 1.0]}}, {}, "tables.0.values.A.0"),
    "a number in quotes": ({"values": {"A": ["0.7", 1.0]}}, {}, "tables.0.values.A.0"),
    "no number": ({"values": {"A": [float("nan"), 1.0]}}, {}, "tables.0.values.A.0"),
    "a value too few": ({"values": {"A": [0.7]}}, {}, "'A' has 1 values; 2"),
    "how sure": ({"sure": "certain"}, {}, "tables.0.sure"),
    "direction": ({"columns": [{"metric": "DINO", "better": "up"}]}, {}, "tables.0.columns.0.better"),
    "no source": ({"where": ""}, {}, "tables.0.where"),
    "arXiv": ({}, {"arxiv": 2401.00001}, "arxiv"),
    "empty": ({}, {"tables": []}, "no tables and no note"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_field_is_named_with_its_file(tmp_path: Path, wrong: str) -> None:
    table, fields, says = WRONG[wrong]
    path = _file(tmp_path, table, **fields)
    with pytest.raises(BenchError) as caught:
        load(tmp_path)
    assert str(path) in str(caught.value)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["- a\n- b\n", "name: [\n", "", "!!python/object/apply:os.mkdir [RAN]\n"])
def test_what_is_no_mapping_is_refused_and_not_run(tmp_path: Path, text: str) -> None:
    path = tmp_path / "paper.yaml"
    path.write_text(text.replace("RAN", str(tmp_path / "ran")))
    with pytest.raises(BenchError) as caught:
        read_file(path, Paper)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == [path]


def test_the_committed_page_is_of_its_files(root: Path) -> None:
    folder = root / "leaderboards" / "papers"
    papers = load(folder)
    assert {"PureCC", "DCO", "ClassDiffusion", "SPM", "DPG-T2I"} <= {p.name for p in papers}
    assert (folder / "README.md").read_text(encoding="utf-8") == render(papers)


def test_every_table_of_the_committed_page_is_marked(root: Path) -> None:
    page = (root / "leaderboards" / "papers" / "README.md").read_text(encoding="utf-8").splitlines()
    heads = [page[k - 1] for k, line in enumerate(page) if line.startswith("| --- |")]
    assert len(heads) > 20
    assert [h for h in heads if not h.startswith("| *reported* |")] == []


def test_a_table_says_what_its_lines_and_columns_are_set_beside(tmp_path: Path) -> None:
    columns = [{"metric": "DINO-I", "here": "dino", "better": "higher"}, {"metric": "CLIP-I", "better": "higher"}]
    table = {"columns": columns, "values": {"A + extra": [0.7, 0.8], "B": [0.6, 0.5]}, "here": {"A + extra": "mine"}}
    paper = read_file(_file(tmp_path, table | {"kind": "subject"}), Paper)
    value = Value(value=0.4, low=0.3, high=0.5, n=3, better="higher", checkpoint="j", version=1)
    rows = [
        Row(status="ok", method="mine", model="m", dataset="d", concept="c", kind=kind, protocol="p", seed=0,
            hyperparameters={}, tuned=False, measured={"dino": value.model_copy(update={"value": v})}, anchors={})
        for kind, v in (("subject", 0.4), ("multi", 0.3))
    ]  # fmt: skip
    study: Any = SimpleNamespace(methods={"subject": ["mine"], "multi": ["mine"]}, paper=paper)
    found = reported(study, rows)
    assert [(f.label, f.metric, f.value, f.here, f.name) for f in found] == [
        ("A + extra", "DINO-I", 0.7, pytest.approx(0.4), "dino"), ("A + extra", "CLIP-I", 0.8, None, "")
    ]  # fmt: skip
    with pytest.raises(BenchError, match="here: no line 'C'"):
        read_file(_file(tmp_path, {"here": {"C": "mine"}}), Paper)
