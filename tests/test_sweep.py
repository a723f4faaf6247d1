"""Sweeps: what `all` stands for, what is refused and what left out, and that no run stops or changes another."""

from __future__ import annotations

import json
import logging
import shlex
import sys
import weakref
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from tiny import run_args, unet_folder

from bench.__main__ import main
from bench.compose import compose, expand, launch_options
from bench.errors import BenchError, Diverged
from bench.plan import make
from bench.row import Row
from bench.run import _only_by_hand
from bench.sweeps import requests, sweep
from bench.sweeps.job import Job, Outcome
from bench.sweeps.launch import Launcher
from bench.sweeps.show import results
from bench.trackers.known import tracker


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unet_folder(tmp_path_factory.mktemp("tiny"))


def _kinds(dataset: Path) -> dict[str, str]:
    files = dataset.glob("concepts/*/concept.yaml")
    return {p.parent.name: yaml.safe_load(p.read_text())["kind"] for p in files}


def _planned(root: Path, *args: str) -> list[tuple[str, str, int]]:
    plans = requests.plans(expand(["-m", *args, f"root={root}"]))
    return [(p.method, p.concept.name, p.config["seed"]) for p in plans]


def test_all_is_every_concept_that_a_method_serves_and_nothing_is_tuned_on(dataset: Path, tmp_path: Path) -> None:
    kinds = _kinds(dataset)
    names = [c for _, c, _ in _planned(tmp_path, "+method=spm", "concept=all")]
    assert len(names) == len(set(names))
    assert {kinds[n] for n in names} == {"erase", "multi", "roundtrip"}
    assert {n for n in names if kinds[n] == "erase"} == {
        n for n in kinds if kinds[n] == "erase" and n != "erase_guitar"
    }
    assert "erase_cat_and_rocket" in names and "cat_and_poodle" not in names  # both multi; one of them is no erasing


def test_a_kind_of_all_is_that_kind_alone(dataset: Path, tmp_path: Path) -> None:
    kinds = _kinds(dataset)
    found = _planned(tmp_path, "+method=dco", "concept=subject:all,style_ink,poodle", "seed=0,1")
    assert len(found) == len(set(found))  # poodle is one of the subjects
    subjects = {n for n, kind in kinds.items() if kind == "subject"} - {"whole_horse", "cupcake"}
    assert {c for _, c, _ in found} == subjects | {"style_ink"}
    assert {s for *_, s in found} == {0, 1}


def test_what_a_method_does_not_serve_is_left_out_with_a_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="bench"):
        found = _planned(tmp_path, "+method=uce,none", "model=sticker-flow,sticker-unet", "concept=erase:all")
    assert {m for m, *_ in found} == {"uce", "none"}
    (line,) = [r.getMessage() for r in caplog.records if "left out" in r.getMessage()]
    assert "uce is made for" in line and "sticker-flow" in line and "erase_cat" in line


WRONG = {
    "named concept": (["+method=spm", "concept=poodle,erase:all"], ["spm", "poodle"]),
    "no kind": (["+method=spm", "concept=thing:all"], ["thing", "erase"]),
    "nothing left": (["+method=spm", "concept=style:all"], ["concept=all"]),
    "field": (["+method=spm", "concept=all", "method.lrr=1"], ["lrr"]),
    "launcher": (["+method=spm", "concept=all", "launcher=slrum"], ["slrum", "slurm"]),
    "launcher field": (["+method=none", "launcher=joblib", "launcher.processes=0"], ["launcher.processes"]),
    "new launcher field": (["+method=none", "launcher=joblib", "+launcher.cpus=2"], ["launcher.cpus"]),
    "hydra's launcher": (["+method=none", "hydra/launcher=joblib"], ["launcher=joblib"]),
    "hydra's folder": (["+method=none", "hydra.sweep.dir=x"], ["hydra.sweep.dir=x", "root=FOLDER"]),
    "hydra's glob": (["+method=glob(dpg*)", "concept=all"], ["glob(dpg*)", "choice(a,b)"]),
    "an interval": (["+method=none", "seed=interval(0,1)"], ["interval(0,1)", "range(0,3)"]),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_sweep_is_refused_before_anything_starts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, wrong: str
) -> None:
    monkeypatch.setattr("bench.run.run", lambda *a, **k: pytest.fail("a run started"))
    args, says = WRONG[wrong]
    assert main(["-m", *args, f"root={tmp_path / 'runs'}"]) == 2
    (line,) = [x for x in capsys.readouterr().err.splitlines() if x.startswith("error: ")]
    assert [s for s in says if s not in line] == []


def test_all_concepts_without_a_sweep_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hours of runs are not begun by a word."""
    monkeypatch.setattr("bench.run.run", lambda *a, **k: pytest.fail("a run started"))
    assert main(["+method=spm", "concept=erase:all", f"root={tmp_path / 'runs'}"]) == 2
    (line,) = [x for x in capsys.readouterr().err.splitlines() if x.startswith("error: ")]
    assert "concept=erase:all: that is 5 runs; -m" in line and "bench plan" in line


def test_the_launcher_is_in_no_rows_command() -> None:
    options, rest = launch_options(["+method=none", "launcher=joblib", "seed=1", "launcher.processes=3"])
    assert options == {"name": "joblib", "processes": 3}
    assert rest == ["+method=none", "seed=1"]
    assert launch_options(rest) == ({"name": "basic"}, rest)


def test_a_run_of_all_has_the_configuration_of_the_concept_alone(tmp_path: Path) -> None:
    first = requests.requests(["+method=spm", "seed=1", "concept=erase:all"])[0]
    alone, method = compose(["+method=spm", "seed=1", f"concept={first.config['concept']}"])
    assert (first.config, first.method) == (alone, method)


def test_the_runs_of_one_model_follow_each_other_and_what_is_there_comes_first(tmp_path: Path) -> None:
    args = ["+method=none", "concept=poodle,racing_car", "model=sticker-flow,sticker-unet", f"root={tmp_path}"]
    plans = requests.plans(expand(["-m", *args]))
    assert [p.config["model"]["name"] for p in plans] == ["sticker-flow"] * 2 + ["sticker-unet"] * 2
    plans[2].folder.mkdir(parents=True)
    (plans[2].folder / "row.json").write_text('{"status": "ok"}')
    assert requests.plans(expand(["-m", *args]))[0].folder == plans[2].folder


def _row(root: Path, method: str, concept: str) -> Row:
    (path,) = root.glob(f"{method}/{concept}-*/row.json")
    return Row.model_validate_json(path.read_text())


def test_a_diverged_or_failed_run_is_a_row_and_changes_no_other(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of three methods one diverges and one is broken; the others' rows are those of the same commands alone."""
    from methods.dreambooth_lora import DreamBoothLora

    train = DreamBoothLora.train

    def broken(self: Any, bench: Any, concept: Any) -> Any:
        if concept.name == "poodle":
            raise BenchError("no such thing")
        return train(self, bench, concept)

    monkeypatch.setattr(DreamBoothLora, "train", broken)
    together, alone = tmp_path / "together", tmp_path / "alone"
    shared = ["concept=poodle,racing_car", *run_args(model)]
    assert main(["-m", "+method=dreambooth_lora", "method.lr=1e18,1e-3", *shared, f"root={together}"]) == 1
    said = capsys.readouterr().out
    assert "4 runs, 0 there before: 1 ok, 1 diverged, 2 failed" in said
    assert "  diverged: method.lr=1e+18 concept=racing_car: " in said
    assert "  failed: method.lr=0.001 concept=poodle: no such thing" in said
    assert f"board: python -m bench leaderboard {together}" in said
    rows = [Row.model_validate_json(p.read_text()) for p in together.glob("*/*/row.json")]
    assert sorted(r.status for r in rows) == ["diverged", "failed", "failed", "ok"]
    (good,) = [r for r in rows if r.status == "ok"]
    command = shlex.split(good.provenance["command"])[3:]
    assert {"concept=racing_car", "method.lr=0.001"} <= set(command) and "-m" not in command  # its own, not the sweep's
    assert main([*(o for o in command if not o.startswith("root=")), f"root={alone}"]) == 0
    assert _row(alone, "dreambooth_lora", "racing_car").digest() == good.digest()

    monkeypatch.setattr(DreamBoothLora, "train", train)
    assert main(["-m", "+method=dreambooth_lora", "method.lr=1e-3", *shared, f"root={together}"]) == 0
    assert "2 runs, 1 there before: 2 ok" in capsys.readouterr().out  # what failed was tried again
    made = [json.loads(line)["key"] for line in (together / "store" / "log.jsonl").read_text().splitlines()]
    assert len(made) == len(set(made))


def test_a_sweep_loads_model_and_judges_once(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from bench import backbone
    from bench.judges import build
    from bench.stages import resident

    resident.forget()
    resident._judges.cache_clear()
    loads: list[str] = []
    for module, name in ((backbone, "load"), (build, "build")):
        original = getattr(module, name)

        def counted(*args: Any, name: str = name, original: Any = original) -> Any:
            loads.append(name)
            return original(*args)

        monkeypatch.setattr(module, name, counted)
    args = [o for o in run_args(model) if not o.startswith("method.")]
    assert main(["-m", "+method=none,references", "concept=poodle,racing_car", *args, f"root={tmp_path}"]) == 0
    config, _ = compose(["+method=none"])
    assert loads.count("load") == 1
    assert loads.count("build") == len(config["dataset"]["encoders"])


def test_the_model_before_makes_room_first(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two models of real size do not fit on one GPU."""
    from bench import backbone
    from bench.plan import make
    from bench.stages import resident

    original, last, alive = backbone.load, [lambda: None], list[bool]()

    def watched(*args: Any) -> Any:
        alive.append(last[0]() is not None)
        loaded = original(*args)
        last[0] = weakref.ref(loaded)
        return loaded

    monkeypatch.setattr(backbone, "load", watched)
    resident.forget()
    for resolution in (32, 64):
        resident.backbone_of(make(*compose(["+method=none", *run_args(model)[:-1], f"model.resolution={resolution}"])))
    assert alive == [False, False]
    resident.forget()


def test_a_sweep_says_how_long_it_will_take(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """By what each run was expected to take, at the pace there is; what was there before takes no time."""
    clock = [0.0]
    monkeypatch.setattr(sweep.time, "monotonic", lambda: clock[0])
    given = [Job((), "/", name) for name in ("there", "short", "long", "longer")]
    expected = dict(zip(given, (0.0, 10.0, 30.0, 60.0), strict=True))

    def outcomes() -> Any:
        for job, seconds in expected.items():  # twice as slow as expected
            clock[0] += 2 * seconds
            yield Outcome(job, "ok", there=not seconds, seconds=2 * seconds)

    with caplog.at_level(logging.INFO, logger="bench"):
        list(sweep._told(outcomes(), expected))
    said = [r.getMessage() for r in caplog.records]
    assert said[0] == "1 of 4: there: there already; about 2 min left"
    assert [s.partition("s; ")[2] for s in said[1:]] == ["about 3 min left", "about 2 min left", ""]


def test_what_is_expected_of_a_sweep_counts_each_stage_once(tmp_path: Path) -> None:
    """The untouched model's pictures are the first run's."""
    given = ["+method=none", "concept=whole_cat", "model=sticker-unet", f"root={tmp_path}"]
    plans = [make(*compose([*given, f"seed={s}"])) for s in (0, 1)]
    (first, second), known = sweep._expected(plans)
    assert first > second and known  # of the published boards


def test_a_job_that_was_queued_again_finds_its_own_rows_and_they_are_logged(tmp_path: Path) -> None:
    class Requeued(Launcher):
        def run(self, jobs: Any) -> Any:
            yield from (Outcome(job, "ok", there=True) for job in jobs)

    said: list[Path] = []
    follower = SimpleNamespace(finished=said.append)
    plan = make(*compose(["+method=none", "concept=poodle", f"root={tmp_path}"]))
    given = sweep.jobs([plan.config["_given"]])
    ended = sweep._ended(given, {}, Requeued(name="basic"))
    (outcome,) = sweep._followed(ended, {given[0]: plan.folder}, follower)  # type: ignore[arg-type]
    assert said == [plan.folder] and not outcome.there


def test_no_cluster_is_asked_for_a_run_that_is_there(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And one is asked for a run that is not whole: nothing is trained where the sweep was only submitted."""
    asked: list[Job] = []

    class Cluster(Launcher):
        def run(self, jobs: Any) -> Any:
            asked.extend(jobs)
            yield from (Outcome(job, "ok") for job in jobs)

    said = ["concept=poodle", *run_args(model), f"root={tmp_path}"]
    assert main(["+method=textual_inversion", *said]) == 0
    plans = requests.plans(expand(["-m", "+method=textual_inversion,dreambooth_lora", *said]))
    assert sweep.sweep(plans, Cluster(name="basic"), tracker({"name": "none"})) == 0
    assert [job.overrides[0] for job in asked] == ["+method=dreambooth_lora"]
    assert "2 runs, 1 there before" in capsys.readouterr().out
    asked.clear()
    (report,) = tmp_path.glob("*/*/report.html")
    report.unlink()
    assert sweep.sweep(plans[:1], Cluster(name="basic"), tracker({"name": "none"})) == 0
    assert [job.overrides[0] for job in asked] == ["+method=textual_inversion"]


def test_a_method_that_calls_exit_is_a_failed_run(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the sweep would end there, with exit code 0; but where a cluster cuts the process off, it does end."""
    from methods.textual_inversion import TextualInversion

    def leaves(self: Any, bench: Any, concept: Any) -> Any:
        sys.exit()

    monkeypatch.setattr(TextualInversion, "train", leaves)
    command = ["-m", "+method=textual_inversion,none", "concept=poodle", *run_args(model), f"root={tmp_path}"]
    command = [c for c in command if not c.startswith("method.steps")]
    assert main(command) == 1
    assert "2 runs, 0 there before: 1 ok, 0 diverged, 1 failed" in capsys.readouterr().out
    assert _row(tmp_path, "textual_inversion", "poodle").reason.startswith("SystemExit")
    (tmp_path / "none").rename(tmp_path / "gone")
    monkeypatch.setattr("bench.errors.STOPPING.is_set", lambda: True)
    with pytest.raises(SystemExit):
        main(command)


def test_what_left_the_numbers_after_training_is_not_the_methods(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pictures(*args: object) -> object:
        raise Diverged("prefix: the loss of step 3 is nan", {})

    with monkeypatch.context() as patch:
        patch.setattr("bench.run.pictures", pictures)
        command = ["-m", "+method=none", "concept=poodle", *run_args(model, None), f"root={tmp_path}"]
        assert main(command) == 1
    row = _row(tmp_path, "none", "poodle")
    assert row.status == "failed" and "prefix: the loss of step 3 is nan" in row.reason
    assert main(command) == 0  # and is tried again


def test_a_plain_run_takes_the_row_of_one_with_a_value_set_to_what_it_is(model: Path, tmp_path: Path) -> None:
    """Its command says by hand, so that no board would take it."""
    command = ["+method=dreambooth_lora", "concept=poodle", *run_args(model), f"root={tmp_path}"]
    plain = [c for c in command if not c.startswith("method.steps")]
    steps = make(*compose(plain)).hyperparameters["rank"]
    assert main([*command, f"method.rank={steps}"]) == 0
    assert "method.rank" in _row(tmp_path, "dreambooth_lora", "poodle").provenance["command"]
    assert main([*command]) == 0  # whose steps are set by hand as well: the row may stay
    assert "method.rank" in _row(tmp_path, "dreambooth_lora", "poodle").provenance["command"]
    row = _row(tmp_path, "dreambooth_lora", "poodle")
    by_hand = SimpleNamespace(config={"_given": ["+method=dreambooth_lora"]})
    assert _only_by_hand(row, by_hand)  # type: ignore[arg-type]
    assert not _only_by_hand(row, SimpleNamespace(config={"_given": command}))  # type: ignore[arg-type]


def test_the_summary_counts_what_left_no_row() -> None:
    job = Job(("+method=none",), "/", "it")
    said = sweep.summary([Outcome(job, "ok"), Outcome(job, "lost", "a worker process died")], ["runs"])
    assert said.startswith("2 runs, 0 there before: 1 ok, 0 diverged, 0 failed, 1 lost\n")
    assert "  lost: it: a worker process died\n" in said
    said = sweep.summary([Outcome(job, "unmeasurable", "no device\nCUDA says more")], ["runs"])
    assert "0 failed, 1 unmeasurable\n  unmeasurable: it: no device\n" in said


def test_a_sweep_ends_with_its_first_values_and_pages(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from test_leaderboard import _value, make

    for method, value in (("a", 0.25), ("b", 0.75)):
        (tmp_path / method).mkdir()
        row = make(method, measured={"dino": _value(value), "diversity": _value(0.1)})
        (tmp_path / method / "row.json").write_text(row.model_dump_json())
    results([tmp_path / name for name in ("a", "b", "lost")])
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.split() == ["run", "dino", "↑", "page"]  # of the board's columns, those that were measured
    assert [line.split("  ")[0] for line in lines] == ["a on cat, m, seed 0", "b on cat, m, seed 0"]
    assert "0.250" in lines[0] and lines[1].rstrip().endswith(str(tmp_path / "b" / "report.html"))
