"""Boards: the rows that count, what a cell says, and that the committed tables are of their rows."""

from __future__ import annotations

import itertools
import math
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from bench.boards import figures, tables
from bench.boards import page as board_page
from bench.boards.analysis import analyse
from bench.boards.leaderboard import collect, enter, read, update
from bench.config import set_apart
from bench.errors import BenchError
from bench.row import Row, Value
from bench.rows.place import board_of


def _value(value: float, better: Any = "higher") -> Value:
    return Value(
        value=value, low=value, high=value, n=30, better=better, checkpoint="judge", version=1, group="fidelity"
    )


def make(method: str = "purecc", concept: str = "cat", seed: int = 0, dino: float = 0.5, **fields: Any) -> Row:
    given = {
        "status": "ok", "method": method, "model": "m", "dataset": "d", "concept": concept, "kind": "subject",
        "protocol": "quick", "seed": seed, "hyperparameters": {}, "tuned": False, "measured": {"dino": _value(dino)},
        "anchors": {"none": {"dino": _value(0.1)}, "references": {"dino": _value(0.9)}}, "cost": {"seconds": 12.4},
        "provenance": {"finished": "2026-11-22T10:00:00+0000"},
    }  # fmt: skip
    return Row(**(given | fields))


def _write(root: Path, row: Row, name: str) -> None:
    (root / name).mkdir(parents=True)
    (root / name / "row.json").write_text(row.model_dump_json())


def render(rows: list[Row]) -> str:
    return tables.render(analyse(rows))


def test_the_best_stands_first_and_anchors_above_all() -> None:
    page = render([make("worse", dino=0.3), make("better", dino=0.8), make("none", dino=0.1)])
    lines = [line for line in page.partition("## ")[0].splitlines() if line.startswith("|")]
    assert [line.split("|")[1].strip() for line in lines[2:]] == [
        "*untouched model*", "*the references*", "`better`", "`worse`"
    ]  # fmt: skip
    assert "| dino ↑ |" in lines[0]
    assert lines[4].startswith("| `better` | 0.800 |  | 12 |  |  | 1/1 |")


def test_what_a_method_cost_is_what_its_training_asked_for_and_its_fastest_run() -> None:
    """A pass with gradient is three; a machine that was busy meanwhile made no method dearer."""
    said = {"forward_images": 100.0, "grad_forward_images": 50.0}
    rows = [make("a", c, cost=said | {"seconds": s}) for c, s in (("cat", 90.0), ("cow", 10.0))]
    rows += [make("b", "cat", cost={"seconds": 20.0})]
    board = analyse(rows)
    spent = {c: dict(zip(board.cells.methods, board.values[c][0], strict=True)) for c in ("passes", "seconds")}
    assert spent["seconds"] == {"a": 10.0, "b": 20.0}
    assert spent["passes"]["a"] == 250.0 and math.isnan(spent["passes"]["b"])


def test_what_lacks_the_first_column_stands_last() -> None:
    page = render([make("unmeasured", measured={"clip_t": _value(0.9)}), make("poor", dino=0.01)])
    assert page.index("`poor`") < page.index("`unmeasured`")


def test_what_lacks_a_concept_stands_below_and_says_so() -> None:
    rows = [make(m, c, dino=d) for m, d in (("poor", 0.3), ("good", 0.5)) for c in ("cat", "cow", "dog")]
    rows += [make("easy", "cat", dino=0.9), make("good", "pig", status="failed", reason="no", measured={})]
    page = render(rows)
    assert page.index("`good`") < page.index("`poor`") < page.index("`easy`")
    assert "| 1/1, 1 of 3 concepts |" in page and page.count("of 3 concepts |") == 1  # nobody has the fourth
    assert "stands below" in page and "stands below" not in render(rows[:6])


def test_a_concept_of_its_own_makes_no_method_the_first() -> None:
    rows = [make(m, c, dino=d) for m, d in (("poor", 0.3), ("good", 0.5)) for c in ("cat", "cow", "dog")]
    more = [make("more", c, dino=0.2) for c in ("cat", "cow", "dog", "pig")]
    page = render(rows + more)
    assert page.index("`good`") < page.index("`poor`") < page.index("`more`") and "stands below" not in page
    page = render([*rows, make("alone", "pig", dino=0.99)])
    assert page.index("`poor`") < page.index("`alone`") and "| 1/1, 0 of 3 concepts |" in page


def test_a_value_of_few_concepts_says_so() -> None:
    rows = [make(m, c) for m in ("a", "b") for c in ("cat", "cow", "dog")]
    both = {"dino": _value(0.5), "clip_t": _value(0.3)}
    page = render([*rows[:2], make("a", "dog", measured=both), *rows[3:]])
    assert "| `a` | 0.500 [0.50, 0.50] | 0.300 (1 of 3) |" in page and "(1 of 3), is a mean" not in page
    assert "that many of the method's concepts" in page and "that many of" not in render(rows)
    younger = [make("a", c, seed=1, measured=both) for c in ("cat", "cow", "dog")]
    page = render([*rows, *younger])  # a metric that is younger than the first seed
    assert "| `a` | 0.500 [0.50, 0.50] | 0.300 [0.30, 0.30] (3 of 6 runs) |" in page
    looked_at = board_page.render(analyse([*rows[:2], make("a", "dog", measured=both), *rows[3:]]), Path("none"))
    assert "<small> (1 of 3)</small>" in looked_at


def test_no_single_row_moves_an_anchor() -> None:
    rows = [make(m, c) for m in ("b", "c") for c in ("cat", "cow")]
    odd = {"none": {"dino": _value(0.95)}, "references": {"dino": _value(0.9)}}
    board = analyse([make("a", "cat", anchors=odd), make("a", "cow", anchors=odd), *rows])
    assert board.anchors["none"]["dino"][0][0] == pytest.approx(0.1)


def test_what_had_been_learned_is_another_with_each_seed() -> None:
    """Before it was erased: of two trainings neither is the other, and the order of the rows is no reason."""
    rows = []
    for m, seed in itertools.product("abc", (0, 1)):
        odd = 0.01 * (m == "a" and seed == 0)  # one that rounds otherwise
        learned = {"learned": {"dino": _value(0.2 + 0.4 * seed + odd)}}
        rows += [make(m, c, seed=seed, anchors=learned, dino=0.5 + 0.1 * seed) for c in ("cat", "cow")]
    for order in (rows, rows[::-1]):
        board = analyse(order)
        assert board.cells.anchors["learned"]["dino"] == pytest.approx(np.array([[0.2, 0.6], [0.2, 0.6]]))
        assert board.anchors["learned"]["dino"][0][0] == pytest.approx(0.4)


def test_the_first_columns_few_easy_concepts_top_no_board() -> None:
    measured = {"dino": _value(0.5), "clip_t": _value(0.5)}
    rows = [make("honest", c, measured=measured) for c in ("cat", "cow", "dog")]
    rows += [make("cherry", c, measured={"clip_t": _value(0.4)}) for c in ("cow", "dog")]
    rows += [make("cherry", "cat", measured=measured | {"dino": _value(0.9)})]
    board = analyse(rows)
    assert board.cells.methods == ["honest", "cherry"]
    page = board_page.render(board, Path("none"))
    assert page.count(" data-few>") == 1  # and stays last when the page is sorted by it


def test_lower_is_better_where_it_is() -> None:
    rows = [make(m, kind="erase", measured={"leakage": _value(v, "lower")}) for m, v in (("a", 0.9), ("b", 0.1))]
    assert render(rows).index("`b`") < render(rows).index("`a`")


def test_a_cell_is_the_mean_over_concepts_and_seeds() -> None:
    values = [("cat", 0, 0.2), ("cat", 1, 0.4), ("dog", 0, 0.9), ("dog", 1, 0.7)]
    found = analyse([make(concept=c, seed=s, dino=v) for c, s, v in values])
    mean, low, high = (float(v[0]) for v in found.values["dino"])
    assert mean == pytest.approx(0.55)
    assert low < 0.4 < 0.7 < high


def test_a_concept_with_more_seeds_weighs_no_more() -> None:
    rows = [make(concept="cat", seed=s, dino=0.2) for s in range(3)] + [make(concept="dog", dino=0.8)]
    assert "| 0.500 [" in render(rows)


def test_what_failed_is_listed_and_in_no_mean() -> None:
    page = render([make(dino=0.6), make(seed=1, status="diverged", reason="the loss of step 3 is nan", measured={})])
    assert "| 0.600 |" in page
    assert "| 1/2 |" in page
    assert "- `purecc` on cat, seed 1: diverged, the loss of step 3 is nan" in page


def test_a_board_of_one_run_claims_no_certainty(tmp_path: Path) -> None:
    rows = [make("a", measured={"dino": _value(0.7, "higher"), "clip_t": _value(0.3, "higher")})]
    rows += [make("b", measured={"dino": _value(0.6, "higher"), "clip_t": _value(0.2, "higher")})]
    board = analyse(rows)
    page = tables.render(board)
    assert "1 concept: " in page and "One concept says nothing" in page and "1 concepts" not in page
    assert "| `a` | 0.700 | 0.300 |" in page and "| `b` | 2 | 2 |" in page
    assert re.search(r"\| `a` \| [\d.]+ \|", page.partition("## Fronts")[2])  # on the front, with no share
    assert "nan" not in page.lower().replace("anchor", "")
    figures.write(board, tmp_path)
    text = board_page.render(board, tmp_path)
    assert "One concept says nothing" in text and "NaN" not in text.partition('id="data">')[2].partition("</script>")[0]


def test_nan_is_no_value() -> None:
    with pytest.raises(ValidationError):
        _value(float("nan"))


SET_APART = [
    "method.eta=3", "tuned=none", "model.steps=2", "protocol.seeds.concept=1", "dataset.path=/mine",
    "'protocol.metrics=[metrics.dino.dino]'", "model.path=/mine", "+dataset.novel=",
    "model.name=sticker-unet", "model.path=/mine model.name=sticker-flow", "protocol=full protocol.name=quick",
    "~protocol.attacks", "~method.lr", "'++model={steps: 2}'", "'++protocol={seeds: {concept: 1}}'", "++method={lr: 1}",
    "customizer=dco",
]  # fmt: skip


@pytest.mark.parametrize(
    "said",
    ["+method=purecc protocol.seeds.concept=1 protocol.name=mine", "dataset=folder dataset.path=/photos",
     "+method._target_=crayons.Crayon", "dataset.path=/mine dataset.name=mine", "model=sdxl model.path=/models/sdxl",
     "dataset=dreambooth dataset.pictures=/photos", "model.dtype=bfloat16",
     "customizer=dreambooth_lora"],
)  # fmt: skip
def test_what_has_a_name_of_its_own_has_a_board(said: str) -> None:
    assert set_apart(said.split()) == []


def test_the_later_of_two_runs_counts_and_other_protocols_do_not(tmp_path: Path) -> None:
    _write(tmp_path / "runs", make(dino=0.2), "one")
    _write(tmp_path / "runs", make(dino=0.7, provenance={"finished": "2026-11-22T11:00:00+0000"}), "two")
    _write(tmp_path / "runs", make(dino=0.9, protocol="tune"), "three")
    for name, said in enumerate(SET_APART):
        by_hand = {"command": f"python -m bench +method=purecc {said}", "finished": "2026-11-22T12:00:00+0000"}
        _write(tmp_path / "runs", make(dino=0.95, provenance=by_hand), f"apart {name}")
    (tmp_path / "runs" / "four").mkdir()
    (tmp_path / "runs" / "four" / "row.json").write_text("{}")
    rows = collect([tmp_path / "runs"])
    folders = enter(tmp_path / "boards", rows)
    assert [f.name for f in folders] == ["d-m-subject"]
    (row,) = read(folders[0])
    assert row.measured["dino"].value == 0.7
    assert update(tmp_path / "boards", []) == folders  # rendering alone keeps what is there
    assert board_of(row) == "d-m-subject"
    assert board_of(make(protocol="full")) == "d-m-subject-full"


def test_an_erasing_run_that_failed_stands_on_the_board_it_would_have() -> None:
    lost = {"status": "diverged", "reason": "nan", "measured": {}, "unmeasured": {"leakage": "the run has no pictures"}}
    assert board_of(make("esd", kind="multi", **lost)) == "d-m-multi_erase"


def test_several_at_once_are_learned_on_one_board_and_erased_on_another() -> None:
    assert board_of(make(kind="multi")) == "d-m-multi"
    erased = make("esd", kind="multi", measured={"leakage/part": _value(0.2, "lower")})
    assert board_of(erased) == "d-m-multi_erase"
    assert "| leakage/part ↓ |" in render([erased])


def test_rows_and_pictures_of_one_board_come_onto_another(tmp_path: Path, root: Path) -> None:
    """What one would do to see a run of one's own among those that are published."""
    published = root / "leaderboards" / "stickers-sticker-flow-subject"
    _write(tmp_path / "runs", make("mine", "whole_cat", dataset="stickers", model="sticker-flow"), "one")
    (folder,) = enter(tmp_path / "boards", collect([published, tmp_path / "runs"]))
    methods = {r.method for r in read(folder)}
    assert methods == {r.method for r in read(published)} | {"mine"}
    strips_there = {p.name: p.read_bytes() for p in (published / "pictures").iterdir()}
    assert {p.name: p.read_bytes() for p in (folder / "pictures").iterdir()} == strips_there


def test_a_row_brings_a_strip_of_its_pictures(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    drawn = runs / "store" / "generate" / ("1" * 16)
    drawn.mkdir(parents=True)
    for prompt, grey in (("concept-00", 40), ("concept-02", 120), ("unrelated-00", 200)):
        for seed in (0, 1):
            Image.new("L", (48, 48), grey + seed).save(drawn / f"{prompt}-{seed}.png")
    _write(runs / "purecc", make(fingerprints={"generate": "1" * 16}), "one")
    _write(runs / "other", make("other", fingerprints={"generate": "2" * 16}), "one")
    (folder,) = enter(tmp_path / "boards", collect([runs]))
    (path,) = (folder / "pictures").iterdir()
    assert path.name == "purecc-cat-seed0.webp"
    with Image.open(path) as strip:
        assert strip.size == (3 * 64, 64)
        greys = [strip.convert("L").getpixel((64 * k + 32, 32)) for k in range(3)]
    assert greys == pytest.approx([40, 120, 200], abs=3)  # the first seeds, in the order of channels


def test_nothing_is_written_or_read_by_a_name_that_leaves_the_boards(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    inside, out = tmp_path / "in" / "a", tmp_path / "out"
    (inside / "rows").mkdir(parents=True)
    (inside / "pictures").mkdir()
    Image.new("RGB", (8, 8)).save(inside / "pictures" / "purecc-cat-seed0.webp")
    half = {"command": "python -m bench '+method=x"}
    for odd, says in (({"dataset": "../escaped/d"}, "would be right"), ({"provenance": half}, "quotation"),
                      ({"fingerprints": {"generate": "../../../secret"}}, "would be right")):  # fmt: skip
        (inside / "rows" / "r.json").write_text(make(**odd).model_dump_json())
        assert collect([tmp_path / "in"]) == {}  # the others go on
        assert "r.json" in caplog.messages[-1] and says in caplog.messages[-1]
        if says != "quotation":
            with pytest.raises(BenchError, match=says):
                enter(out, {inside / "rows" / "r.json": make(**odd)})
    assert not out.exists() and not (tmp_path / "escaped").exists()


def test_a_run_whose_cost_is_no_number_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    _write(tmp_path, make("odd"), "odd")
    _write(tmp_path, make("good"), "good")
    path = tmp_path / "odd" / "row.json"
    path.write_text(path.read_text().replace("12.4", "NaN"))
    assert [r.method for r in collect([tmp_path]).values()] == ["good"]
    assert "odd" in caplog.text and "cost.seconds=nan" in caplog.text


def test_the_last_is_the_last_wherever_its_clock_stood() -> None:
    early, late = ({"finished": f"2026-11-22T{t}"} for t in ("10:00:00+0200", "09:30:00+0000"))
    for rows in ([make(dino=0.2, provenance=early), make(dino=0.6, provenance=late)],
                 [make(dino=0.6, provenance=late), make(dino=0.2, provenance=early)]):  # fmt: skip
        assert "| `purecc` | 0.600 |" in render(rows)


def test_a_row_counts_once_and_as_it_finished_last() -> None:
    later = {"finished": "2026-11-22T11:00:00+0000"}
    rows = [make(dino=0.2), make(dino=0.6, provenance=later), make("other", dino=0.3), make(dino=0.2)]
    found = analyse(rows)
    assert len(found.rows) == 2
    assert found.cells.methods == ["purecc", "other"]
    assert found.values["dino"][0].tolist() == [0.6, 0.3]


def test_differences_are_told_with_their_p() -> None:
    rows = [make("dreambooth_lora", c, dino=0.5) for c in "abcdefgh"] + [make("a", c, dino=0.7) for c in "abcdefgh"]
    page = render(rows)
    assert "## Against `dreambooth_lora`" in page
    assert "| `a` | **+0.200 [0.20, 0.20] p 0.01** |" in page
    assert "With 8 concepts no p can be below 0.00781" in page
    assert "## Against" not in render(rows[8:])


def test_what_is_no_row_is_named(tmp_path: Path) -> None:
    (tmp_path / "rows").mkdir()
    (tmp_path / "rows" / "x.json").write_text(make().model_dump_json().replace('"value":0.5', '"value":NaN'))
    with pytest.raises(BenchError, match=r"x\.json: measured\.dino\.value: .*finite"):
        read(tmp_path)


@pytest.mark.parametrize("field", ["method", "concept", "model"])
def test_names_stay_in_the_board(tmp_path: Path, field: str) -> None:
    row = make().model_copy(update={field: "../../x"})
    with pytest.raises(BenchError, match="letters, digits"):
        update(tmp_path / "boards", [make("fine"), row])
    assert list(tmp_path.iterdir()) == []  # nothing of the others either


def test_what_a_row_says_is_no_markdown() -> None:
    reason = "a|b `c` <img src=x onerror=alert(1)>\n# head [l](u)"
    page = render([make("<img src=x onerror=alert(1)>|`", dino=0.6), make(seed=1, status="failed", reason=reason)])
    assert "<img" not in page
    assert "\n# head" not in page
    assert r"a\|b \`c\` &lt;img src=x onerror=alert(1)&gt; # head \[l\](u)" in page
    lengths = {line.replace(r"\|", "").count("|") for line in page.partition("## ")[0].splitlines() if line[:2] == "| "}
    assert len(lengths) == 1


def test_figures_are_drawn_only_where_they_changed(tmp_path: Path) -> None:
    def given(shift: float) -> list[Row]:
        values = {"a": (0.5 + shift, 0.5), "b": (0.6, 0.4)}
        return [make(m, c, measured={"dino": _value(d), "clip_t": _value(t)})
                for m, (d, t) in values.items() for c in ("cat", "dog")]  # fmt: skip

    first = figures.write(analyse(given(0.0)), tmp_path)
    assert {p.name for p in first} >= {"fidelity-and-prompt-following.svg", "fidelity-and-cost.svg"}
    before = {p: p.read_bytes() for p in first}
    assert figures.write(analyse(given(0.0)), tmp_path) == []
    for path in first:
        path.unlink()
    figures.write(analyse(given(0.0)), tmp_path)
    assert {p: p.read_bytes() for p in first} == before
    moved = figures.write(analyse(given(0.01)), tmp_path)
    assert tmp_path / "fronts" / "prompt-following-and-cost.svg" not in moved
    assert tmp_path / "fronts" / "fidelity-and-prompt-following.svg" in moved


@pytest.mark.parametrize(
    "rows",
    [
        [make("none")],
        [make()],
        [make(status="failed", reason="no", measured={}, cost={})],
        [make(kind="unheard_of")],
        [make(cost={}), make("b", "dog", measured={}, anchors={})],
        [make(measured={}, anchors={}), make("dreambooth_lora")],
    ],
    ids=["anchor", "one", "failed", "kind", "disjoint", "unmeasured"],
)
def test_a_board_may_hold_next_to_nothing(rows: list[Row], tmp_path: Path) -> None:
    for folder in update(tmp_path, rows):
        assert (folder / "README.md").read_text().startswith(f"# {rows[0].kind} on d, m")
        assert (folder / "index.html").is_file()


def test_the_order_of_rows_changes_nothing() -> None:
    rows = [make(m, c, s, dino=(7 * len(m) + 3 * s + ord(c)) % 10 / 10)
            for m in ("a", "bb", "ccc") for c in "xyz" for s in (0, 1)]  # fmt: skip
    pages = [(render(r), board_page.render(analyse(r), Path("none"))) for r in (rows, rows[::-1])]
    assert pages[0] == pages[1]


def test_committed_boards_are_of_their_rows(root: Path) -> None:
    boards = [p.parent for p in (root / "leaderboards").glob("*/rows")]
    assert boards
    for folder in boards:
        found = analyse(read(folder))
        assert (folder / "README.md").read_text(encoding="utf-8") == tables.render(found), folder
        page = board_page.render(found, folder / "pictures")
        assert (folder / "index.html").read_text(encoding="utf-8") == page, folder
        assert {p.name: _key(p) for p in (folder / "fronts").glob("*.svg")} == {
            Path(figures.path_of(f.name)).name: figures.key(figures.describe(found, f)) for f in found.fronts
        }, folder


def _key(figure: Path) -> str:
    return figure.read_text(encoding="utf-8").partition("<!-- ")[2].partition(" -->")[0]


def test_rendering_imports_nothing_heavy(root: Path) -> None:
    code = """
import sys
from pathlib import Path
from bench.boards import page as board_page, tables
from bench.boards.analysis import analyse
from bench.boards.leaderboard import read
board = analyse(read(next(p.parent for p in Path("leaderboards").glob("*/rows"))))
tables.render(board), board_page.render(board, Path("none"))
sys.exit(" ".join(sorted({"torch", "matplotlib", "pandas", "scipy"} & set(sys.modules))) or 0)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert done.stderr.strip() == ""
    assert done.returncode == 0
