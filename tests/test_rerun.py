"""A row run again from its own provenance: the same, within its interval, or said why not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tiny import run_args, unet_folder

from bench.__main__ import main
from bench.errors import BenchError
from bench.row import Row, Value
from bench.sweeps import rerun
from bench.sweeps.pairs import Pair


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A row of a sweep."""
    root = tmp_path_factory.mktemp("runs")
    model = unet_folder(root / "tiny")
    args = ["-m", "+method=dreambooth_lora", "concept=poodle,racing_car", *run_args(model)]
    assert main([*args, f"root={root / 'runs'}"]) == 0
    return next(root.glob("runs/dreambooth_lora/racing_car-*/row.json"))


def _changed(path: Path, to: Path, **fields: Any) -> Path:
    row = Row.model_validate_json(path.read_text())
    to.write_text(row.model_copy(update=fields).model_dump_json())
    return to


def test_a_row_of_a_sweep_comes_out_bit_for_bit(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rerun", str(made), "--root", str(tmp_path / "again")]) == 0
    said = capsys.readouterr().out
    assert "the same row, bit for bit" in said
    assert "dino" in said and "outside" not in said
    (again,) = (tmp_path / "again").glob("*/*/row.json")
    assert Row.model_validate_json(again.read_text()).digest() == Row.model_validate_json(made.read_text()).digest()
    assert (tmp_path / "again" / "store" / "log.jsonl").read_text().count("\n") == 4  # it was computed, not copied


def test_a_value_outside_its_interval_is_named_with_what_differs(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    row = Row.model_validate_json(made.read_text())
    off = row.measured["dino"].model_copy(update={"value": 3.0, "low": 2.9, "high": 3.1})
    packages = row.provenance["packages"] | {"torch": "2.6.0"}
    provenance = row.provenance | {"packages": packages, "cpu": "another"}
    old = _changed(made, tmp_path / "row.json", measured=row.measured | {"dino": off}, provenance=provenance)
    again = made.parent.parent.parent  # where it is already: nothing is computed in this test
    assert main(["rerun", str(old), "--root", str(again)]) == 1
    said = " ".join(capsys.readouterr().out.split())
    assert f"1 of {len(row.measured)} values left their interval: dino" in said
    assert "differs: torch: 2.6.0 then" in said and "differs: cpu: another then" in said


def test_a_row_keeps_its_own_hyperparameters_where_the_models_values_have_changed(made: Path) -> None:
    row = Row.model_validate_json(made.read_text())
    row = row.model_copy(update={"hyperparameters": row.hyperparameters | {"lr": 0.5, "rank": 3}})
    planned = rerun.plan(row, rerun.overrides(row, trust=False), "runs")
    assert planned.hyperparameters == row.hyperparameters
    assert planned.config["root"] == "runs"


def test_a_root_and_a_left_out_field_may_be_any(made: Path) -> None:
    row = Row.model_validate_json(made.read_text())
    command = f"{row.provenance['command']} ~protocol.attacks"
    row = row.model_copy(update={"provenance": row.provenance | {"command": command}})
    planned = rerun.plan(row, rerun.overrides(row, trust=False), "/tmp/jürgen (1)/it's")
    assert planned.config["root"] == "/tmp/jürgen (1)/it's"


FIELDS: dict[str, Any] = {"value": 0.5, "n": 4, "better": "higher", "checkpoint": "j", "version": 1}


@pytest.mark.parametrize(
    ("low", "high", "now", "within"),
    [(0.4, 0.6, 0.6, True), (0.4, 0.6, 0.61, False), (0.5, 0.5, 0.5000004, True), (0.5, 0.5, 0.51, False)],
)
def test_within_is_the_old_interval_and_rounding(low: float, high: float, now: float, within: bool) -> None:
    old = Value(low=low, high=high, **FIELDS)
    assert Pair("m", old, old.model_copy(update={"value": now})).within is within
    assert not Pair("m", old, None).within


WRONG = {
    "no command": ("", "provenance.command"),
    "another program": ("rm -rf /", "provenance.command"),
    "a verb": ("python -m bench leaderboard", "provenance.command"),
    "an option": ("python -m bench -m +method=none seed=0,1", "provenance.command"),
    "hydra": ("python -m bench +method=none hydra.run.dir=/", "provenance.command"),
    "a target": ("python -m bench +method=none method._target_=shutil.rmtree", "shutil.rmtree"),
    "a list": ("python -m bench +method=none 'protocol.metrics=[os.path.join]'", "--trust"),
    "an interpolation": (
        "python -m bench +method=dpg protocol.name=. "
        "'method.reward={_target_: \"subprocess${protocol.name}getoutput\"}'",
        "provenance.command",
    ),
    "the harness itself": (
        "python -m bench +method=dpg 'method.reward={_target_: bench.__main__.main, argv: [data]}'",
        "bench.__main__",
    ),
    "a cast": ("python -m bench +method=dpg 'method.reward=str(os.system)'", "os.system"),
    "half a quote": ("python -m bench '+method=none", "provenance.command"),
    "another method": ("python -m bench +method=none concept=racing_car", "method none"),
    "another seed": ("python -m bench +method=dreambooth_lora concept=racing_car seed=7", "seed 7"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_command_that_is_not_this_rows_is_refused(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], wrong: str
) -> None:
    command, says = WRONG[wrong]
    old = _changed(made, tmp_path / "row.json", provenance={"command": command})
    assert main(["rerun", str(old), "--root", str(tmp_path / "again")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and says in line
    assert not (tmp_path / "again").exists()


@pytest.mark.parametrize(("field", "says"), [("_target_", "hyperparameters.'_target_'"), ("init", "--trust")])
def test_a_hyperparameter_that_names_code_is_not_run(
    made: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    field: str,
    says: str,
) -> None:
    (tmp_path / "evil.py").write_text("raise SystemExit('it was run')")
    monkeypatch.syspath_prepend(str(tmp_path))
    own = json.loads(made.read_text())["hyperparameters"] | {field: "evil.Evil"}
    old = _changed(made, tmp_path / "row.json", hyperparameters=own)
    assert main(["rerun", str(old), "--root", str(tmp_path / "again")]) == 2
    assert says in capsys.readouterr().err


@pytest.mark.parametrize("text", ["", "{}", "[1]", "no JSON", json.dumps({"status": "ok"})])
def test_what_is_no_row_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "row.json"
    path.write_text(text)
    with pytest.raises(BenchError, match="not a row"):
        rerun.read(path)
    with pytest.raises(BenchError, match="No such file"):
        rerun.read(tmp_path / "nowhere.json")


def test_every_published_row_can_be_planned_again(root: Path) -> None:
    """Its command is one run's own: no sweep's, and of the method, concept and seed that the row states."""
    rows = [rerun.read(p) for p in sorted(root.glob("leaderboards/*/rows/*.json"))]
    assert rows
    for row in rows[:: max(1, len(rows) // 12)]:
        planned = rerun.plan(row, rerun.overrides(row, trust=False), "runs")
        assert planned.hyperparameters == row.hyperparameters


def test_a_reward_of_the_harness_and_an_installed_method_need_no_trust(made: Path, tmp_path: Path) -> None:
    for said in ("+method=dpg_dino", "+method=dpg 'method.reward={_target_: bench.rewards.Following, kind: dino}'"):
        row = rerun.read(_changed(made, tmp_path / "row.json", provenance={"command": f"python -m bench {said}"}))
        assert rerun.overrides(row, trust=False)[0] == said.split()[0]
