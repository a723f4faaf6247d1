"""FINDINGS.md: its figures are the rows', and a figure that no row has is refused."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from bench.boards.analysis import analyse
from bench.boards.findings import PAGE, SOURCE, Figures, render, write
from bench.boards.leaderboard import read, update
from bench.errors import BenchError
from bench.row import Row
from tests.test_leaderboard import make

DINO = {"better": {"cat": (0.7, 0.9), "cow": (0.5, 0.5)}, "dreambooth_lora": {"cat": (0.4, 0.4), "cow": (0.05, 0.3)}}


def rows() -> list[Row]:
    found = [
        make(method, concept, seed, value)
        for method, own in DINO.items()
        for concept, values in own.items()
        for seed, value in enumerate(values)
    ]
    return [*found, make("better", "pig", status="diverged", reason="nan", measured={})]


@pytest.fixture
def out(tmp_path: Path) -> Path:
    update(tmp_path, rows())
    return tmp_path


def test_a_figure_is_what_its_name_says() -> None:
    board = Figures(analyse(rows()))
    assert board.mean("dino", "better") == pytest.approx(0.65)
    assert board.anchor("dino") == pytest.approx(0.1)
    assert board.of("dino", "better", "cat") == pytest.approx(0.8)
    assert (board.least("dino"), board.most("dino")) == pytest.approx((0.2875, 0.65))
    assert board.most("dino", board.others("better")) == pytest.approx(0.2875)
    assert board.worst("dino", ["better"]) == pytest.approx(0.8)
    assert board.paired("dino", "better").startswith("+0.362")
    assert board.value("dino", "better").startswith("0.650")
    assert board.risen("dino") == "7 of 8"  # all but the cow's first
    assert board.apart("dino", "better") == pytest.approx((0.2 + 0.0) / 2)
    assert board.apart("dino", "dreambooth_lora") == pytest.approx((0.0 + 0.25) / 2)
    assert board.ends("dino", "better", "cat") == "0.70 and 0.90"
    assert board.bad("better") == "1 of 5"
    assert board.over("dino", "better", "dreambooth_lora") == board.paired("dino", "better")
    assert board.over("dino", "better", "none").startswith("+0.550")
    assert (board.concepts, board.seeds, board.runs) == (2, 2, 8)  # no run on the pig went well
    assert board.seen("better") == 2
    assert board.shared("dino", "better", "dreambooth_lora") == pytest.approx(0.65)
    assert board.p("dino", "better") == "p = 0.500"  # the best that two concepts can have


def test_seeds_lie_no_further_apart_because_there_are_more() -> None:
    rng = np.random.default_rng(0)
    few = [make("a", f"c{k}", s, float(v)) for k in range(400) for s, v in enumerate(rng.normal(size=3))]
    assert Figures(analyse(few)).apart("dino", "a") == pytest.approx(2 / np.sqrt(np.pi), rel=0.06)
    assert Figures(analyse([r for r in few if r.seed < 2])).apart("dino", "a") == pytest.approx(1.128, rel=0.08)


def test_two_are_compared_on_what_both_have() -> None:
    """A method of hard concepts is not held against another's easy ones."""
    board = Figures(analyse([*rows(), make("hard", "cow", 0, 0.45)]))
    assert board.shared("dino", "better", "hard") == pytest.approx(0.5)
    assert board.apart("dino", "better") == pytest.approx(0.1)
    assert board.mean("dino", "better") == pytest.approx(0.65)


def test_the_page_is_its_words_with_the_figures_in_them(out: Path) -> None:
    assert write(out) == []
    name = next(p.parent.name for p in out.glob("*/rows"))
    figures = '{{ b.mean("dino", "better")|f2 }}, {{ b.mean("dino", "better")|share }} in 100'
    (out / SOURCE).write_text(f'{{% set b = board("{name}") %}}\nIt has {figures}.\n')
    assert write(out) == [out / PAGE]
    assert (out / PAGE).read_text() == "It has 0.65, 65 in 100.\n"


@pytest.mark.parametrize(
    "asked",
    ['b.mean("dino", "nobody")', 'b.mean("clip_t", "better")', 'b.of("dino", "better", "sow")', "c.mean", "b.mean("],
)
def test_a_figure_that_is_not_there_is_refused(asked: str, out: Path) -> None:
    name = next(p.parent.name for p in out.glob("*/rows"))
    (out / SOURCE).write_text(f'{{% set b = board("{name}") %}}{{{{ {asked} }}}}')
    with pytest.raises(BenchError, match=SOURCE) as said:
        render(out)
    assert len(str(said.value).splitlines()) == 1


def test_words_run_no_code(out: Path) -> None:
    (out / SOURCE).write_text("{{ board.__wrapped__.__globals__ }}")
    with pytest.raises(BenchError, match="unsafe"):
        render(out)


def test_the_committed_page_has_the_figures_of_the_committed_rows() -> None:
    folder = Path(__file__).parent.parent / "leaderboards"
    assert (folder / PAGE).read_text(encoding="utf-8") == render(folder)


def test_the_table_of_the_readme_is_of_the_committed_rows() -> None:
    root = Path(__file__).parent.parent
    board = read(root / "leaderboards" / "stickers-sticker-flow-subject")
    rows = {(r.method, r.concept): r for r in board if r.seed == 0}
    said = re.findall(r"^\| (\w+) \| (-?[\d.]+) \| ([\d.]+ \[.*?\]) \| ([\d.]+ \[.*?\]) \| ([\d.]+) \|$",
                      (root / "README.md").read_text(encoding="utf-8"), re.MULTILINE)  # fmt: skip
    assert len(said) == 6
    for concept, untouched, lora, purecc, references in said:
        ours = [rows[method, concept].measured["dino"] for method in ("dreambooth_lora", "purecc")]
        assert [f"{v.value:.3f} [{v.low:.3f}, {v.high:.3f}]" for v in ours] == [lora, purecc]
        anchors = rows["purecc", concept].anchors
        assert [f"{anchors[a]['dino'].value:.3f}" for a in ("none", "references")] == [untouched, references]
