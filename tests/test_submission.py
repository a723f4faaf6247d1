"""Submissions from anybody: the good one is recomputed; every other is one clear line, and nothing is run."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import pickle
import stat
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bench.__main__ import main
from bench.data.concept_file import load
from bench.grid import grid, load_templates
from bench.row import Row
from bench.stages.score import summarize
from bench.submissions.recompute import COLUMNS, _conf, _metrics
from bench.submissions.recompute import PICTURES as PICTURES_MOST
from bench.submissions.submission import ADAPTER, FORMAT, INDEX, LARGEST, LIMITS, PICTURES, ROW, SCORES, SHEET
from bench.submissions.submit import _csv, _json
from tests.test_leaderboard import make

Files = dict[str, bytes]


@pytest.fixture(scope="module")
def good(dataset: Path) -> Files:
    """A submission as a run packs it, of scores drawn at random."""
    concept = load(dataset, "poodle")
    cells = grid(concept, load_templates(dataset), _conf("protocol", "quick")["seeds"]).cells
    rng = np.random.default_rng(0)
    scores = pd.DataFrame(
        [
            (source, metric, c.prompt.channel, c.prompt.index, c.seed, rng.uniform(0.1, 0.9), "")
            for source in ("model", "none")
            for metric, channel in (("dino", "concept"), ("clip_t", "concept"), ("drift", "class"))
            for c in cells
            if c.prompt.channel == channel
        ],
        columns=COLUMNS,
    )
    judges = {m.needs: SimpleNamespace(name="judge") for m in _metrics() if hasattr(m, "needs")}
    metrics = [m for m in _metrics() if m.name in ("dino", "clip_t", "drift")]
    values, _ = summarize(scores, metrics, judges)  # type: ignore[arg-type]
    row = Row(
        status="ok", method="theirs", model="sticker-flow", dataset="stickers", concept="poodle", kind="subject",
        protocol="quick", seed=0, hyperparameters={"lr": 0.1}, tuned=False, measured=values["model"],
        anchors={"none": values["none"]}, cost={"seconds": 12.5},
        fingerprints={"train": "a" * 16, "generate": "b" * 16, "score": "c" * 16,
                      "concept_content": concept.fingerprint()[:16]},
        provenance={"command": "python -m bench +method=theirs concept=poodle", "finished": "2026-11-22T10:00:00+0000"},
    )  # fmt: skip
    pictures = [{"file": f"{c.key}.png", "prompt": c.prompt.complete, "sha256": "0" * 64} for c in cells]
    adapter = {"format": 2, "base": "sticker-flow", "prefix": "transformer", "tokens": [], "delta": False,
               "loras": [{"weight": 1.0, "gate": None}], "consistency_scale": None, "answers": "",
               "cost": {"seconds": 12.5}}  # fmt: skip
    return {
        ROW: row.model_dump_json().encode(), SCORES: _csv(scores), PICTURES: _json({"pictures": pictures}),
        ADAPTER: _json(adapter), SHEET: _picture("WEBP"),
    }  # fmt: skip


def _picture(kind: str, side: int = 32) -> bytes:
    from PIL import Image

    out = io.BytesIO()
    Image.new("RGB", (side, side)).save(out, kind)
    return out.getvalue()


def _index(files: Files) -> bytes:
    named = {n: hashlib.sha256(files[n]).hexdigest() for n in LIMITS if n in files and n != INDEX}
    return _json({"format": FORMAT, "files": named})


def _zip(path: Path, files: Files) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in ({INDEX: _index(files)} | files).items():
            archive.writestr(name, data)
    return path


def test_a_good_one_passes_and_is_counted(good: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = _zip(tmp_path / "a.zip", good)
    for given in (path, tmp_path):
        assert main(["validate", str(given)]) == 0
        assert capsys.readouterr().out == "1 row, nothing wrong\n"


def test_a_good_one_enters_a_board_and_a_bad_one_none(
    good: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A board is rendered as well by who holds only the file: its own row, by the scores in it."""
    path, out = _zip(tmp_path / "a.zip", good), tmp_path / "boards"
    assert main(["leaderboard", str(path), "--out", str(out)]) == 0
    (row,) = out.glob("stickers-sticker-flow-subject/rows/*.json")
    assert Row.model_validate_json(row.read_text()) == Row.model_validate_json(good[ROW])
    capsys.readouterr()
    row.unlink()
    forged = dict(good)
    _set(ROW, "measured>dino>value", 0.99)(forged)
    _zip(tmp_path / "b.zip", forged)
    assert main(["leaderboard", str(tmp_path), "--out", str(out)]) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert "b.zip: " in said and "dino" in said
    assert not list(out.glob("*/rows/*.json"))  # the good one beside it waits for the bad one to be taken away


# --- what is wrong with the files in it ----------------------------------------------------------


def _said(name: str, change: Callable[[Any], object]) -> Callable[[Files], None]:
    def changed(files: Files) -> None:
        said = json.loads(files[name])
        change(said)
        files[name] = json.dumps(said).encode()

    return changed


def _set(name: str, path: str, value: Any) -> Callable[[Files], None]:
    *steps, last = path.split(">")

    def change(said: Any) -> None:
        for step in steps:
            said = said[int(step)] if isinstance(said, list) else said[step]
        said[last] = value

    return _said(name, change)


def _drop(name: str, field: str) -> Callable[[Files], None]:
    return _said(name, lambda said: said.pop(field))


def _lines(change: Callable[[list[list[str]]], object]) -> Callable[[Files], None]:
    def changed(files: Files) -> None:
        lines = list(csv.reader(io.StringIO(files[SCORES].decode())))
        change(lines)
        out = io.StringIO()
        csv.writer(out, lineterminator="\n").writerows(lines)
        files[SCORES] = out.getvalue().encode()

    return changed


def _cell(column: str, value: str, line: int = 1) -> Callable[[Files], None]:
    return _lines(lambda lines: lines[line].__setitem__(COLUMNS.index(column), value))


def _bytes(name: str, data: bytes) -> Callable[[Files], None]:
    return lambda files: files.update({name: data})


def _without(name: str) -> Callable[[Files], None]:
    return lambda files: files.pop(name) and None


class Runs:
    """What a pickle would run."""

    def __reduce__(self) -> Any:
        return os.system, ("touch ran",)


SCRIPT = "<script>alert(1)</script>"
FILES: dict[str, tuple[Callable[[Files], Any], str]] = {
    # the row
    "a field is missing": (_drop(ROW, "concept"), "concept="),
    "an unknown field": (_set(ROW, "score", 1), "score=1"),
    "another schema": (_set(ROW, "schema_version", 2), "schema_version=2: 1 would be right"),
    "a seed in words": (_set(ROW, "seed", "0"), "seed='0'"),
    "a value is NaN": (_set(ROW, "measured>dino>value", float("nan")), "measured.dino.value=nan"),
    "a value beyond every number": (_set(ROW, "measured>dino>high", float("inf")), "measured.dino.high=inf"),
    "HTML for a method": (_set(ROW, "method", SCRIPT), "method='<script>"),
    "HTML in a title": (_set(ROW, "measured>dino>title", SCRIPT), "measured.dino.title='<script>"),
    "a path for a model": (_set(ROW, "model", "../../x"), "model='../../x'"),
    "a shell's words for a command": (
        _set(ROW, "provenance>command", "python -m bench; touch ran"),
        "provenance.command=",
    ),
    "a row that is no JSON": (_bytes(ROW, b"{"), "not JSON"),
    "a row that is a list": (_bytes(ROW, b"[]"), "a JSON object would be right"),
    "a row nested for ever": (_bytes(ROW, b'{"a":' * 100_000), "nested too deeply"),
    "a row that is a pickle": (_bytes(ROW, pickle.dumps(Runs())), "no UTF-8"),
    "a field twice": (lambda f: f.update({ROW: f[ROW][:-1] + b', "seed": 1}'}), "stands twice"),
    "no key of the concept": (_set(ROW, "fingerprints", {"score": "c" * 16}), "concept_content=None"),
    # forged
    "a better value": (_set(ROW, "measured>dino>high", 0.99), "measured.dino.high=0.99"),
    "a better mean": (
        lambda f: [_set(ROW, "measured>dino>value", 0.98)(f), _set(ROW, "measured>dino>high", 0.99)(f)],
        "measured.dino.value=0.98",
    ),
    "more pictures": (_set(ROW, "measured>dino>n", 300), "measured.dino.n=300"),
    "the other direction": (_set(ROW, "measured>drift/class>better", "higher"), "measured.drift/class.better='higher'"),
    "an older version": (_set(ROW, "measured>dino>version", 77), "measured.dino.version=77"),
    "a worse anchor": (_set(ROW, "anchors>none>dino>low", -0.5), "anchors.none.dino.low=-0.5"),
    "a value without scores": (
        _said(ROW, lambda r: r["measured"].update({"clip_i": r["measured"]["dino"]})),
        "measured.clip_i: the scores do not hold it",
    ),
    "another concept": (_set(ROW, "concept", "minibus"), "fingerprints.concept_content"),
    "no such concept": (_set(ROW, "concept", "unicorn"), "concept=unicorn"),
    "another kind": (_set(ROW, "kind", "style"), "kind=style: subject"),
    "a forged key": (_set(ROW, "fingerprints>concept_content", "0" * 16), "concept_content=0000000000000000"),
    "another cost": (_set(ROW, "cost>seconds", 1.0), "adapter.json: cost.'seconds'=12.5: 1.0"),
    "another base model": (_set(ADAPTER, "base", "sticker-unet"), "base='sticker-unet'"),
    "another sampler": (
        _set(ROW, "provenance>command", "python -m bench +method=theirs model.steps=500"),
        "sets 'model.steps=500', and goes by the name of sticker-flow",
    ),
    "weaker attacks": (
        _set(ROW, "provenance>command", "python -m bench +method=theirs protocol.attacks=null"),
        "sets 'protocol.attacks=null', and goes by the name of quick",
    ),
    # the scores
    "no header": (_lines(lambda x: x.pop(0)), "line 1: source,metric"),
    "nothing in it": (_bytes(SCORES, b""), "line 1: source,metric"),
    "too few fields": (_lines(lambda x: x[5].pop()), "line 6: 6 fields"),
    "a score in words": (_cell("value", "high"), "line 2: '0,0,high'"),
    "a score is NaN": (_cell("value", "nan"), "line 2: 'nan'"),
    "a score beyond every number": (_cell("value", "1e999"), "line 2: '1e999'"),
    "a score beyond reason": (_cell("value", "1e308"), "line 2: '1e308'"),
    "a score and a reason for none": (_cell("reason", "too dark"), "line 2: "),
    "a score among reasons": (
        _lines(lambda x: [x.append([*x[1][:4], "77", "nan", "too dark"])]),
        "scores.csv: nothing comes of it",
    ),
    "a source of more pictures than there can be": (
        _lines(
            lambda x: x.extend(["other", "dino", "concept", "0", str(k), "0.5", ""] for k in range(PICTURES_MOST + 1))
        ),
        f"other, dino, concept: {PICTURES_MOST + 1} pictures",
    ),
    "a prompt that is a fraction": (_cell("prompt", "0.5"), "line 2: '0.5,0"),
    "HTML for a metric": (_cell("metric", SCRIPT), "line 2: '<script>"),
    "a path for a channel": (_cell("channel", "../x"), "line 2: '../x'"),
    "a score twice": (_lines(lambda x: x.append(x[1])), "has a score of this metric already"),
    "a score of no picture": (_cell("seed", "99"), "a picture that pictures.json does not have"),
    "a score changed": (_cell("value", "0.999"), "as its scores come to"),
    "scores that are a pickle": (_bytes(SCORES, pickle.dumps(Runs())), "no UTF-8"),
    "an open quote": (lambda f: f.update({SCORES: f[SCORES] + b'"model'}), "line"),
    # the pictures
    "pictures of another type": (_set(PICTURES, "pictures", "all"), "pictures='all'"),
    "a path for a picture": (_set(PICTURES, "pictures>0>file", "../../x.png"), "pictures.0.file='../../x.png'"),
    "a hash that is none": (_set(PICTURES, "pictures>0>sha256", "0"), "pictures.0.sha256='0'"),
    "a picture is missing": (_said(PICTURES, lambda s: s["pictures"].pop(-1)), "is missing"),
    "another prompt": (_set(PICTURES, "pictures>0>prompt", "a masterpiece"), "the prompt"),
    # the adapter
    "an adapter that runs": (_set(ADAPTER, "__reduce__", "os.system"), "__reduce__='os.system'"),
    "an adapter without a base": (_drop(ADAPTER, "base"), "base="),
    "an adapter's NaN": (_set(ADAPTER, "cost>seconds", float("nan")), "cost.seconds=nan"),
    # the contact sheet
    "a sheet that is no picture": (_bytes(SHEET, b"RIFF0000WEBPVP8 "), "not a readable WebP"),
    "a sheet that is a page": (_bytes(SHEET, b"<svg onload=alert(1)>"), "not a readable WebP"),
    "a sheet of another format": (_bytes(SHEET, _picture("PNG")), "not a readable WebP"),
    "a huge sheet": (_bytes(SHEET, _picture("WEBP", 5000)), "5000×5000 pixels"),
    # the index
    "another format": (lambda f: f.update({INDEX: _index(f).replace(b'"format": 1', b'"format": 9')}), "format=9"),
    "a forged hash": (lambda f: f.update({INDEX: _index({**f, ROW: b"{}"})}), "row.json is not the file that"),
    "a hash too few": (
        lambda f: f.update({INDEX: _index({k: v for k, v in f.items() if k != ROW})}),
        "one hash of every",
    ),
    "a hash in words": (_bytes(INDEX, _json({"format": 1, "files": dict.fromkeys(set(LIMITS) - {INDEX}, "x")})), "'x'"),
    # what is there at all
    "no row": (_without(ROW), "row.json is missing"),
    "no scores": (_without(SCORES), "scores.csv is missing"),
    "a path that goes up": (_bytes("../../evil.py", b"x"), "holds '../../evil.py'"),
    "an absolute path": (_bytes("/tmp/evil.py", b"x"), "holds '/tmp/evil.py'"),
    "a path of Windows": (_bytes("..\\evil.py", b"x"), "holds '..\\\\evil.py'"),
    "a pickle inside": (_bytes("adapter.pkl", pickle.dumps(Runs())), "holds 'adapter.pkl'"),
    "a program inside": (_bytes("setup.py", b"import os; os.system('touch ran')"), "holds 'setup.py'"),
    "weights with a header of 1 GB": (_bytes("lora.safetensors", struct.pack("<Q", 2**30)), "holds 'lora.safetensors'"),
    "a zip bomb": (_bytes(SCORES, b"0" * (LIMITS[SCORES] + 1)), f"at most {LIMITS[SCORES]}"),
    "a name that moves the cursor": (_bytes("\x1b[2J", b"x"), "holds '\\x1b[2J'"),
}


@pytest.mark.parametrize("wrong", FILES)
def test_a_wrong_file_in_it_is_one_line(
    wrong: str, good: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    change, says = FILES[wrong]
    files = dict(good)
    change(files)
    _refused(_zip(tmp_path / "a.zip", files), says, capsys)


def _refused(path: Path, says: str, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(path.parent.rglob("*"))
    assert main(["validate", str(path)]) == 2
    done = capsys.readouterr()
    line = done.err.splitlines()[0]
    assert line.startswith(f"error: {path}"), line
    assert says in line
    assert len(line) < 330 + len(str(path))
    assert line.isprintable()
    assert len(done.err.splitlines()) == 1, done.err
    assert done.out == ""
    assert sorted(path.parent.rglob("*")) == before


# --- what is wrong with the zip file itself ------------------------------------------------------


def _entry(path: Path, good: Files, name: str, **said: Any) -> None:
    """Writes a good submission but for what is said of one file."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for n, data in ({INDEX: _index(good)} | good).items():
            info = zipfile.ZipInfo(n)
            for field, value in said.items() if n == name else ():
                setattr(info, field, value)
            archive.writestr(info, data)


def _twice(path: Path, good: Files) -> None:
    _zip(path, good)
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(path, "a") as archive:
        archive.writestr(ROW, good[ROW])


def _damaged(path: Path, good: Files) -> None:
    _entry(path, good, ROW, compress_type=zipfile.ZIP_STORED)
    data = path.read_bytes()
    path.write_bytes(data.replace(b'"theirs"', b'"better"', 1))


def _lying(path: Path, good: Files) -> None:
    """A file that unpacks to more than the directory says."""
    _zip(path, good | {SCORES: b"0" * (2 * LIMITS[SCORES])})
    data = path.read_bytes()
    path.write_bytes(data.replace(struct.pack("<L", 2 * LIMITS[SCORES]), struct.pack("<L", 1000)))


def _encrypted(path: Path, good: Files) -> None:
    _zip(path, good)
    data = bytearray(path.read_bytes())
    at = data.index(b"PK\x01\x02")
    data[at + 8] |= 1
    path.write_bytes(data)


ZIPS: dict[str, tuple[Callable[[Path, Files], Any], str]] = {
    "no zip file": (lambda p, g: p.write_bytes(b"hello"), "not a whole zip file"),
    "empty": (lambda p, g: p.write_bytes(b""), "not a whole zip file"),
    "cut off": (lambda p, g: p.write_bytes(_zip(p, g).read_bytes()[:-300]), "not a whole zip file"),
    "too large": (lambda p, g: (p.touch(), os.truncate(p, LARGEST + 1)), "a submission has at most"),
    "a file twice": (_twice, "holds row.json twice"),
    "a symbolic link": (
        lambda p, g: _entry(p, g | {SCORES: b"/etc/passwd"}, SCORES, external_attr=(stat.S_IFLNK | 0o777) << 16),
        "scores.csv is a link or a device",
    ),
    "a device": (lambda p, g: _entry(p, g, ROW, external_attr=(stat.S_IFCHR | 0o666) << 16), "is a link or a device"),
    "packed otherwise": (lambda p, g: _entry(p, g, ROW, compress_type=zipfile.ZIP_LZMA), "packed in a way"),
    "a damaged file": (_damaged, "not a whole zip file"),
    "a size that lies": (_lying, ""),
    "encrypted": (_encrypted, "is encrypted"),
    "a link to a zip file": (
        lambda p, g: p.symlink_to(_zip(p.with_suffix(".other"), g)),
        "a plain file would be right",
    ),
}


@pytest.mark.parametrize("wrong", ZIPS)
def test_a_wrong_zip_file_is_one_line(
    wrong: str, good: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write, says = ZIPS[wrong]
    write(tmp_path / "a.zip", good)
    _refused(tmp_path / "a.zip", says, capsys)


def test_there_are_enough_of_them() -> None:
    assert len(FILES) + len(ZIPS) >= 60


def test_a_run_counts_once(good: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _zip(tmp_path / "a.zip", good)
    _zip(tmp_path / "b.zip", good)
    assert main(["validate", str(tmp_path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "b.zip: method, concept, seed, protocol, gate: as in" in line
    renamed = good[ROW].replace(b'"theirs"', b'"renamed"')
    _zip(tmp_path / "b.zip", good | {ROW: renamed})
    assert main(["validate", str(tmp_path)]) == 2
    assert "fingerprints.score=" in capsys.readouterr().err  # the same run under another name
    _zip(tmp_path / "b.zip", good | {ROW: renamed.replace(b"c" * 16, b"d" * 16)})
    assert main(["validate", str(tmp_path)]) == 0


def test_nothing_heavy_is_imported_to_check_one(good: Files, tmp_path: Path, root: Path) -> None:
    import subprocess
    import sys

    code = ("import sys\nfrom bench.__main__ import main\n"
            f"assert main(['validate', {str(_zip(tmp_path / 'a.zip', good))!r}]) == 0\n"
            "assert not {'torch', 'diffusers', 'transformers'} & set(sys.modules)\n")  # fmt: skip
    env = os.environ | {"PYTHONPATH": str(root)}
    done = subprocess.run([sys.executable, "-c", code], env=env, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


SMALL = [
    "concept=poodle",
    "model.name=hasty",
    "model.steps=2",
    "protocol.metrics=[metrics.dino.dino,metrics.preservation.drift]",
]


def test_how_a_run_was_carried_out_is_no_change_of_its_model() -> None:
    """What a board takes may be submitted: a batch, a device, where the files of a model of that name lie."""
    from bench.submissions.recompute import _by_hand

    for said in ("model.batch_size=8", "model.device=cuda", "model.memory.offload=true", "model.dtype=bfloat16"):
        row = make(model="sticker-flow", provenance={"command": f"python -m bench +method=purecc {said}"})
        assert list(_by_hand(row)) == []
    for said in ("model.steps=2", "'~protocol.attacks'", "'++model={steps: 2}'"):
        row = make(model="sticker-flow", provenance={"command": f"python -m bench +method=purecc {said}"})
        assert len(list(_by_hand(row))) == 1


def test_a_run_is_packed_and_passes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = tmp_path / "runs"
    assert main(["+method=none", *SMALL, f"root={runs}"]) == 0
    (run,) = (runs / "none").iterdir()
    first, again = tmp_path / "a.zip", tmp_path / "b.zip"
    assert main(["submit", str(run), "--out", str(first)]) == 0
    assert main(["submit", str(run / "row.json"), "--out", str(again)]) == 0
    assert first.read_bytes() == again.read_bytes()
    assert main(["validate", str(first)]) == 0
    capsys.readouterr()
    assert main(["submit", str(run), "--out", str(first)]) == 2  # nothing is overwritten
    assert main(["submit", str(tmp_path / "nowhere")]) == 2
    next((runs / "store" / "score").glob("*/scores.parquet")).write_bytes(b"")
    assert main(["submit", str(run), "--out", str(tmp_path / "c.zip")]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    assert "score stage of this row is gone" in lines[2]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.zip", "b.zip", "runs"]


def test_a_short_grid_is_not_the_protocols(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    args = ["+method=none", *SMALL, "protocol.seeds={concept: 1, class: 1}", f"root={tmp_path / 'runs'}"]
    assert main(args) == 0
    (run,) = (tmp_path / "runs" / "none").iterdir()
    assert main(["submit", str(run), "--out", str(tmp_path / "a.zip")]) == 2
    assert "protocol quick has" in capsys.readouterr().err
    assert list(tmp_path.glob("*.zip")) == []
