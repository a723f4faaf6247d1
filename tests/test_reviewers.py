"""What a reviewer asks: what a run would take, its page again, two runs against each other, a paper's claims here."""

from __future__ import annotations

import dataclasses
import json
import logging
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean

import pytest
from browser import CHROMIUM, Browser, browser
from test_report import Page
from tiny import run_args, unet_folder

from bench.__main__ import main
from bench.compare.differences import Difference, differences
from bench.compare.show import costs, split, told
from bench.compare.sides import Side, class_phrase, side, told_apart
from bench.errors import BenchError
from bench.papers import reproduce
from bench.papers.reported import factor, reported
from bench.papers.reproduce import studies
from bench.row import Row, Value
from bench.values import entry

SECOND = ["+method=custom_diffusion", "concept=poodle"]
ATTACKS = ("protocol.attacks={words: {length: 1, seeds: 1}, prefix: {length: 1, steps: 1, seeds: 1}, "
           "inversion: {steps: 1, seeds: 1}}")  # fmt: skip
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unet_folder(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture(scope="module")
def erasing(model: Path) -> list[str]:
    """A run with every kind of stage but a composite's."""
    metrics = "protocol.metrics=[metrics.dino.dino,metrics.clip_t.clip_t,metrics.detection.detected]"
    seeds = "protocol.seeds={concept: 1, class: 0, neighbour: 1, unrelated: 0, empty: 0}"
    return ["+method=esd", "concept=erase_cat", *run_args(model, 1)[:4], metrics, seeds, ATTACKS, "method.steps=1"]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, model: Path, erasing: list[str]) -> Path:
    """Two methods on one concept, one of them on another too, and an erasure."""
    folder = tmp_path_factory.mktemp("runs") / "runs"
    for args in (["-m", "+method=dreambooth_lora", "concept=poodle,racing_car", *run_args(model)],
                 [*SECOND, *run_args(model)], erasing):  # fmt: skip
        assert main([*args, f"root={folder}"]) == 0
    return folder


def run_of(root: Path, name: str) -> Path:
    (found,) = root.glob(f"{name}-*")
    return found


def one_line(capsys: pytest.CaptureFixture[str], args: list[str]) -> str:
    """Returns the error of a request that is wrong."""
    assert main(args) == 2
    captured = capsys.readouterr()
    (line,) = captured.err.splitlines()
    assert line.startswith("error: ") and captured.out == ""
    return line


# --- plan ------------------------------------------------------------------------------------------


def table(text: str) -> dict[str, list[int]]:
    """Returns what → in all, there and left."""
    found = re.findall(r"^(trainings|pictures of .*?|searches of attacks|judgings) +(\d+) +(\d+) +(\d+)", text, re.M)
    return {name: list(map(int, rest)) for name, *rest in found}


def test_a_finished_run_has_nothing_left(root: Path, erasing: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Every stage the run made is known to the forecast by its key, those of the attacks too.

    What a training asks of the untouched model is in the time that trainings took.
    """
    assert main(["plan", *erasing, f"root={root}"]) == 0
    out = capsys.readouterr().out
    assert "1 run, 1 of them there already" in out and "nothing is left to make" in out
    found = table(out)
    assert found["searches of attacks"][0] == 4 + 2 * 5  # and on both models a word for each thing that none knows
    assert [left for *_, left in found.values()] == [0] * 5
    stages = ("attack", "base", "generate", "train", "score")
    log = [json.loads(line) for line in (root / "store" / "log.jsonl").read_text().splitlines()]
    assert {e["stage"] for e in log} == {*stages, "imagined"}


def test_the_forecast_counts_what_a_run_then_makes(
    erasing: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], root: Path
) -> None:
    args = [*erasing, "seed=1", f"root={tmp_path / 'runs'}"]
    assert main(["plan", *args]) == 0
    asked = table(capsys.readouterr().out)
    assert not (tmp_path / "runs").exists()
    shutil.copytree(root, tmp_path / "runs")
    assert main(["plan", *args]) == 0
    shared = table(capsys.readouterr().out)
    assert shared["pictures of the untouched model"][2] == 0  # no seed of training changes them
    assert shared["pictures of the methods"][2] == asked["pictures of the methods"][0]
    before = len(list((tmp_path / "runs").glob("store/*/*/*.png")))
    assert main(args) == 0
    assert len(list((tmp_path / "runs").glob("store/*/*/*.png"))) - before == asked["pictures of the methods"][0]
    assert asked["pictures of the untouched model"][0] == shared["pictures of the untouched model"][1]


def test_what_a_sweep_shares_is_counted_once(
    root: Path, model: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    args = ["plan", "-m", "+method=dreambooth_lora,none", "concept=poodle", "seed=0,1", *run_args(model)[:-1]]
    assert main([*args, f"root={tmp_path / 'none'}"]) == 0
    found = table(capsys.readouterr().out)
    assert found["trainings"][0] == 4 and found["judgings"][0] == 4
    assert found["pictures of the methods"][0] == 4 * found["pictures of the untouched model"][0]


def test_the_source_of_an_estimate_is_said(
    root: Path, model: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    args = ["plan", "+method=dreambooth_lora", "concept=poodle", "seed=7", *run_args(model)]
    assert main([*args, f"root={root}"]) == 0
    here = capsys.readouterr().out
    assert re.search(rf"training dreambooth_lora: 2 rows, \d+ to \d+ s \({re.escape(str(root))}\)", here)
    assert "timed stages of tiny" in here and "An estimate" in here
    assert main([*args, f"root={tmp_path}"]) == 0
    elsewhere = capsys.readouterr().out
    assert "the boards that are shipped, on another model: a rough guess" in elsewhere


def test_a_plan_takes_the_words_of_a_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "+method=none", "-m", "concept=poodle", "seed=0,1"]) == 0
    assert "2 runs" in capsys.readouterr().out


def test_planning_imports_nothing_heavy(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom bench.__main__ import main\n"
        f"assert main(['plan', '+method=purecc', 'concept=subject:all', 'root={tmp_path}/x', '-m']) == 0\n"
        "assert not {'torch', 'diffusers', 'transformers', 'peft', 'pandas', 'open_clip'} & set(sys.modules)\n"
    )
    here = Path(__file__).parent.parent
    done = subprocess.run([sys.executable, "-c", code], cwd=here, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["+method=purec"], "purecc"),
        (["+method=esd", "concept=poodle"], "serves erase"),
        (["+method=uce", "concept=erase_cat"], "sticker-flow is flow"),
        (["+method=purecc", "+method.lrr=1"], "no field 'lrr'"),
        (["+method=purecc", "concept=dragon"], "dragon"),
    ],
)
def test_a_plan_that_cannot_be_met_is_refused(args: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert says in one_line(capsys, ["plan", *args])


# --- a run that says what it does ------------------------------------------------------------------


def test_a_run_says_each_stage_and_where_to_look(
    model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    args = [*SECOND, *run_args(model), f"root={tmp_path}"]
    with caplog.at_level(logging.INFO, "bench"):
        assert main(args) == 0
    said = [r.getMessage() for r in caplog.records]
    assert said[0] == "custom_diffusion on poodle (tiny, seed 0): 4 stages, 0 of them there already"
    stages = [s.partition(":")[0] for s in said if re.match(r"(train|generate|score): ", s)]
    assert stages == ["train", "generate", "generate", "score"]
    assert any(s.startswith("train: custom_diffusion learns poodle on tiny, 5 reference pictures") for s in said)
    assert "look at" in capsys.readouterr().out


# --- report ----------------------------------------------------------------------------------------


def test_a_page_comes_out_again_as_it_was(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Also that of an erasure with its attacks: all is in the store."""
    for name in ("dreambooth_lora/poodle", "esd/erase_cat"):
        run = run_of(root, name)
        out = tmp_path / f"{run.name}.html"
        assert main(["report", str(run), "--out", str(out)]) == 0
        assert capsys.readouterr().out == f"{out}\n"
        said = (run / "report.html").read_text()
        assert out.read_text() == said
        assert ("The attacks" in said) == ("erase" in name)


def test_a_page_of_a_store_that_has_lost_an_attack_says_so(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(root, tmp_path / "runs")
    shutil.rmtree(tmp_path / "runs" / "store" / "attack")
    (tmp_path / "runs" / "store" / "attack").mkdir()
    run = run_of(tmp_path / "runs", "esd/erase_cat")
    assert main(["report", str(run)]) == 0
    page = Page((run / "report.html").read_text())
    assert "The attacks" not in page.text and page.images
    assert "left out" in caplog.text
    assert list((tmp_path / "runs" / "store" / "attack").iterdir()) == []  # nothing was made


def test_an_attack_that_is_not_whole_is_left_out(root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    shutil.copytree(root, tmp_path / "runs")
    next(p for p in (tmp_path / "runs" / "store" / "generate").glob("*/novelty-*.png")).unlink()
    run = run_of(tmp_path / "runs", "esd/erase_cat")
    assert main(["report", str(run)]) == 0
    text = (run / "report.html").read_text()
    assert 'id="channel-prefix"' in text and 'id="channel-novelty"' not in text and "left out" in caplog.text


def test_a_page_of_before_the_control_had_a_key_of_its_own_shows_the_rest(
    root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(root, tmp_path / "runs")
    path = run_of(tmp_path / "runs", "esd/erase_cat") / "row.json"
    row = json.loads(path.read_text())
    row["fingerprints"] = {k: v for k, v in row["fingerprints"].items() if not k.startswith("novelty")}
    path.write_text(json.dumps(row))
    assert main(["report", str(path)]) == 0
    text = path.with_name("report.html").read_text()
    assert 'id="channel-inversion"' in text and 'id="channel-novelty"' not in text
    assert "of an earlier kind, is left out" in caplog.text


def test_a_page_shows_what_the_row_was_made_from_not_what_the_code_would_make_now(root: Path, tmp_path: Path) -> None:
    shutil.copytree(root, tmp_path / "runs")
    path = run_of(tmp_path / "runs", "dreambooth_lora/poodle") / "row.json"
    row = json.loads(path.read_text())
    store, old = tmp_path / "runs" / "store" / "generate", "f" * 16
    (store / row["fingerprints"]["generate"]).rename(store / old)
    row["fingerprints"]["generate"] = old
    path.write_text(json.dumps(row))
    assert main(["report", str(path)]) == 0
    page = Page(path.with_name("report.html").read_text())
    assert [i for i in page.images if i["alt"].startswith("customized, seed 0")]


def test_what_is_no_run_has_no_page(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "row.json" in one_line(capsys, ["report", str(tmp_path)])
    (tmp_path / "row.json").write_text("{}")
    assert "not a row" in one_line(capsys, ["report", str(tmp_path)])
    shutil.copy(run_of(root, "esd/erase_cat") / "row.json", tmp_path / "row.json")
    assert "no store" in one_line(capsys, ["report", str(tmp_path)])
    assert not (tmp_path / "report.html").exists()


def test_a_tracker_gets_the_attacks_pictures_too(root: Path, tmp_path: Path) -> None:
    """One table a channel, the same noise side by side; what the store no longer has is no table."""
    from bench.trackers.tracked import finished

    run = finished(run_of(root, "esd/erase_cat"), 1, 32)
    found = {t.name.partition("/")[2]: t for t in run.tables()}
    assert {"concept", "neighbour", "words", "prefix", "inversion", "novelty"} <= set(found)
    (asked, *_, base, custom), *_ = ([x[0], *x[3:5]] for x in found["prefix"].lines)
    assert asked.startswith("<adv1> ") and base.tobytes() != custom.tobytes()
    copy = tmp_path / "runs"
    shutil.copytree(root, copy)
    for folder in (copy / "store" / "generate").iterdir():
        if folder.is_dir() and folder.name != run.row.fingerprints["generate"]:
            shutil.rmtree(folder)
    left = {t.name.partition("/")[2] for t in finished(run_of(copy, "esd/erase_cat"), 1, 32).tables()}
    assert "concept" in left and not left & {"words", "prefix", "inversion", "novelty"}


# --- compare ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def compared(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("compared") / "page.html"
    first, second = run_of(root, "dreambooth_lora/poodle"), run_of(root, "custom_diffusion/poodle")
    assert main(["compare", str(first), str(second / "row.json"), "--out", str(out)]) == 0
    return out


def test_pictures_of_the_same_prompt_and_seed_are_paired(root: Path) -> None:
    first, second = (side(str(run_of(root, f"{m}/poodle")), None) for m in ("dreambooth_lora", "custom_diffusion"))
    found, unit = differences(first, second)
    assert unit == "prompt, then seed"
    by = {d.name: d for d in found}
    dino = by["dino"]
    assert dino.pairs == first.rows[0].measured["dino"].n > 1
    assert dino.first == pytest.approx(first.rows[0].measured["dino"].value, abs=1e-5)
    assert dino.second == pytest.approx(second.rows[0].measured["dino"].value, abs=1e-5)
    assert dino.bounds and dino.bounds[0] <= dino.value <= dino.bounds[1]
    back = {d.name: d for d in differences(second, first)[0]}
    assert back["dino"].value == pytest.approx(-dino.value)


def test_the_same_run_differs_in_nothing(root: Path) -> None:
    one = side(str(run_of(root, "dreambooth_lora/poodle")), None)
    found, _ = differences(one, one)
    assert found and not any(d.value or d.settled or d.better for d in found)


def _row(method: str, concept: str, seed: int, **values: tuple[float, str]) -> Row:
    measured = {n: Value(value=v, low=v, high=v, n=9, better=b, checkpoint="judge", version=1)  # type: ignore[arg-type]
                for n, (v, b) in values.items()}  # fmt: skip
    return Row(status="ok", method=method, model="m", dataset="d", concept=concept, kind="subject", protocol="quick",
               seed=seed, hyperparameters={}, tuned=False, measured=measured)  # fmt: skip


def test_rows_are_paired_by_concept_and_seed_and_sorted_by_difference() -> None:
    cells = [(c, s) for c in "abcd" for s in (0, 1)]
    first = [_row("x", c, s, up=(0.9, "higher"), down=(0.9, "lower"), same=(0.5, "higher")) for c, s in cells]
    up, same = {s: (0.5 + 0.1 * s, "higher") for s in (0, 1)}, {0: (0.51, "higher"), 1: (0.49, "higher")}
    second = [_row("y", c, s, up=up[s], down=(0.2, "lower"), same=same[s]) for c, s in [*cells[:6], ("e", 0)]]
    found, unit = differences(Side("x", first), Side("y", second))
    assert unit == "concept, then training seed"
    assert [(d.name, d.pairs, d.clusters) for d in found] == [("down", 6, 3), ("up", 6, 3), ("same", 6, 3)]
    assert [d.better for d in found] == [2, 1, 0]  # of `lower`, the second's 0.2 is better


@pytest.mark.parametrize(("first", "second", "better"), [(-0.1, 0.4, 1), (0.4, -0.1, 2), (-0.5, 0.1, 2)])
def test_nearer_to_zero_is_better_where_zero_is(first: float, second: float, better: int) -> None:
    of = Value(value=0, low=0, high=0, n=1, better="zero", checkpoint="j", version=1)
    value = first - second
    d = Difference("d", of, first, second, 9, 3, (value - 0.01, value + 0.01))
    assert d.better == better


def test_the_page_has_both_and_the_untouched_model(compared: Path) -> None:
    text = compared.read_text()
    page = Page(text)
    assert not {"script", "link", "iframe"} & set(page.tags) and "default-src 'none'" in text
    assert all(x.startswith(("data:", "#")) for x in page.loads)
    for label in ("base model", "dreambooth_lora", "custom_diffusion"):
        assert sum(i["alt"].startswith(f"{label}, seed 0") for i in page.images) >= 4
    assert page.text.index("dino") and "pairs" in page.text


def test_the_tasks_own_values_stand_first_and_the_others_are_folded(compared: Path) -> None:
    of = Value(value=0, low=0, high=0, n=1, better="higher", checkpoint="j", version=1)
    found = [Difference(n, of, 0, 0, 1, 1, None) for n in ("diversity", "clip_t", "dino")]
    main_values, rest = split(found, "subject")
    assert ([d.name for d in main_values], [d.name for d in rest]) == (["dino", "clip_t"], ["diversity"])
    assert split(found, "new") == (found, [])
    text = Page(compared.read_text()).text
    assert text.index("main values") < text.index("The differences")
    assert "Training: dreambooth_lora" in text and "DINO" in text[: text.index("The differences")]


def test_the_class_is_named_in_a_comparison_as_in_a_report(root: Path) -> None:
    row = side(str(run_of(root, "dreambooth_lora/poodle")), None).rows[0]
    known = Value(value=1, low=1, high=1, n=9, better="higher", checkpoint="j", version=1)
    row = row.model_copy(update={"measured": {"recognized/class": known}, "anchors": {}})
    scored = row.model_copy(update={"method": "my_lora", "provenance": {"command": "python -m bench score --images x"}})
    far = row.model_copy(update={"dataset": "elsewhere", "provenance": {}})
    for of, words in ((row, "plain “dog” pictures"), (scored, "plain “dog” pictures"), (far, "plain “class” pictures")):
        (_, said), _ = told(Side("x", [of]), Side("y", [of]))
        assert words in said
    mixed = row.model_copy(update={"concept": "cat_in_ink", "provenance": {}})  # of two concepts
    assert class_phrase(mixed) == "cat"


@pytest.mark.parametrize("field", ["method", "model", "protocol", "dataset"])
def test_a_side_is_of_one_method_and_model(field: str) -> None:
    rows = [_row("x", c, 0, dino=(0.5, "higher")) for c in ("cat", "cow")]
    mixed = [rows[0], rows[1].model_copy(update={field: "other"})]
    with pytest.raises(BenchError, match=f"runs of {field} .*those of one alone would be right"):
        differences(Side("x", mixed), Side("y", rows))


def test_two_as_far_from_zero_on_either_side_are_no_winner() -> None:
    of = _row("x", "cat", 0, clip=(0.1, "zero")).measured["clip"]
    assert Difference("clip", of, 0.101, -0.101, 5, 5, (0.19, 0.21)).better == 0
    assert Difference("clip", of, 0.201, 0.101, 5, 5, (0.09, 0.11)).better == 2


def test_costs_that_are_not_known_are_left_out() -> None:
    def made(method: str, **cost: float) -> Side:
        return Side(method, [_row(method, "cat", 0).model_copy(update={"cost": cost})])

    whole = made("x", seconds=12.5, steps=1, parameters=2000)
    assert costs(whole, made("my_lora", forward_images=9)) == ["Training: x 12.5 s, 1 step, 2,000 parameters."]
    assert costs(made("y", parameters=0), whole)[0].startswith("Training: y 0 parameters; x 12.5 s")
    assert costs(made("y"), made("z")) == []


def test_names_of_methods_are_escaped(tmp_path: Path) -> None:
    from bench.compare.page import write

    evil = "<script>alert(1)</script>"
    sides = [Side(n, [_row(n, evil, 0, **{evil: (0.1 * k, "higher")})]) for k, n in enumerate((evil, "y"))]
    write(tmp_path / "p.html", *sides, *differences(*sides))
    text = (tmp_path / "p.html").read_text()
    assert "<script" not in text and Page(text).text.count(evil) >= 4


@needs_browser
@pytest.mark.parametrize("phone", [False, True])
def test_the_comparison_fits_and_its_view_changes(looking: Browser, compared: Path, phone: bool) -> None:
    looking.complaints.clear()
    looking.open(compared, 360 if phone else 1280, 800, phone=phone)
    assert looking.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert looking.requests[1:] == [] and looking.complaints == []
    looking.click("label:has(#view-after)")
    shown = "[...document.querySelectorAll('.pictures .who')].filter(e => e.offsetParent).map(e => e.textContent)"
    assert set(looking.evaluate(shown)) == {"custom_diffusion"}


@pytest.fixture(scope="module")
def looking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("profile")) as b:
        yield b


def test_methods_of_a_board_are_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    board = Path(__file__).parent.parent / "leaderboards" / "stickers-sticker-unet-subject"
    args = ["compare", "purecc", "dreambooth_lora", "--board", str(board), "--out", str(tmp_path / "p.html")]
    assert main(args) == 0
    assert "concept, then training seed" in capsys.readouterr().out
    assert "No pictures" in Page((tmp_path / "p.html").read_text()).text
    first = (tmp_path / "p.html").read_bytes()
    assert main(args) == 0 and (tmp_path / "p.html").read_bytes() == first


def test_the_page_of_a_comparison_is_named_by_both(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    board = Path(__file__).parent.parent / "leaderboards" / "stickers-sticker-unet-subject"
    monkeypatch.chdir(tmp_path)
    for other in ("dco", "dreambooth_lora"):
        assert main(["compare", "purecc", other, "--board", str(board)]) == 0
    names = {f"compare-purecc-{m}-stickers-sticker-unet-subject.html" for m in ("dco", "dreambooth-lora")}
    assert {p.name for p in tmp_path.iterdir()} == names


def test_two_runs_of_one_method_are_told_apart(root: Path) -> None:
    one = side(str(run_of(root, "dreambooth_lora/poodle")), None)
    assert one.run is not None
    other = dataclasses.replace(one, rows=[one.rows[0].model_copy(update={"seed": 7})])
    assert [s.name for s in told_apart(one, other)] == ["dreambooth_lora (seed 0)", "dreambooth_lora (seed 7)"]
    assert [s.name for s in told_apart(one, one)] == ["dreambooth_lora (first)", "dreambooth_lora (second)"]
    named = dataclasses.replace(other, name="dco")
    assert told_apart(one, named) == (one, named)


def test_two_methods_differ_as_their_board_says() -> None:
    """One estimate and one interval, wherever it is read."""
    from bench.boards.analysis import analyse
    from bench.boards.leaderboard import read

    folder = Path(__file__).parent.parent / "leaderboards" / "stickers-sticker-unet-erase"
    board = analyse(read(folder))
    assert board.baseline == "esd"
    found, _ = differences(side("spm", folder), side("esd", folder))
    at = board.cells.methods.index("spm")
    shared = {d.name: d for d in found if d.name in board.differences}
    assert len(shared) > 5
    for name, d in shared.items():
        theirs = board.differences[name]
        assert d.value == pytest.approx(theirs.value[at], abs=1e-6), name
        assert d.bounds == pytest.approx((theirs.low[at], theirs.high[at]), abs=1e-6), name


def test_what_cannot_be_compared_is_refused(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good, other = str(run_of(root, "dreambooth_lora/poodle")), str(run_of(root, "esd/erase_cat"))
    page = ["--out", str(tmp_path / "p.html")]
    board = str(Path(__file__).parent.parent / "leaderboards" / "stickers-sticker-unet-subject")
    wrong = [
        ([good, "nowhere"], "nowhere: no such run"), ([good, other], "in common"),
        (["purecc", "purec", "--board", board], "purec: no such method"),
        (["purecc", "spm", "--board", str(tmp_path)], "no rows"), ([good, str(tmp_path)], "no row.json"),
    ]  # fmt: skip
    for args, says in wrong:
        assert says in one_line(capsys, ["compare", *args, *page])
    row = json.loads((Path(good) / "row.json").read_text())
    for field in ("model", "protocol"):
        (tmp_path / field).mkdir()
        (tmp_path / field / "row.json").write_text(json.dumps(row | {field: "other"}))
        assert f"is of {field}" in one_line(capsys, ["compare", good, str(tmp_path / field), *page])
    broken = json.loads((Path(good) / "row.json").read_text()) | {"status": "failed"}
    (tmp_path / "row.json").write_text(json.dumps(broken))
    assert "status failed" in one_line(capsys, ["compare", good, str(tmp_path), *page])
    assert not (tmp_path / "p.html").exists()


# --- reproduce -------------------------------------------------------------------------------------


def test_figures_are_of_the_papers_scale_and_kind() -> None:
    (study,) = studies("purecc", "", 1)
    found = reported(study, [_row("purecc", "a", 0, **{"delta_clip_t/concept": (-0.25, "zero")})])
    of = {f.where: f for f in found if f.metric == "ΔCLIP-T (×100)" and f.label == "PureCC"}
    assert of["Table 1, instances"].here == pytest.approx(-25)
    assert of["Table 1, styles"].here is None and of["Table 1, styles"].name == "delta_clip_t/concept"
    assert [factor(s) for s in ("×100", "", "GB", "0–100")] == [100.0, 1.0, 1.0, 1.0]


def test_every_claim_gets_a_verdict_from_the_shipped_rows(capsys: pytest.CaptureFixture[str]) -> None:
    rows = str(Path(__file__).parent.parent / "leaderboards")
    assert main(["reproduce", "purecc", "--rows", rows]) == 0
    out = capsys.readouterr().out
    (study,) = reproduce.studies("purecc", "", 4)
    assert out.count("    verdict   ") == len(study.claims) > 5
    assert all(f"({c.id})" in out for c in study.claims)
    files = (Path(rows) / "stickers-sticker-unet-subject" / "rows").glob("purecc-*.json")
    own = [Row.model_validate_json(p.read_text()) for p in files]
    seeds = {r.concept: [s.measured["dino"].value for s in own if s.concept == r.concept] for r in own}
    here = fmean(fmean(values) for values in seeds.values())  # as the board has it
    assert re.search(rf"PureCC +DINO +0\.73 +{here:.3f} +dino", out)  # reported, then measured
    assert "Not run here\n  SD3.5-Medium" in out and "python -m bench plan -m +method=purecc," in out


def test_a_study_has_the_claims_of_its_model_and_holds_gates() -> None:
    on = {m: reproduce.studies("dpg", m, 1)[0] for m in ("sticker-unet", "sticker-flow")}
    assert ["dpg_dino" in s.methods["subject"] for s in on.values()] == [True, False]
    assert {c.id for c in on["sticker-unet"].claims} - {c.id for c in on["sticker-flow"].claims} == {"dpg-dino-ahead"}
    (study,) = reproduce.studies("spm", "", 1)
    assert "spm-gate-open" in study.methods["erase"] and study.left == {}
    held = [c for c in reproduce.commands(study, "runs", [0]) if "gate=open" in c]
    assert [c[0] for c in held] == ["+method=spm"]
    assert entry("spm", "open") == f"spm{reproduce.HELD}open"


def test_a_study_runs_every_method_its_claims_name(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    commands = reproduce.commands

    def tiny(*args: object) -> list[list[str]]:
        small = [o for o in run_args(model) if not o.startswith(("model=", "model.name="))]
        return [[*c, *small] for c in commands(*args)]  # type: ignore[arg-type]

    monkeypatch.setattr(reproduce, "commands", tiny)
    assert main(["reproduce", "dreambooth_lora_prior", "--quick", "--root", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    (study,) = reproduce.studies("dreambooth_lora_prior", "", 1)
    (methods,), (concepts,) = study.methods.values(), study.concepts.values()
    assert len(concepts) == 1 and {"dreambooth_lora_prior", "dreambooth_lora"} <= set(methods)
    assert {p.parent.parent.name for p in tmp_path.glob("*/*/row.json")} == set(methods)
    assert "undecided: 1 of at least 4 concepts" in out and "An estimate" in out
    assert out.count("    verdict   ") == len(study.claims)


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["purec"], "no such method"),
        (["references"], "no claim of it"),
        (["purecc", "--model", "sd9"], "sd9"),
        (["purecc", "--rows", "/nowhere"], "no rows"),
        (["purecc", "--seeds", "0"], "--seeds 0"),
        (["uce", "--model", "sticker-flow"], "sticker-flow is flow"),
    ],
)
def test_a_study_that_cannot_be_made_is_refused(args: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reproduce", *args]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and says in line
