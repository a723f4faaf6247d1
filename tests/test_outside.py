"""Pictures made elsewhere: complete or refused, and scored as the same pictures made here."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from bench.__main__ import main
from bench.row import Row

SEEDS = "protocol.seeds={concept: 2, class: 1, neighbour: 0, unrelated: 0, empty: 0}"
SMALL = ["concept=poodle", "model.steps=2", SEEDS]
METRICS = "protocol.metrics=[metrics.dino.dino,metrics.preservation.drift]"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A run of the untouched model, and the folder of its pictures."""
    root = tmp_path_factory.mktemp("made")
    assert main(["+method=none", *SMALL, METRICS, f"root={root}"]) == 0
    (folder,) = (p for p in (root / "store" / "generate").glob("*") if p.is_dir())
    return root, folder


def _row(root: Path, method: str) -> Row:
    (path,) = root.glob(f"{method}/*/row.json")
    return Row.model_validate_json(path.read_text())


def test_the_same_pictures_score_the_same(made: tuple[Path, Path], tmp_path: Path) -> None:
    root, folder = made
    args = [*SMALL, METRICS, f"root={tmp_path}"]
    assert main(["score", "--images", str(folder), "--name", "mine", *args]) == 0
    ours, theirs = _row(root, "none"), _row(tmp_path, "mine")
    assert theirs.measured == ours.measured
    assert theirs.anchors == ours.anchors
    assert theirs.method == "mine"


def test_a_folder_a_prompt_will_do(made: tuple[Path, Path], tmp_path: Path) -> None:
    for path in made[1].glob("*.png"):
        channel, index, seed = path.stem.split("-")
        into = tmp_path / "images" / channel / str(int(index))
        into.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, into / f"{seed}.png")
    args = ["score", "--images", str(tmp_path / "images"), *SMALL, METRICS, f"root={tmp_path / 'runs'}"]
    assert main(args) == 0
    assert _row(tmp_path / "runs", "outside").measured == _row(made[0], "none").measured


def test_the_list_says_what_is_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["score", "--list", str(tmp_path / "list.json"), *SMALL]) == 0
    listed = json.loads((tmp_path / "list.json").read_text())
    assert len(listed) == 6 * 2 + 4
    assert listed[0]["file"] == "concept-00-0.png"
    assert "<new1> dog" in listed[0]["prompt"]
    assert "16 pictures" in capsys.readouterr().out
    assert main(["score", "--list", str(tmp_path / "own.json"), "--trigger", "sks", *SMALL]) == 0
    own = json.loads((tmp_path / "own.json").read_text())
    assert own[0]["prompt"] == listed[0]["prompt"].replace("<new1>", "sks")
    assert main(["score", "--images", str(tmp_path), "--trigger", "sks", *SMALL]) == 2


def test_what_is_missing_or_broken_is_told_before_anything_is_computed(
    made: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = tmp_path / "images"
    shutil.copytree(made[1], images)
    args = ["score", "--images", str(images), *SMALL, METRICS, f"root={tmp_path / 'runs'}"]
    (images / "class-00-0.png").write_bytes((images / "class-00-0.png").read_bytes()[:200])
    assert main(args) == 2
    assert "class-00-0.png: not a readable picture" in capsys.readouterr().err
    (images / "class-00-0.png").unlink()
    assert main(args) == 2
    assert "1 of 16 pictures are missing, class-00-0.png the first" in capsys.readouterr().err
    assert main(["score", *SMALL]) == 2
    assert main(["score", "--images", str(images), "--name", "../x", *SMALL]) == 2
    assert not (tmp_path / "runs").exists()
