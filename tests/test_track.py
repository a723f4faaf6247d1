"""Trackers: what they hold read back, and that nothing that goes wrong with one touches a run.

`pip install -e '.[wandb,mlflow]' && python -m pytest tests/test_track.py` reads both back; where one is missing its
test is skipped, and a stand-in for wandb that misbehaves in every way serves for the rest.
"""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tiny import run_args, unet_folder
from wandb_file import contents, runs

from bench.__main__ import main
from bench.checkpoint import LISTENERS, Checkpoint
from bench.compose import compose, tracker_options
from bench.errors import BenchError
from bench.plan import make
from bench.row import Row
from bench.trackers import follow
from bench.trackers.known import TRACKERS, tracker
from bench.trackers.tracked import about, fronts
from bench.trackers.tracker import Tracker

STEPS = 3


@pytest.fixture(autouse=True)
def no_stand_in_stays() -> Iterator[None]:
    """Libraries import wandb where they find one."""
    yield
    if "packages" in str(getattr(sys.modules.get("wandb"), "__file__", "")):
        del sys.modules["wandb"]


def installed(package: str) -> None:
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed: pip install -e '.[{package}]'")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unet_folder(tmp_path_factory.mktemp("tiny"))


def request(model: Path, root: Path) -> list[str]:
    return ["+method=dreambooth_lora", "concept=poodle", *run_args(model, STEPS), "protocol.name=mine", f"root={root}"]


def row_of(root: Path) -> Row:
    (path,) = root.glob("*/*/row.json")
    return Row.model_validate_json(path.read_text())


@pytest.fixture(scope="module")
def plain(model: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Row]:
    """A finished run, as if nothing had been set by hand: boards, and so fronts, leave such runs out."""
    root = tmp_path_factory.mktemp("plain")
    assert main(request(model, root)) == 0
    (path,) = root.glob("*/*/row.json")
    path.write_text(path.read_text().replace(f" method.steps={STEPS}", ""))
    return root, row_of(root)


def stand_in(monkeypatch: pytest.MonkeyPatch, folder: Path, start: str, rest: str = "") -> None:
    """Puts a package `wandb` in the way, whose `init` does what `start` says."""
    (folder / "wandb").mkdir(parents=True)
    code = f"import os, signal, sys, time\ndef Settings(**_): ...\ndef init(**_):\n    {start}\n{rest}"
    (folder / "wandb" / "__init__.py").write_text(code)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")]))


WRONG = {
    "raises": ("raise OSError(28, 'No space left on device')", "No space left on device"),
    "asks": ("raise ValueError('answered ' + input('your key? '))", "EOF when reading a line"),
    "asks the terminal": ("open('/dev/tty').read()", "No such device or address"),
    "exits": ("sys.exit(3)", "its process died (3)"),
    "dies": ("os.kill(os.getpid(), signal.SIGKILL)", "its process died (-9)"),
    "hangs": ("time.sleep(1000)", "not done after 2 s and stopped"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_whatever_a_tracker_does_the_row_is_the_same(
    model: Path, plain: tuple[Path, Row], tmp_path: Path, wrong: str, monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    does, said = WRONG[wrong]
    stand_in(monkeypatch, tmp_path / "packages", does)
    monkeypatch.setattr(Checkpoint, "due", lambda self: True)
    logged = ["tracker=wandb", f"tracker.folder={tmp_path / 'logged'}", f"tracker.wait={2 if wrong == 'hangs' else 60}"]
    begun = time.monotonic()
    assert main([*request(model, tmp_path / "runs"), *logged]) == 0
    assert time.monotonic() - begun < 60
    assert said in capfd.readouterr().err + caplog.text
    row = row_of(tmp_path / "runs")
    assert row.digest() == plain[1].digest()
    assert row.fingerprints == plain[1].fingerprints
    assert "tracker=" not in row.provenance["command"]
    assert LISTENERS == []


def test_curves_come_while_it_trains(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The stand-in writes down what reached it; the training waits, in its last step, until something has."""
    heard = tmp_path / "heard"
    rest = f"""
class Run:
    def define_metric(self, *_, **__): ...
    def finish(self, **_): ...
    def log(self, said):
        with open({str(heard)!r}, "a") as f:
            f.write(repr(said) + "\\n")
"""
    stand_in(monkeypatch, tmp_path / "packages", "return Run()", rest)
    monkeypatch.setattr(Checkpoint, "due", lambda self: True)
    kept, waited = Checkpoint.keep, []

    def keep(self: Checkpoint, stage: str, step: int, *rest: object) -> None:
        kept(self, stage, step, *rest)
        while step == STEPS - 1 and not heard.exists() and len(waited) < 300:
            waited.append(time.sleep(0.1))

    monkeypatch.setattr(Checkpoint, "keep", keep)
    assert main([*request(model, tmp_path / "runs"), "tracker=wandb", f"tracker.folder={tmp_path / 'logged'}"]) == 0
    lines = [eval(line) for line in heard.read_text().splitlines()]
    assert len(waited) < 300
    assert [x["dreambooth/step"] for x in lines if "dreambooth/loss" in x] == list(range(STEPS))
    capfd.readouterr()


def test_a_tracker_that_is_killed_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    stand_in(monkeypatch, tmp_path / "packages", "time.sleep(1000)")
    follower = follow.Follower(tracker({"name": "wandb", "project": "p", "folder": str(tmp_path / "logged")}))
    assert follower._process is not None
    assert os.getsid(follower._process.pid) == follower._process.pid  # no terminal of ours to ask at
    os.kill(follower._process.pid, signal.SIGKILL)
    for _ in range(20):
        follower.finished(tmp_path)
        follower.fronts([tmp_path] * 1000)  # more than a pipe holds
    assert follower.close(30) == 20
    assert "its process died (-9)" in caplog.text


def test_curves_of_a_training_that_runs_share_are_of_the_first(tmp_path: Path) -> None:
    plans = [
        make(*compose(["+method=spm", "concept=erase_cat", "model=sticker-unet", f"gate={g}", f"root={tmp_path}"]))
        for g in ("auto", "open")
    ]
    follower = follow.Follower(tracker({"name": "none"}), plans)
    assert {plan.method for plan, _ in follower._trainings.values()} == {"spm"}


def test_a_tag_is_no_longer_than_wandb_takes() -> None:
    said = follow._fields(make(*compose(["+method=none", "concept=poodle"])))
    assert max(map(len, about(said | {"concept": "c" * 100}).tags)) == 64


@pytest.mark.parametrize(
    ("method", "concept", "task"),
    [
        ("spm", "erase_cat_and_rocket", "multi_erase"),
        ("purecc", "cat_and_poodle", "multi"),
        ("spm", "erase_cat", "erase"),
    ],
)
def test_a_group_is_a_board(method: str, concept: str, task: str) -> None:
    """Several erased at once are not among several learned, from the first step on."""
    plan = make(*compose([f"+method={method}", f"concept={concept}", "model=sticker-unet"]))
    assert about(follow._fields(plan)).group == f"stickers-sticker-unet-{task}"


def test_wandb_holds_everything_of_a_run(
    model: Path, plain: tuple[Path, Row], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    installed("wandb")
    row, home = plain[1], tmp_path / "logged"
    home.mkdir()
    assert main(["track", str(plain[0]), "tracker=wandb", f"tracker.folder={home}"]) == 0
    assert "1 run to wandb" in capfd.readouterr().out
    found = runs(home)
    run = found["dreambooth_lora poodle seed 0"]
    assert (run.run.run_group, run.run.job_type) == ("stickers-tiny-subject-mine", "dreambooth_lora")
    assert set(run.run.tags) == {"subject", "poodle", "mine"}
    assert run.config["hyperparameters"]["rank"] == row.hyperparameters["rank"]
    assert run.config["fingerprints"] == row.fingerprints
    assert run.config["provenance"]["command"] == row.provenance["command"]
    log = json.loads((plain[0] / "store" / "train" / row.fingerprints["train"] / "log.json").read_text())
    assert run.column("dreambooth/loss") == log["dreambooth/loss"]
    assert run.column("dreambooth/step") == list(range(STEPS))
    for name, v in row.measured.items():
        said = [run.summary[f"measured/{name}{end}"] for end in ("", ".low", ".high")]
        assert said == [v.value, v.low, v.high], name
    assert (run.summary["status"], run.summary["digest"]) == ("ok", row.digest())
    assert {x["metric"] for x in run.table("values")} >= set(row.measured)
    _pictures(run.table("pictures/concept"), home)
    (artifact,) = [a for a in run.artifacts if a.type == "adapter"]
    trained = plain[0] / "store" / "train" / row.fingerprints["train"] / "pytorch_lora_weights.safetensors"
    staged = contents(artifact)["pytorch_lora_weights.safetensors"]
    assert staged.is_relative_to(home) and staged.read_bytes() == trained.read_bytes()
    assert run.exit == 0
    front = found["fronts of stickers-tiny-subject-mine"]
    assert front.run.job_type == "front"
    (name,) = [k.removesuffix("/path") for h in front.history for k in h if k.endswith("following/path")]
    assert [x["method"] for x in front.table(name)] == ["dreambooth_lora"]
    assert front.column(f"{name}/figure/path")


def _pictures(table: list[dict[str, object]], home: Path) -> None:
    from PIL import Image

    assert table and {"prompt", "base", "custom"} <= set(table[0])
    for line in table:
        assert "<new1>" in str(line["prompt"])
        for side in ("base", "custom"):
            said = line[side]
            assert isinstance(said, Path) and said.is_relative_to(home)
            with Image.open(said) as image:
                assert image.size == (64, 64)
        assert isinstance(line["dino"], float)


def test_a_second_sweep_adds_to_the_fronts_and_does_not_replace_them(plain: tuple[Path, Row], tmp_path: Path) -> None:
    row = plain[1]
    other = row.model_copy(update={"method": "another"})
    elsewhere = row.model_copy(update={"dataset": "others"})
    for name, made in (("first", row), ("second", other), ("third", elsewhere)):
        (tmp_path / name / "run").mkdir(parents=True)
        (tmp_path / name / "run" / "row.json").write_text(made.model_dump_json())
    (alone,) = fronts([tmp_path / "second" / "run"])
    assert alone.about.config["methods"] == ["another"]
    (board,) = fronts([tmp_path / "second" / "run"], [tmp_path])
    assert board.about.config["methods"] == ["another", "dreambooth_lora"] and board.about.id == alone.about.id


def test_fronts_have_what_lies_beside_runs_and_all_that_was_asked_for(
    plain: tuple[Path, Row], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two roots one is a copy without a store; what else lies in a root, as a zip, is nobody's run."""
    installed("wandb")
    for root, method in (("a", "first"), ("a", "second"), ("b", "third")):
        folder = tmp_path / root / method / "run"
        folder.mkdir(parents=True)
        (folder / "row.json").write_text(plain[1].model_copy(update={"method": method}).model_dump_json())
    (tmp_path / "a" / "store").mkdir()
    (tmp_path / "a" / "notes.zip").write_bytes(b"")
    told: list[tuple[list[Path], list[Path]]] = []
    monkeypatch.setattr(follow.Follower, "fronts", lambda self, folders, roots=(): told.append((folders, roots)))
    monkeypatch.setattr(follow.Follower, "finished", lambda self, folder: None)
    monkeypatch.setattr(follow, "_process", lambda to: None)
    asked = [str(tmp_path / "a" / "second"), str(tmp_path / "b")]
    assert main(["track", *asked, "tracker=wandb", f"tracker.folder={tmp_path}"]) == 0
    ((folders, roots),) = told
    assert roots == [tmp_path / "a"]
    (board,) = fronts(folders, roots)
    assert board.about.config["methods"] == ["first", "second", "third"]


def test_logging_again_replaces(plain: tuple[Path, Row], tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    installed("wandb")
    for _ in range(2):
        assert main(["track", str(plain[0]), f"tracker.folder={tmp_path}", "tracker.group=mine"]) == 0
    assert len(list(tmp_path.glob("wandb/offline-run-*"))) == 2  # the run and its board's fronts, once each
    assert {r.run.run_group for r in runs(tmp_path).values()} == {"mine"}
    capfd.readouterr()


def test_a_sweep_is_logged_run_by_run_and_sees_no_difference(
    model: Path, plain: tuple[Path, Row], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    installed("wandb")
    first, *rest = request(model, tmp_path / "runs")
    logged = ["tracker=wandb", f"tracker.folder={tmp_path / 'logged'}"]
    assert main(["-m", f"{first},textual_inversion", *rest, *logged]) == 0
    rows = [Row.model_validate_json(p.read_text()) for p in (tmp_path / "runs").glob("*/*/row.json")]
    assert plain[1].digest() in {r.digest() for r in rows}
    found = runs(tmp_path / "logged")
    assert {r.run.job_type for r in found.values()} == {"dreambooth_lora", "textual_inversion"}  # no front: set by hand
    assert {r.run.run_group for r in found.values()} == {"stickers-tiny-subject-mine"}
    assert found["textual_inversion poodle seed 0"].summary["status"] == "ok"
    capfd.readouterr()


def test_a_key_that_is_refused_leaves_the_run_here(
    plain: tuple[Path, Row], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    installed("wandb")
    monkeypatch.setenv("WANDB_API_KEY", "bad")
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    assert main(["track", str(plain[0]), f"tracker.folder={tmp_path}", "tracker.mode=online"]) == 0
    assert "tracker wandb: not online" in capfd.readouterr().err
    assert "dreambooth_lora poodle seed 0" in runs(tmp_path)
    with pytest.raises(BenchError, match="2 of 2 runs were not sent"):
        tracker({"name": "wandb", "project": "p", "folder": str(tmp_path)}).sync()


def test_a_folder_that_cannot_be_written_is_a_warning(
    plain: tuple[Path, Row], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    installed("wandb")
    (tmp_path / "file").touch()
    assert main(["track", str(plain[0]), f"tracker.folder={tmp_path / 'file' / 'logged'}"]) == 1
    said = capfd.readouterr()
    assert "not logged: [Errno 20] Not a directory" in said.err
    assert said.out.endswith("2 not logged\n")


def test_mlflow_holds_everything_of_a_run(
    plain: tuple[Path, Row], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    installed("mlflow")
    row = plain[1]
    for _ in range(2):  # the second replaces the first
        assert main(["track", str(plain[0]), "tracker=mlflow", f"tracker.folder={tmp_path}"]) == 0
    code = """
import json, sys
from mlflow import MlflowClient
client = MlflowClient("sqlite:///" + sys.argv[1] + "/mlflow.db")
found = client.search_runs([e.experiment_id for e in client.search_experiments()])
(run,) = [r for r in found if r.info.run_name.startswith("dreambooth")]
losses = [(m.step, m.value) for m in client.get_metric_history(run.info.run_id, "dreambooth/loss")]
files = [f.path for f in client.list_artifacts(run.info.run_id)]
print(json.dumps([len(found), run.data.metrics, run.data.params, run.data.tags, losses, files]))
"""
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    count, metrics, params, tags, losses, files = json.loads(done.stdout.splitlines()[-1])
    assert count == 2
    for name, v in row.measured.items():
        assert [metrics[f"measured/{name}{end}"] for end in ("", ".low", ".high")] == [v.value, v.low, v.high]
    assert params["hyperparameters.rank"] == str(row.hyperparameters["rank"])
    assert (tags["digest"], tags["bench.job"]) == (row.digest(), "dreambooth_lora")
    assert [step for step, _ in losses] == list(range(STEPS))
    assert {"adapter", "pictures", "values.json"} <= set(files)
    capfd.readouterr()


def test_no_key_and_no_command_knows_of_a_tracker(model: Path, tmp_path: Path) -> None:
    asked = request(model, tmp_path)
    options, rest = tracker_options([*asked, "tracker=wandb", "tracker.mode=online"])
    assert (options["name"], options["mode"], rest) == ("wandb", "online", asked)
    assert compose(rest)[0]["_given"] == asked
    assert tracker_options(asked) == ({"name": "none"}, asked)


def test_every_tracker_has_a_configuration(root: Path) -> None:
    assert {p.stem for p in (root / "conf" / "tracker").glob("*.yaml")} == set(TRACKERS)
    for name, cls in TRACKERS.items():
        options, _ = tracker_options([f"tracker={name}"])
        assert cls.model_validate(options).name == name


ASKED = {
    "no run": (["track", "."], "no finished run"),
    "nowhere": (["track", "nowhere"], "nowhere: no finished run"),
    "nothing": (["track"], "the folder of a run"),
    "none": (["track", "tracker=none", "."], "tracker=none logs nothing"),
    "another": (["track", "tracker=tensorboard", "."], "tensorboard"),
    "field": (["+method=none", "tracker=wandb", "tracker.mode=on"], "tracker.mode='on'"),
    "sync": (["track", "--sync", "tracker=mlflow"], "nothing to send"),
    "sync nothing": (["track", "--sync"], "nothing there that was not sent"),
}


@pytest.mark.parametrize("asked", ASKED)
def test_a_wrong_request_is_one_line(
    asked: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    args, said = ASKED[asked]
    assert main(args) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line
    assert list(tmp_path.iterdir()) == []


def test_a_tracker_whose_package_is_missing_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(BenchError, match=r"tracker=wandb: no package wandb .*concept-bench\[wandb\]"):
        tracker({"name": "wandb", "project": "p"})
    assert type(tracker({"name": "none"})) is Tracker
