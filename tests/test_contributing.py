"""Every command of CONTRIBUTING.md, run as it stands there, in its order; runs are cut short."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import save_file

from bench.outside.lora_file import modules
from tests import tiny

RUNS = re.compile(r"\+method=|score --(lora|images|list)")


@pytest.fixture(scope="module")
def page(root: Path) -> str:
    return (root / "CONTRIBUTING.md").read_text(encoding="utf-8")


def _blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL)


def _lora(path: Path, folder: Path) -> None:
    shapes = modules({"family": "epsilon", "path": str(folder)})
    module, (width, depth) = next((m, s) for m, s in shapes.items() if m.endswith("attn2.to_k"))
    state = {f"unet.{module}.lora_A.weight": torch.ones(2, depth), f"unet.{module}.lora_B.weight": torch.ones(width, 2)}
    save_file(state, path)


def _pictures(folder: Path, listed: Path) -> None:
    from PIL import Image

    folder.mkdir()
    for k, wanted in enumerate(json.loads(listed.read_text())):
        Image.new("RGB", (64, 64), (k % 256, 40, 90)).save(folder / wanted["file"])


def test_every_command_runs(page: str, root: Path, tmp_path: Path) -> None:
    folder = tiny.unet_folder(tmp_path / "tiny")
    _lora(tmp_path / "my_cat.safetensors", folder)
    # A random-weight model, a step of training and of sampling, two metrics; the grid is the protocol's own.
    short = f"model.path={folder} model.name=tiny model.steps=1 'protocol.metrics=[metrics.dino.dino]'"
    env = os.environ | {"PYTHONPATH": str(root), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    commands = [line for block in _blocks(page, "bash") for line in block.splitlines() if line]
    assert len(commands) >= 8
    for command in commands:
        assert command.startswith("python -m bench ")
        line = f"{command} {short}" if RUNS.search(command) else command
        line += " method.steps=1" if "+method=" in command else ""
        if "--images" in command:
            _pictures(tmp_path / "pictures", tmp_path / "wanted.json")
        done = subprocess.run(["bash", "-c", line], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
    assert sorted(p.name for p in (tmp_path / "runs").iterdir()) == ["my_cat", "my_method", "my_pictures", "store"]


def test_the_recipe_is_yaml_and_validates_a_folder(page: str, tmp_path: Path) -> None:
    (recipe,) = (yaml.safe_load(b) for b in _blocks(page, "yaml"))
    steps = [s["run"] for s in recipe["jobs"]["validate"]["steps"] if "run" in s]
    assert steps == ["pip install .", "python -m bench validate theirs/submissions"]
    assert recipe["permissions"] == {"contents": "read"}
    assert "pull_request" in recipe[True]  # what YAML 1.1 makes of `on`


def test_the_entry_points_are_the_examples(page: str, root: Path) -> None:
    (said,) = (tomllib.loads(b) for b in _blocks(page, "toml"))
    theirs = tomllib.loads((root / "tests" / "external_package" / "pyproject.toml").read_text())
    assert said["project"]["entry-points"] == theirs["project"]["entry-points"]


def test_the_page_names_every_promise_of_the_check(page: str, root: Path) -> None:
    source = (root / "bench" / "contract" / "check.py").read_text()
    for promise in re.findall(r'_tried\("([^"]+)"', source):
        assert promise in page or promise == "outside them", promise
    assert shutil.which("bash")
