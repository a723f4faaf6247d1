"""Claims: what the rows say of each, and that the committed page is of its rows."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from bench.errors import BenchError
from bench.metric import Derived, Metric
from bench.papers.claims import Claim, Claims, load
from bench.papers.page import boards, render, stored, write
from bench.papers.verdicts import FEWEST, Verdict, judge
from bench.row import Row, Value
from bench.stats import interval

CONCEPTS = ["cat", "cow", "dog", "owl"]
SAID: dict[str, Any] = {
    "id": "a-b", "says": "a beats b", "where": "Table 1", "basis": "reported", "sure": "paper", "task": "subject",
    "method": "a", "against": "b", "metric": "dino", "direction": "greater",
}  # fmt: skip


def _value(value: float) -> Value:
    return Value(value=value, low=value, high=value, n=30, better="higher", checkpoint="judge", version=1)


def _row(method: str, concept: str, seed: int, value: float, **fields: Any) -> Row:
    given = {
        "status": "ok", "method": method, "model": "m", "dataset": "d", "concept": concept, "kind": "subject",
        "protocol": "quick", "seed": seed, "hyperparameters": {}, "tuned": False, "measured": {"dino": _value(value)},
        "anchors": {"none": {"dino": _value(0.1)}},
    }  # fmt: skip
    return Row(**(given | fields))


def _rows(differences: list[float], seeds: int = 2) -> list[Row]:
    """Returns rows of a and b that differ by these, a concept each, around different levels."""
    out = []
    for k, (concept, difference) in enumerate(zip([*CONCEPTS, "pig", "yak"], differences, strict=False)):
        for seed in range(seeds):
            out += [_row("a", concept, seed, 0.2 * k + difference), _row("b", concept, seed, 0.2 * k)]
    return out


def _judge(rows: list[Row], **fields: Any) -> Verdict:
    (verdict,) = judge(Claim(**(SAID | fields)), "m", {("d", "m", "subject", "quick"): rows})
    return verdict


def test_pairs_decide_though_the_concepts_differ_more() -> None:
    verdict = _judge(_rows([0.02, 0.03, 0.04, 0.05]))
    assert verdict.word == "reproduced"
    assert verdict.difference[0] == pytest.approx(0.035)
    assert (len(verdict.concepts), verdict.seeds, verdict.pairs, verdict.side) == (4, 2, 8, 4)
    assert verdict.means == (pytest.approx(0.335), pytest.approx(0.3))


def test_the_other_side_is_not_reproduced() -> None:
    assert _judge(_rows([-0.02, -0.03, -0.04, -0.05])).word == "not reproduced"
    assert _judge(_rows([-0.02, -0.03, -0.04, -0.05]), direction="less").word == "reproduced"
    assert _judge(_rows([0.02, 0.03, 0.04, 0.05]), direction="less").word == "not reproduced"


@pytest.mark.parametrize("differences", [[-0.1, 0.2, -0.1, 0.2], [0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.3]])
def test_an_interval_with_0_in_it_is_undecided(differences: list[float]) -> None:
    verdict = _judge(_rows(differences))
    assert (verdict.word, verdict.why) == ("undecided", "the interval contains 0")


def test_too_few_concepts_decide_nothing_and_are_named() -> None:
    verdict = _judge(_rows([0.3, 0.4, 0.5], seeds=4))
    assert verdict.word == "undecided"
    assert verdict.why == f"3 of at least {FEWEST} concepts: cat, cow, dog"
    assert verdict.difference[1] > 0


def test_an_interval_alone_decides_nothing() -> None:
    """Where the sign-flip test says that chance does as well: here with one of six concepts on the other side."""
    found = _judge(_rows([0.1, 0.1, 0.1, 0.1, 0.1, -0.01]))
    assert found.difference[1] > 0.02 and found.p == pytest.approx(4 / 64)
    assert (found.word, found.why) == ("undecided", "p = 0.06: the concepts are not of one sign")
    found = _judge(_rows([0.1, 0.1, 0.1, 0.1, 0.1, 0.01]))
    assert (found.word, found.p) == ("reproduced", 2 / 64)
    assert _judge(_rows([0.02, 0.03, 0.04, 0.05])).p == 0.125  # the smallest of four concepts


def test_what_diverged_on_a_concept_leaves_no_sample() -> None:
    rows = _rows([0.02, 0.03, 0.04, 0.05])
    lost = [_row("b", "pig", s, 0.0, status="diverged", reason="nan", measured={}) for s in (0, 1)]
    found = _judge(
        [*rows, *lost, _row("a", "pig", 0, 0.1), _row("b", "cat", 2, 0.0, status="failed", reason="x", measured={})]
    )
    assert (found.word, found.why, found.lost) == ("undecided", "no run went well on pig", ("pig",))


def test_only_common_concepts_and_seeds_count() -> None:
    rows = [r for r in _rows([0.02, 0.03, 0.04, 0.05]) if (r.method, r.seed) != ("b", 1)]
    rows += [_row("b", "cat", 7, 99.0), _row("a", "rat", 0, -99.0)]
    verdict = _judge(rows)
    assert (verdict.word, verdict.pairs, verdict.seeds) == ("reproduced", 4, 1)


def test_what_failed_or_stands_on_another_board_does_not_count() -> None:
    rows = _rows([0.02, 0.03, 0.04, 0.05])
    failed = [r.model_copy(update={"status": "failed"}) if r.method == "b" else r for r in rows]
    assert (_judge(failed).word, _judge(failed).why) == ("not measured", "no rows of `b`")
    claim = Claim(**SAID)
    elsewhere = {("d", "other", "subject", "quick"): rows, ("d", "m", "style", "quick"): rows}
    (verdict,) = judge(claim, "m", elsewhere)
    assert (verdict.word, verdict.why) == ("not measured", "no rows of the task subject on m; there are some on other")


def test_a_metric_that_neither_has_is_not_measured() -> None:
    verdict = _judge(_rows([0.1] * 4), metric="drift/class")
    assert verdict.word == "not measured"
    assert "drift/class" in verdict.why


def test_an_anchor_is_taken_from_the_rows_own() -> None:
    verdict = _judge([_row("a", c, 0, 0.5) for c in CONCEPTS], against="none")
    assert (verdict.word, verdict.means) == ("reproduced", (0.5, 0.1))


def test_protocols_and_datasets_are_judged_apart() -> None:
    up, down = _rows([0.02, 0.03, 0.04, 0.05]), _rows([-0.02, -0.03, -0.04, -0.05])
    found = judge(Claim(**SAID), "m", {("d", "m", "subject", "full"): up, ("d", "m", "subject", "quick"): down})
    assert [(v.board[3] if v.board else "", v.word) for v in found] == [
        ("full", "reproduced"), ("quick", "not reproduced")
    ]  # fmt: skip


def test_several_at_once_are_claimed_of_learning_or_of_erasing() -> None:
    leakage = {"leakage/part": _value(0.2), "dino": _value(0.4)}
    erased = [_row(m, c, 0, 0.1, kind="multi", measured=leakage) for m in ("a", "b") for c in CONCEPTS]
    learned = [_row(m, c, 0, 0.1, kind="multi", protocol="full") for m in ("a", "b") for c in CONCEPTS]
    found = boards(erased + learned)
    assert [b[2] for b in found] == ["multi", "multi_erase"]
    (verdict,) = judge(Claim(**(SAID | {"task": "multi"})), "m", found)
    page = render([Claims(about="A", source="B", models=["m"], claims=[verdict.claim])], found)
    assert "(d-m-multi-full/README.md)" in page


def test_one_board_that_measured_it_is_enough_and_none_is_said_once() -> None:
    here = {("d", "m", "subject", p): [_row("a", "cat", 0, 0.5)] for p in ("full", "quick")}
    assert [v.word for v in judge(Claim(**SAID), "m", here)] == ["not measured"]
    here["d", "m", "subject", "quick"] = _rows([0.02, 0.03, 0.04, 0.05])
    assert [v.word for v in judge(Claim(**SAID), "m", here)] == ["reproduced"]


def test_the_order_of_the_rows_changes_nothing() -> None:
    rows = _rows([0.02, -0.03, 0.04, 0.05])
    assert _judge(rows) == _judge(rows[::-1])


def _file(folder: Path, name: str = "x", **fields: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump({"about": "X", "source": "arXiv", "models": ["m"], "claims": [SAID | fields]}))
    return path


@pytest.mark.parametrize(
    ("field", "value"),
    [("direction", "better"), ("metric", "drift/a/b"), ("method", "../a"), ("basis", "true"), ("sure", "x"),
     ("against", "a"), ("says", ""), ("p", 0.05), ("task", 3)],
)  # fmt: skip
def test_a_wrong_claim_is_named_with_its_file(tmp_path: Path, field: str, value: Any) -> None:
    path = _file(tmp_path, **{field: value})
    with pytest.raises(BenchError) as caught:
        load(tmp_path)
    assert str(path) in str(caught.value)
    assert ("claims.0" if field == "against" else f"claims.0.{field}") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_id_is_of_one_claim(tmp_path: Path) -> None:
    first, second = _file(tmp_path, "x"), _file(tmp_path, "y")
    with pytest.raises(BenchError, match="a-b") as caught:
        load(tmp_path)
    assert str(first) in str(caught.value)
    assert str(second) in str(caught.value)


def test_a_wrong_file_writes_nothing_and_no_file_is_no_error(tmp_path: Path) -> None:
    assert write(tmp_path) == []
    (tmp_path / "papers").mkdir()
    _file(tmp_path / "claims", direction="better")
    with pytest.raises(BenchError):
        write(tmp_path)
    assert list(tmp_path.rglob("*.md")) == []


def test_rows_read_already_are_not_read_again(tmp_path: Path) -> None:
    _file(tmp_path / "claims")
    assert write(tmp_path, _rows([0.02, 0.03, 0.04, 0.05])) == [tmp_path / "CLAIMS.md"]
    assert "| **reproduced** |" in (tmp_path / "CLAIMS.md").read_text(encoding="utf-8")


def test_the_page_gives_figures_and_says_what_nobody_measured(tmp_path: Path) -> None:
    _file(tmp_path / "claims", note="on another track")
    _file(tmp_path / "claims", "y", id="c-b", method="c", says="c beats b")
    page = render(load(tmp_path / "claims"), {("d", "m", "subject", "quick"): _rows([0.02, 0.03, 0.04, 0.05])})
    line = next(x for x in page.splitlines() if x.startswith("| A beats b (`a-b`)"))
    assert "| **reproduced** | +0.035 [0.0" in line
    assert "| 0.335, 0.300 | 4 of 4 concepts; 2 seeds, 8 pairs | `dino`: `a` > `b` |" in line
    assert "- `a-b`: on another track." in page
    assert "- C beats b (`c-b`): no rows of `c` on m" in page
    assert "| m | reported | 1 | 0 | 0 | 1 |" in page
    assert "expected |" not in page


def test_what_nobody_claims_is_counted_apart_and_has_no_source_to_be_sure_of(tmp_path: Path) -> None:
    said = {"basis": "expected", "where": "its name", "sure": None}
    _file(tmp_path, **said)
    _file(tmp_path, "y", id="b-a", method="b", against="a", says="b beats a")
    page = render(load(tmp_path), {("d", "m", "subject", "quick"): _rows([0.02, 0.03, 0.04, 0.05])})
    assert "| m | expected | 1 | 0 | 0 | 0 |" in page and "| m | reported | 0 | 1 | 0 | 0 |" in page
    assert "| its name (*expected*) |" in page
    for wrong in ({"sure": None}, {"basis": "expected"}):
        with pytest.raises(BenchError, match="a mark where it is reported or said, none where expected"):
            load(_file(tmp_path / "wrong", **wrong).parent)


def test_runs_that_are_left_out_are_counted() -> None:
    rows = _rows([0.02, 0.03, 0.04, 0.05])
    gone = [_row("b", "cat", 2, 0.0, status="diverged", reason="nan", measured={}), _row("a", "cat", 2, 0.5)]
    bare = [_row(m, "dog", 3, 0.1, measured={"clip_t": _value(0.1)} if m == "a" else {"dino": _value(0)}) for m in "ab"]
    found = _judge([*rows, *gone, *bare, _row("a", "cow", 9, 0.5)])  # the last was run with one of the two alone
    assert (found.pairs, found.left_out) == (8, 2)
    assert _judge(rows).left_out == 0
    alone = [_row("a", c, 0, 0.5) for c in CONCEPTS]
    lost = _row("a", "cat", 1, 0.0, status="diverged", reason="nan", measured={})
    anchored = [_judge([*alone, *more, _row("none", "cat", 0, 0.1)], against="none") for more in ([], [lost])]
    assert [v.left_out for v in anchored] == [0, 1]


def test_a_claim_is_judged_on_its_own_models_and_a_file_has_notes(tmp_path: Path) -> None:
    claims = [Claim(**SAID, models=["m"])]
    rows = {("d", "m", "subject", "quick"): _rows([0.02, 0.03, 0.04, 0.05])}
    page = render([Claims(about="A", source="B", models=["m", "other"], notes=["mind this"], claims=claims)], rows)
    assert "- mind this.\n" in page and "| other |" not in page and "on other" not in page


def test_a_bound_next_to_0_says_on_which_side(tmp_path: Path) -> None:
    _file(tmp_path)
    close = _rows([0.0003] * 4)
    assert "+0.0003 [0.0003, 0.0003]" in render(load(tmp_path), {("d", "m", "subject", "quick"): close})


def test_the_committed_page_is_of_its_rows(root: Path) -> None:
    out = root / "leaderboards"
    assert (out / "CLAIMS.md").read_text(encoding="utf-8") == render(load(out / "claims"), boards(stored(out)))


def test_committed_claims_name_what_there_is(root: Path) -> None:
    methods = {p.stem for p in (root / "conf" / "method").glob("*.yaml")}
    modules = [import_module(f"metrics.{p.stem}") for p in (root / "metrics").glob("[!_]*.py")]
    scores = [s for m in modules for s in vars(m).values() if isinstance(s, Metric | Derived)]
    names = {s.value_name(c) for s in scores for c in s.channels}
    files = load(root / "leaderboards" / "claims")
    claims = [c for f in files for c in f.claims]
    assert len(claims) >= 15
    gates = {"spm-gate-open"}  # a method's rows under another gate go by its name and the gate's
    assert {c.method for c in claims} | {c.against for c in claims} <= methods | gates
    assert {c.metric for c in claims} <= names
    models = {m for f in files for m in [*f.models, *(m for c in f.claims for m in c.models)]}
    assert models <= {p.stem for p in (root / "conf" / "model").glob("*.yaml")}


def test_four_concepts_and_two_seeds_cover() -> None:
    rng, concepts, hits = np.random.default_rng(1), np.repeat(np.arange(4), 2), 0
    for _ in range(400):
        values = np.repeat(rng.normal(size=4), 2) + rng.normal(size=8) * 0.5
        _, low, high = interval(values, concepts, draws=500)
        hits += low <= 0 <= high
    assert hits / 400 == pytest.approx(0.96, abs=0.025)


def test_claims_and_validation_import_no_torch(root: Path) -> None:
    code = "import sys, bench.papers.page, bench.submissions.validate; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=root).returncode == 0
