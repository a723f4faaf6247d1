"""The command line: help is light, and a wrong request is one line, exit code 2 and nothing written."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from bench.backbone.files import check_files, fingerprint, resolve
from bench.compose import as_text, compose
from bench.errors import BenchError

HEAVY = {"torch", "diffusers", "transformers", "peft", "open_clip", "pandas", "hydra", "omegaconf", "rich", "PIL"}


def _python(root: Path, cwd: Path, *args: str) -> subprocess.CompletedProcess[str]:
    env = os.environ | {"PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run([sys.executable, *args], cwd=cwd, env=env, capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize("option", ["--help", "-h", ""])
def test_help_says_what_there_is(root: Path, tmp_path: Path, option: str) -> None:
    done = _python(root, tmp_path, "-m", "bench", *([option] if option else []))
    assert (done.returncode, done.stderr) == (0, "")
    for group in ("method", "model", "dataset", "protocol"):
        for path in (root / "conf" / group).glob("*.yaml"):
            assert path.stem in done.stdout
    for path in (root / "datasets" / "stickers" / "concepts").iterdir():
        assert path.name in done.stdout


@pytest.mark.parametrize(
    "args",
    [["--help"], *([v, "--help"] for v in ("pretrain", "oracle", "data", "plan", "report", "compare", "reproduce"))],
    ids=" ".join,
)
def test_help_imports_nothing_heavy(root: Path, tmp_path: Path, args: list[str]) -> None:
    code = (
        "import sys\nfrom bench.__main__ import main\n"
        f"try:\n    code = main({args!r})\nexcept SystemExit as stop:\n    code = stop.code\n"
        "import json\nprint('\\n' + json.dumps([code, sorted({m.split('.')[0] for m in sys.modules})]))\n"
    )
    done = _python(root, tmp_path, "-c", code)
    code_, modules = json.loads(done.stdout.splitlines()[-1])
    assert not code_
    assert "bench" in modules
    assert not HEAVY & set(modules)


def test_every_verb_is_in_the_help(root: Path) -> None:
    from bench.__main__ import usage
    from bench.verbs.known import VERBS

    assert [v for v in VERBS if f"python -m bench {v}" not in usage()] == []


WRONG = {
    "method": (["+method=purec"], ["purec", "purecc", "dreambooth_lora"]),
    "no method": (["seed=1"], ["+method=", "purecc"]),
    "concept": (["+method=purecc", "concept=whole_kat"], ["whole_kat", "whole_cat"]),
    "concept outside": (["+method=purecc", "concept=../../../conf"], ["../../../conf"]),
    "option": (["+method=purecc", "method.lrr=1"], ["lrr"]),
    "top option": (["+method=purecc", "sede=1"], ["sede"]),
    "dataset": (["+method=purecc", "dataset=dreamboth"], ["dreamboth", "stickers"]),
    "dataset path": (["+method=purecc", "dataset.path=/no/such/data"], ["/no/such/data"]),
    "model": (["+method=purecc", "model=sd9"], ["sd9", "sticker-flow"]),
    "no model": (["+method=purecc", "model=null"], ["model=null", "a name"]),
    "pictures without end": (
        ["+method=purecc", "protocol.seeds.concept=100000000"],
        ["protocol.seeds.concept=100000000", "10000"],
    ),
    "another's name": (["+method=purecc", "model.name=sticker-unet"], ["a model of this name", "model=sticker-flow"]),
    "model path": (["+method=purecc", "model.path=/no/such/model"], ["/no/such/model"]),
    "protocol": (["+method=purecc", "protocol=quik"], ["quik", "quick"]),
    "channel": (["+method=purecc", "+protocol.seeds.attack=1"], ["attack"]),
    "seed": (["+method=purecc", "seed=abc"], ["seed", "abc"]),
    "seed is a fraction": (["+method=purecc", "seed=0.5"], ["seed", "0.5"]),
    "half a sweep": (["+method=purecc", "seed=0,abc", "-m"], ["seed", "abc"]),
    "syntax": (["+method=purecc", "seed="], ["seed"]),
    "flag": (["+method=purecc", "--sed=1"], ["--sed"]),
    "new field": (["+method=purecc", "+method.lrr=1"], ["purecc", "lrr"]),
    "kind": (["+method=purecc", "concept=erase_cat"], ["purecc", "erase_cat", "erase"]),
    "method unprefixed": (["method=purecc", "seed=0"], ["+method=NAME"]),
    "a sweep without its sign": (["+method=purecc,spm"], ["purecc,spm", "-m"]),
    "a method of one's own": (["+method=my_thing"], ["my_thing", "--config-dir"]),
    "family": (["+method=uce", "concept=erase_cat"], ["flow", "model=", "sticker-unet"]),
    "gate": (["+method=spm", "concept=erase_cat", "gate=wide"], ["gate='wide'", "'closed'", "number"]),
    "verb": (["trian"], ["trian", "pretrain"]),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_request_is_one_line_and_writes_nothing(root: Path, tmp_path: Path, wrong: str) -> None:
    args, says = WRONG[wrong]
    run_root = tmp_path / "runs"
    more = [] if wrong == "verb" else [f"root={run_root}"]
    done = _python(root, tmp_path, "-m", "bench", *args, *more)
    assert done.returncode == 2, done.stderr
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("error: ")
    assert [s for s in says if s not in lines[0]] == [], lines[0]
    assert done.stdout == ""
    assert list(tmp_path.iterdir()) == []


def test_told_to_end_it_ends_as_on_ctrl_c(root: Path, tmp_path: Path) -> None:
    code = ("import os, signal, sys, time\nfrom bench import __main__ as command\n"
            "def long(args):\n    os.kill(os.getpid(), signal.SIGTERM)\n    time.sleep(60)\n"
            "command._dispatch = long\nsys.exit(command.main(['plan']))\n")  # fmt: skip
    done = _python(root, tmp_path, "-c", code)
    assert (done.returncode, done.stderr) == (143, "interrupted; the same command continues from here\n")


@pytest.mark.parametrize("value", ["/tmp/jürgen", "/tmp/实验", "/tmp/it's (1)", "a#b", "x&y"])
def test_a_folder_may_be_called_anything(value: str) -> None:
    (word,) = as_text([f"root={value}"])
    assert compose(["+method=none", word])[0]["root"] == value
    assert as_text(["-m", "+method=none,uce", "root=a,b"]) == ["-m", "+method=none,uce", "root=a,b"]


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["tune", "spm", "--trials", "0"], "--trials 0: 1 or more"),
        (["tune", "spm", "--trials", "many"], "invalid int value: 'many'"),
        (["leaderboard", ".", "--out", "boards"], "no row.json of a run"),
        (["submit", "."], "a run's folder"),
    ],
)
def test_a_verbs_wrong_argument_is_one_line(root: Path, tmp_path: Path, args: list[str], says: str) -> None:
    done = _python(root, tmp_path, "-m", "bench", *args)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert says in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_reader_that_has_seen_enough_is_no_error(root: Path, tmp_path: Path) -> None:
    command = f"{sys.executable} -m bench plan -m +method=none seed=0,1 root={tmp_path} | head -1"
    done = subprocess.run(["bash", "-c", command], cwd=root, capture_output=True, text=True, timeout=300)
    assert done.stderr == ""
    assert done.stdout.startswith("2 runs")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model folder with one weight file."""
    folder = tmp_path / "model"
    (folder / "part").mkdir(parents=True)
    save_file(
        {"a": np.arange(600, dtype=np.float32), "b": np.zeros((3, 4), np.float16)},
        folder / "part" / "weights.safetensors",
    )
    (folder / "config.json").write_text("{}")
    return folder


def test_a_whole_weight_file_passes(model: Path) -> None:
    check_files(model)


def _header(text: bytes, tail: bytes = b"") -> bytes:
    return struct.pack("<Q", len(text)) + text + tail


DAMAGE = {
    "one byte short": lambda whole: whole[:-1],
    "half": lambda whole: whole[: len(whole) // 2],
    "header cut": lambda whole: whole[:20],
    "four bytes": lambda whole: whole[:4],
    "empty": lambda whole: b"",
    "one byte long": lambda whole: whole + b"x",
    "a pointer": lambda whole: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
    "no JSON": lambda whole: _header(b"{not json", b"x"),
    "binary": lambda whole: _header(b"\xff\xfe\x00\x01", b"x"),
    "a list": lambda whole: _header(b"[1, 2]", b"x"),
    "no offsets": lambda whole: _header(b'{"a": {"dtype": "F32"}}', b"x"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_weight_file_is_named(model: Path, damage: str) -> None:
    path = model / "part" / "weights.safetensors"
    path.write_bytes(DAMAGE[damage](path.read_bytes()))
    with pytest.raises(BenchError) as caught:
        check_files(model)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_truncated_model_is_a_wrong_request(root: Path, tmp_path: Path, model: Path) -> None:
    path = model / "part" / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:-7])
    done = _python(root, tmp_path, "-m", "bench", "+method=purecc", f"model.path={model}", f"root={tmp_path / 'runs'}")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert str(path) in done.stderr
    assert not (tmp_path / "runs").exists()


def test_the_embedded_models_are_whole(root: Path) -> None:
    folder = root / "bench" / "stickers" / "weights"
    assert list(folder.rglob("*.safetensors"))
    check_files(folder)


def test_fingerprint_follows_weights_and_configs_and_not_cards(model: Path) -> None:
    first = fingerprint(model)
    (model / "README.md").write_text("a card")
    assert fingerprint(model) == first
    (model / "config.json").write_text('{"changed": 1}')
    second = fingerprint(model)
    path = model / "part" / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    assert len({first, second, fingerprint(model)}) == 3


def test_a_missing_model_folder_is_named(tmp_path: Path) -> None:
    for path in (str(tmp_path / "nowhere"), "embedded:nowhere"):
        with pytest.raises(BenchError, match="nowhere"):
            resolve(path)
