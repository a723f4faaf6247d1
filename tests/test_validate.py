"""Row files from anybody: what is wrong is one clear line with file and field, and nothing is run."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.__main__ import main
from bench.rows.file import LARGEST
from bench.submissions.validate import check

NAME = "purecc-cat-seed0-quick.json"
Said = dict[str, Any]


def _said(**fields: Any) -> Said:
    value = {
        "value": 0.5, "low": 0.4, "high": 0.6, "n": 30, "unit": "prompt, then seed", "better": "higher",
        "checkpoint": "judge", "version": 1, "title": "DINO", "group": "fidelity",
    }  # fmt: skip
    held = "".join(f" {name}={fields[name]}" for name in ("seed", "gate") if name in fields)
    command = f"python -m bench +method={fields.get('method', 'purecc')} concept={fields.get('concept', 'cat')}{held}"
    return {
        "schema_version": 1, "status": "ok", "reason": "", "method": "purecc", "model": "m", "dataset": "d",
        "concept": "cat", "kind": "subject", "protocol": "quick", "seed": 0, "hyperparameters": {"lr": 0.1},
        "tuned": False, "measured": {"dino": dict(value), "drift/class": value | {"better": "lower"}},
        "anchors": {"none": {"dino": dict(value)}}, "unmeasured": {"concept_leakage/class": "not learned"},
        "fingerprints": {"train": "0" * 15 + "a", "score": "0" * 15 + "b"}, "cost": {"seconds": 12.4},
        "provenance": {"command": command, "finished": "2026-11-22T10:00:00+0000"},
    } | fields  # fmt: skip


def _rows(tmp_path: Path, **files: Said) -> Path:
    folder = tmp_path / "d-m-subject" / "rows"
    folder.mkdir(parents=True)
    for name, said in files.items():
        (folder / name).write_text(json.dumps(said))
    return folder


def _set(path: str, value: Any) -> Callable[[Said], None]:
    """Returns what sets a field, `measured>dino>n`."""

    def change(said: Said) -> None:
        *steps, last = path.split(">")
        for step in steps:
            said = said[step]
        said[last] = value

    return change


def _drop(path: str) -> Callable[[Said], None]:
    def change(said: Said) -> None:
        *steps, last = path.split(">")
        for step in steps:
            said = said[step]
        del said[last]

    return change


def _failed(said: Said) -> None:
    said |= {"status": "failed", "reason": "out of memory"}


def _both(*changes: Callable[[Said], None]) -> Callable[[Said], None]:
    return lambda said: [c(said) for c in changes] and None


RUN_IT = "$(touch ran) `touch ran`"
FIELDS: dict[str, tuple[Callable[[Said], None], str]] = {
    "a time that is none": (_set("provenance>finished", "0"), "provenance.finished="),
    "a month that is none": (_set("provenance>finished", "2026-19-22T10:00:00+0000"), "provenance.finished="),
    "another schema": (_set("schema_version", 2), "schema_version=2: 1"),
    "a schema in words": (_set("schema_version", "1"), "schema_version='1'"),
    "a schema that is true": (_set("schema_version", True), "schema_version=True"),
    "no schema": (_drop("schema_version"), "schema_version="),
    "an unknown field": (_set("score", 1.0), "score=1.0"),
    "a field is missing": (_drop("concept"), "concept="),
    "a seed in words": (_set("seed", "0"), "seed='0'"),
    "a seed is a fraction": (_set("seed", 0.5), "seed=0.5"),
    "a seed below 0": (_set("seed", -1), "seed=-1"),
    "tuned in words": (_set("tuned", "yes"), "tuned='yes'"),
    "an unknown status": (_set("status", "great"), "status='great'"),
    "a value in words": (_set("measured>dino>value", "0.5"), "measured.dino.value='0.5'"),
    "a value is true": (_set("measured>dino>value", True), "measured.dino.value=True"),
    "NaN": (_set("measured>dino>value", float("nan")), "measured.dino.value=nan"),
    "Infinity": (_set("measured>dino>high", float("inf")), "measured.dino.high=inf"),
    "NaN in an anchor": (_set("anchors>none>dino>low", float("nan")), "anchors.none.dino.low=nan"),
    "Infinity among the hyperparameters": (_set("hyperparameters>lr", float("-inf")), "hyperparameters.lr=-inf"),
    "NaN as a cost": (_set("cost>seconds", float("nan")), "cost.seconds=nan"),
    "above its interval": (_set("measured>dino>value", 0.7), "measured.dino.value=0.7: between low=0.4 and high=0.6"),
    "an interval turned round": (_set("measured>dino>low", 0.9), "measured.dino.value=0.5: between low=0.9"),
    "an anchor outside its interval": (_set("anchors>none>dino>value", 0.1), "anchors.none.dino.value=0.1"),
    "a cosine of 7": (
        _both(_set("measured>dino>value", 7.0), _set("measured>dino>high", 8.0)),
        "measured.dino.value=7.0: between -1 and 1",
    ),
    "a distance below 0": (
        _both(_set("measured>drift/class>value", -0.3), _set("measured>drift/class>low", -0.4)),
        "measured.drift/class.value=-0.3: between 0 and 2",
    ),
    "no pictures": (_set("measured>dino>n", 0), "measured.dino.n=0"),
    "a half picture": (_set("measured>dino>n", 1.5), "measured.dino.n=1.5"),
    "a version below 1": (_set("measured>dino>version", 0), "measured.dino.version=0"),
    "no judge": (_set("measured>dino>checkpoint", " "), "measured.dino.checkpoint"),
    "an unknown direction": (_set("measured>dino>better", "greater"), "measured.dino.better='greater'"),
    "a bare number": (_set("measured>dino", 0.9), "measured.dino=0.9"),
    "a path for a method": (_set("method", "../../etc/passwd"), "method='../../etc/passwd'"),
    "dots for a concept": (_set("concept", ".."), "concept='..'"),
    "an option for a name": (_set("dataset", "-rf"), "dataset='-rf'"),
    "markup for a model": (_set("model", "<script>alert(1)</script>"), "model='<script>"),
    "a line end in a name": (_set("protocol", "quick\n"), "protocol='quick\\n'"),
    "an endless name": (_set("method", "a" * 5000), "method='aaa"),
    "markup for a metric": (_set("measured", {"<b>dino</b>": _said()["measured"]["dino"]}), "measured.<b>dino</b>"),
    "a path for a metric": (_set("measured", {"../dino": _said()["measured"]["dino"]}), "measured.../dino"),
    "an anchor's name": (_set("anchors", {"a b": {}}), "anchors.a b"),
    "markup in a title": (_set("measured>dino>title", "<img src=x>"), "measured.dino.title='<img"),
    "a table's bar in a title": (_set("measured>dino>title", "DINO | 1.0"), "measured.dino.title"),
    "measured, marked reported": (_set("measured>dino>unit", "reported, Table 1"), "measured.dino.unit='reported"),
    "measured, of a source": (_set("measured>dino>source", "reported"), "measured.dino.source='reported'"),
    "ok with nothing": (_set("measured", {}), "measured: a row that is ok"),
    "ok with a reason": (_set("reason", "but"), "reason='but'"),
    "failed with values": (_failed, "measured: a row that is failed has no values"),
    "diverged without a reason": (
        _both(_set("status", "diverged"), _set("measured", {})),
        "reason: a row that is diverged says why",
    ),
    "unmeasurable with values": (
        _both(_set("status", "unmeasurable"), _set("reason", "gated away")),
        "measured: a row that is unmeasurable has no values",
    ),
    "unmeasurable without a reason": (
        _both(_set("status", "unmeasurable"), _set("measured", {})),
        "reason: a row that is unmeasurable says why",
    ),
    "measured and not": (_set("unmeasured", {"dino": "why"}), "unmeasured.dino"),
    "not measured for no reason": (_set("unmeasured", {"clip_t": ""}), "unmeasured.clip_t"),
    "a cost below 0": (_set("cost>seconds", -1.0), "cost.seconds=-1.0"),
    "a key that is none": (_set("fingerprints>train", "../x"), "fingerprints.train='../x'"),
    "no key of its scores": (_drop("fingerprints>score"), "fingerprints.score"),
    "no command": (_drop("provenance>command"), "provenance.command"),
    "an open quote in the command": (_set("provenance>command", "python 'x"), "provenance.command"),
    "values set by hand": (
        _set("provenance>command", "python -m bench +method=purecc method.eta=3"),
        "provenance.command: sets 'method.eta=3' by hand",
    ),
    "another seed's file": (
        _both(_set("seed", 1), _set("provenance>command", "python -m bench +method=purecc concept=cat seed=1")),
        "the file's name: 'purecc-cat-seed1-quick.json' would be right",
    ),
    "another board's file": (_set("kind", "style"), "of the board 'd-m-style'"),
    "what a shell would run": (_set("method", RUN_IT), "method='$(touch"),
    "another command": (_set("provenance>command", "touch ran"), "provenance.command='touch ran'"),
    "a command behind the command": (_set("provenance>command", "python -m bench; touch ran"), "provenance.command="),
    "a command in the command": (_set("provenance>command", f"python -m bench {RUN_IT}"), "provenance.command="),
}


@pytest.mark.parametrize("wrong", FIELDS)
def test_a_wrong_field_is_one_line_with_its_file(
    tmp_path: Path, wrong: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    change, says = FIELDS[wrong]
    said = copy.deepcopy(_said())
    change(said)
    folder = _rows(tmp_path, **{NAME: said})
    _refused(folder, says, capsys)


def _refused(folder: Path, says: str, capsys: pytest.CaptureFixture[str], name: str = NAME) -> None:
    before = sorted(folder.parent.parent.rglob("*"))
    assert main(["validate", str(folder)]) == 2
    done = capsys.readouterr()
    (line,) = done.err.splitlines()
    assert line.startswith(f"error: {folder / name}: "), line
    assert says in line
    assert len(line) < 300 + len(str(folder))
    assert done.out == ""
    assert sorted(folder.parent.parent.rglob("*")) == before


WHOLE = json.dumps(_said())
FILES: dict[str, tuple[bytes, str]] = {
    "cut off": (WHOLE[:-20].encode(), "not JSON"),
    "nothing": (b"", "not JSON"),
    "two rows": ((WHOLE + WHOLE).encode(), "not JSON"),
    "a list": (b"[1, 2]", "a JSON object would be right, not list"),
    "binary": (b"\xff\xfe\x00\x01", "no UTF-8"),
    "pickled": (b"\x80\x04\x95\x1e\x00\x00\x00\x00\x00\x00\x00", "no UTF-8"),
    "too large": (b" " * LARGEST + b"{}", "bytes; a row has at most"),
    "too deep": (b'{"a":' * 100_000, "nested too deeply"),
    "deep": (WHOLE.replace('{"lr": 0.1}', '{"lr": ' + "[" * 400 + "]" * 400 + "}").encode(), ""),
    "a field twice": (WHOLE.replace('"seed": 0', '"seed": 0, "seed": 1').encode(), "field 'seed' stands twice"),
    "too large a number": (WHOLE.replace("12.4", "1e999").encode(), "cost.seconds=inf"),
    "too long a number": (WHOLE.replace("12.4", "9" * 5000).encode(), "not JSON"),
    "half a character": (WHOLE.replace('"purecc"', '"\\ud800"').encode(), "not JSON"),
}


@pytest.mark.parametrize("wrong", FILES)
def test_a_wrong_file_is_one_line(tmp_path: Path, wrong: str, capsys: pytest.CaptureFixture[str]) -> None:
    data, says = FILES[wrong]
    folder = _rows(tmp_path)
    (folder / NAME).write_bytes(data)
    _refused(folder, says, capsys)


def test_what_is_no_plain_file_is_not_opened(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = _rows(tmp_path)
    (tmp_path / "elsewhere.json").write_text(WHOLE)
    (folder / NAME).symlink_to(tmp_path / "elsewhere.json")
    _refused(folder, "a plain file would be right", capsys)
    (folder / NAME).unlink()
    os.mkfifo(folder / NAME)
    _refused(folder, "a plain file would be right", capsys)


def test_a_file_name_moves_no_cursor(tmp_path: Path) -> None:
    folder = _rows(tmp_path, **{"a\n\x1b[2Jb.json": _said()})
    _, (line,) = check([folder])
    assert line.isprintable()


def test_many_wrong_fields_are_a_line_each_up_to_a_few(tmp_path: Path) -> None:
    folder = _rows(tmp_path, **{NAME: _said(**{f"x{k}": k for k in range(50)})})
    _, lines = check([folder])
    assert len(lines) == 6
    assert lines[-1].endswith("and 45 more fields are wrong")


def _other(seed: int, train: str = "c", **fields: Any) -> Said:
    return _said(seed=seed, fingerprints={"train": "0" * 15 + train, "score": "0" * 15 + train}, **fields)


def test_good_rows_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    failed = _other(2, "d", status="failed", reason="TypeError: '<' not supported\nhere", measured={}, anchors={})
    rows = {NAME: _said(), "purecc-cat-seed1-quick.json": _other(1), "purecc-cat-seed2-quick.json": failed}
    folder = _rows(tmp_path, **rows)
    for given in (folder, folder.parent, tmp_path):
        assert main(["validate", str(given)]) == 0
        assert capsys.readouterr().out == "3 rows, nothing wrong\n"
    assert main(["validate", str(folder / NAME), str(tmp_path / "d-m-subject"), str(folder / NAME)]) == 0
    assert capsys.readouterr().out == "3 rows, nothing wrong\n"


def test_a_row_stands_once(tmp_path: Path) -> None:
    first = _rows(tmp_path / "a", **{NAME: _said()})
    second = _rows(tmp_path / "b", **{NAME: _said(cost={"seconds": 1.0})})
    count, (line,) = check([first, second])
    assert count == 2
    assert line.startswith(f"{second / NAME}: method, concept, seed, protocol, gate: as in {first / NAME}")


def test_a_command_without_a_seed_asks_for_the_first(tmp_path: Path) -> None:
    said = _said(seed=1) | {"provenance": _said()["provenance"]}
    folder = _rows(tmp_path, **{"purecc-cat-seed1-quick.json": said})
    _, (line,) = check([folder])
    assert line.endswith("provenance.command: asks for seed='0', and the row is of 1")


@pytest.mark.parametrize("less", [0.0, 1e-4])
def test_a_method_is_no_other_under_a_new_name(tmp_path: Path, less: float) -> None:
    """Which of the two was first, their own dates say: a person has to."""
    made = {f"purecc-{c}-seed0-quick.json": _other(0, t, concept=c) for c, t in (("cat", "1"), ("cow", "2"))}
    for name, said in made.items():
        said["measured"] = copy.deepcopy(said["measured"])
        said["measured"]["dino"] |= {"value": 0.55 if "cow" in name else 0.45}
    theirs = {}
    for k, (name, said) in enumerate(made.items()):
        copied = _other(0, str(8 + k), method="theirs", concept=said["concept"])
        copied["measured"] = copy.deepcopy(said["measured"])
        copied["measured"]["dino"]["value"] -= less
        del copied["measured"]["drift/class"]  # nor by leaving something out
        theirs[name.replace("purecc", "theirs")] = copied
    folder = _rows(tmp_path, **made, **theirs)
    _, (line,) = check([folder])
    assert "the values of purecc" in line and "theirs-ca" in line
    for said in theirs.values():
        said["measured"]["dino"]["value"] -= 0.01
        (folder / f"theirs-{said['concept']}-seed0-quick.json").write_text(json.dumps(said))
    assert check([folder]) == (4, [])


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("+method=spm concept=cat", "asks for method='spm', and the row is of purecc"),
        ("+method=purecc concept=dog seed=0", "asks for concept='dog', and the row is of cat"),
        ("+method=purecc concept=cat seed=1", "asks for seed='1', and the row is of 0"),
        ("+method=purecc concept=cat gate=open", "asks for gate='open', and the row is of auto"),
    ],
)
def test_a_row_is_of_what_its_command_asks_for(tmp_path: Path, command: str, said: str) -> None:
    folder = _rows(tmp_path, **{NAME: _said(provenance={"command": f"python -m bench {command}"})})
    _, wrong = check([folder])
    assert f"{folder / NAME}: provenance.command: {said}" in wrong


def test_another_gate_is_another_row(tmp_path: Path) -> None:
    first = _rows(tmp_path / "a", **{NAME: _said()})
    second = _rows(tmp_path / "b", **{NAME: _said(gate="open")})
    assert check([first, second]) == (2, [])


def test_one_training_is_not_two_seeds(tmp_path: Path) -> None:
    copied = _said(seed=1)
    folder = _rows(tmp_path, **{NAME: _said(), "purecc-cat-seed1-quick.json": copied})
    _, (line,) = check([folder])
    assert line.startswith(f"{folder / 'purecc-cat-seed1-quick.json'}: fingerprints.train=")
    assert f"as cat, seed 0, {folder / NAME}" in line


def test_one_table_of_scores_is_not_two_methods(tmp_path: Path) -> None:
    name = "theirs-cat-seed0-quick.json"
    folder = _rows(tmp_path, **{NAME: _said(), name: _said(method="theirs")})
    _, (line,) = check([folder])
    assert line.startswith(f"{folder / name}: fingerprints.score=") and f"as purecc, {folder / NAME}" in line


def test_a_method_of_a_board_has_one_set_of_values(tmp_path: Path) -> None:
    rows = [_said(), _other(1), _other(2, "d", hyperparameters={"lr": 0.2}), _other(3, "e", gate="open")]
    rows[0]["hyperparameters"] = rows[1]["hyperparameters"] = {"lr": 0.1, "rank": 4}
    rows[2]["hyperparameters"] |= {"rank": 4.0}  # the same as 4
    rows += [_other(4, "f", hyperparameters={}, status="failed", reason="no", measured={}, anchors={})]
    rows[3]["hyperparameters"] = {"lr": 0.3}  # another gate is another entry
    folder = _rows(tmp_path, **{f"purecc-cat-seed{s['seed']}-quick.json": s for s in rows})
    _, (line,) = check([folder])
    where = folder / "purecc-cat-seed2-quick.json"
    assert line.startswith(f"{where}: hyperparameters.lr=0.2: 0.1, as most rows of purecc there have it")


def test_a_value_that_is_not_there_is_another_than_none(tmp_path: Path) -> None:
    rows = [_other(0, "1", hyperparameters={"lr": 0.1}), _other(1, "2", hyperparameters={"lr": 0.1})]
    rows += [_other(2, "3", hyperparameters={"lr": 0.1, "reward": None})]
    folder = _rows(tmp_path, **{f"purecc-cat-seed{s['seed']}-quick.json": s for s in rows})
    _, (line,) = check([folder])
    assert "hyperparameters.reward=null: nothing, as most rows" in line


def test_the_untouched_model_is_the_same_beside_every_row(tmp_path: Path) -> None:
    others = [_other(1, "c"), _other(2, "d")]
    odd = copy.deepcopy(_other(3, "e"))
    odd["anchors"]["none"]["dino"] |= {"value": 0.9, "low": 0.8, "high": 1.0}
    files = {f"purecc-cat-seed{s['seed']}-quick.json": s for s in (*others, odd)}
    folder = _rows(tmp_path, **{NAME: _said()}, **files)
    _, (line,) = check([folder])
    assert line.startswith(f"{folder / 'purecc-cat-seed3-quick.json'}: anchors.none.dino.value=0.9: 0.5, as most rows")


@pytest.mark.parametrize(("field", "value"), [("better", "lower"), ("checkpoint", "another"), ("version", 2)])
def test_a_column_is_of_one_judge_version_and_direction(tmp_path: Path, field: str, value: Any) -> None:
    other = _other(1)
    other["measured"] = copy.deepcopy(other["measured"])
    other["measured"]["dino"][field] = value
    folder = _rows(tmp_path, **{NAME: _said(), "purecc-cat-seed1-quick.json": other})
    _, (line,) = check([folder])
    assert line.startswith(f"{folder / 'purecc-cat-seed1-quick.json'}: measured.dino.{field}={value!r}: ")
    assert line.endswith(f"as in {folder / NAME}")


def test_runs_keep_their_own_names_and_may_be_made_again(tmp_path: Path) -> None:
    by_hand = {"command": "python -m bench +method=purecc method.eta=3"}
    runs = [_said(), _other(0, "c", provenance=by_hand)]
    for k, said in enumerate(runs):
        (tmp_path / f"run{k}").mkdir()
        (tmp_path / f"run{k}" / "row.json").write_text(json.dumps(said))
        (tmp_path / f"run{k}" / "log.json").write_text("{}")
    assert check([tmp_path]) == (2, [])
    (tmp_path / "copied").mkdir()
    (tmp_path / "copied" / "row.json").write_text(json.dumps(runs[0]))
    assert len(check([tmp_path])[1]) == 1


@pytest.mark.parametrize("given", ["nowhere", ""])
def test_nothing_to_check_is_a_wrong_request(tmp_path: Path, given: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", str(tmp_path / given)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert str(tmp_path / given) in line


def test_committed_rows_are_valid(root: Path) -> None:
    count, wrong = check([root / "leaderboards"])
    assert wrong == []
    assert count == len(list((root / "leaderboards").glob("*/rows/*.json")))


def test_ranges_are_of_metrics_that_are_there(root: Path) -> None:
    from importlib import import_module

    from bench.metric import Derived, Metric
    from bench.rows.checks import ranges

    modules = [import_module(f"metrics.{p.stem}") for p in (root / "metrics").glob("[!_]*.py")]
    names = {s.name for m in modules for s in vars(m).values() if isinstance(s, Metric | Derived)}
    assert set(ranges()) <= names
