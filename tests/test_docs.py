"""The documents: every command in them is run or, where that takes minutes, planned or parsed; no link is dead."""

from __future__ import annotations

import argparse
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from tiny import run_args, unet_folder

from bench.__main__ import main
from bench.compose import compose, expand, launch_options, tracker_options
from bench.found import OPTION, carried
from bench.row import Row
from bench.sweeps.launch import LAUNCHERS
from bench.sweeps.requests import plans
from bench.trackers.known import TRACKERS
from bench.verbs.known import VERBS

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BESIDE = ("CONTRIBUTING.md", "metrics/README.md", "methods/README.md", "datasets/README.md", "leaderboards/FINDINGS.md")
LINKED = [*PAGES, *(ROOT / name for name in BESIDE)]
BENCH = ["python", "-m", "bench"]
AT_ONCE = ("validate",)  # verbs that take no time


def fenced(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


COMMANDS = [
    pytest.param(line, id=f"{page.stem}: {line[:60]}")
    for page in PAGES
    for block in fenced(page, "bash")
    for line in block.replace("\\\n", " ").splitlines()
    if line.strip() and not line.startswith("#")
]


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that has what the pages speak of: their own code and dataset, finished runs, the repository's bench/."""
    pages = {"adding-a-method": "word_and_lora", "adding-a-metric": "worst_reference"}
    for page, module in pages.items():
        (code,) = fenced(ROOT / "docs" / f"{page}.md", "python")
        (tmp_path / f"{module}.py").write_text(code)
    concept, prompts, *_ = fenced(ROOT / "docs" / "adding-a-dataset.md", "yaml")
    mug = tmp_path / "mine" / "concepts" / "my_mug"
    mug.mkdir(parents=True)
    (mug / "concept.yaml").write_text(concept)
    (tmp_path / "mine" / "prompts.yaml").write_text(prompts)
    for name in ("0.png", "1.png"):
        shutil.copy(ROOT / "datasets" / "stickers" / "concepts" / "whole_cat" / name, mug / name)
    row = next((ROOT / "leaderboards").glob("*/rows/*.json"))
    (tmp_path / "runs" / "method" / "run").mkdir(parents=True)
    shutil.copy(row, tmp_path / "runs" / "method" / "run" / "row.json")
    (tmp_path / "bench").symlink_to(ROOT / "bench")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_of_the_documents_works(
    line: str, desk: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = shlex.split(line, comments=True)
    if words[:3] == BENCH:
        _bench(words[3:], monkeypatch)
    elif words[0] == "make":
        done = subprocess.run(["make", "-n", *words[1:]], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    elif words[:2] == ["pip", "install"]:
        extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
        asked = re.findall(r"\[(.*)\]", words[-1])
        assert {e for part in asked for e in part.split(",")} <= set(extras)
    else:
        assert words[0] in ("uv", ".", "git", "cd"), f"{line}: a kind of command that this test does not know"
        assert subprocess.run(["bash", "-n", "-c", line], capture_output=True).returncode == 0
    capsys.readouterr()


def _bench(args: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Plans a run or sweep, everything checked that is checked before it starts; parses any other request."""
    if args[0] in VERBS and args[0] not in AT_ONCE:
        _parsed(args, monkeypatch)
    elif args[0] in VERBS or args[0] in ("--help", "help"):
        assert main(args) == 0
    else:
        launching, rest = launch_options(args)
        tracking, rest = tracker_options(rest)
        assert LAUNCHERS[launching["name"]].model_validate(launching)
        assert TRACKERS[tracking["name"]].model_validate(tracking)
        lists = expand(rest)
        assert plans([lists[0], lists[-1]])  # of a sweep the first and the last


class _Parsed(Exception):
    pass


def _parsed(args: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Has a verb read its arguments, and do nothing."""
    parse = argparse.ArgumentParser.parse_intermixed_args

    def only_parse(self: argparse.ArgumentParser, words: list[str]) -> None:
        parse(self, words)
        raise _Parsed

    for name in ("parse_args", "parse_intermixed_args"):
        monkeypatch.setattr(argparse.ArgumentParser, name, only_parse)
    with pytest.raises(_Parsed):
        VERBS[args[0]](args[1:])


def test_commands_within_sentences_name_verbs_that_exist() -> None:
    said = [
        (page.name, words)
        for page in LINKED
        for span in re.findall(r"`python -m bench\s+([^`]*)`", page.read_text(encoding="utf-8"))
        if (words := span.split())
    ]
    assert len(said) > 5
    asked = [(p, w[0]) for p, w in said if "=" not in w[0] and not w[0].startswith(("-", "…"))]
    assert [(p, verb) for p, verb in asked if verb not in VERBS] == []


@pytest.mark.parametrize("page", LINKED, ids=lambda p: str(p.relative_to(ROOT)))
def test_no_link_is_dead(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    links = [m for m in re.findall(r"\]\(([^)\s]+)\)", text) if not m.startswith(("http", "#"))]
    assert [m for m in links if not (page.parent / m.partition("#")[0]).exists()] == []


def test_every_page_can_be_found_from_the_readme_and_is_short() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for page in PAGES[1:]:
        assert f"(docs/{page.name})" in readme
        assert len(page.read_text(encoding="utf-8").splitlines()) <= 120


def test_every_metric_has_its_paragraph() -> None:
    from importlib import import_module

    from bench.metric import Derived, Metric

    modules = [import_module(f"metrics.{p.stem}") for p in (ROOT / "metrics").glob("[!_]*.py")]
    names = {m.name for module in modules for m in vars(module).values() if isinstance(m, Metric | Derived)}
    said = set(re.findall(r"`(\w+)`", (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")))
    assert len(names) > 20
    assert names - said == set()


def test_the_method_and_the_metric_of_the_pages_run(
    desk: Path, tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    (code,) = fenced(ROOT / "docs" / "adding-a-method.md", "python")
    assert len(code.splitlines()) <= 60
    *model, _, _ = run_args(unet_folder(tmp_path_factory.mktemp("tiny")))
    metrics = "protocol.metrics=[metrics.dino.dino,worst_reference.worst_reference]"
    method = ["+method._target_=word_and_lora.WordAndLora", "method.steps=2"]
    assert main([*method, "concept=poodle", *model, metrics, "root=out"]) == 0
    (path,) = (desk / "out").glob("WordAndLora/*/row.json")
    row = Row.model_validate_json(path.read_text())
    assert row.status == "ok" and row.cost["steps"] == 2
    assert row.measured["worst_reference"].value <= row.measured["dino"].value
    for module in ("word_and_lora", "worst_reference"):
        del sys.modules[module]
    capsys.readouterr()


def test_the_configuration_of_the_page_on_datasets_composes(tmp_path: Path) -> None:
    said = fenced(ROOT / "docs" / "adding-a-dataset.md", "yaml")[-1]
    (tmp_path / "dataset").mkdir()
    (tmp_path / "dataset" / "mine.yaml").write_text(said)
    config, _ = compose(["+method=none", "dataset=mine", *carried([f"{OPTION}={tmp_path}"])])
    own = yaml.safe_load(said)
    assert {k: config["dataset"][k] for k in ("name", "path", "novel")} == {
        k: own[k] for k in ("name", "path", "novel")
    }
    assert "clip" in config["dataset"]["encoders"]


def test_every_room_and_file_of_the_architecture_is_there() -> None:
    said = re.findall(r"`([\w/]+(?:\.py|/))`", (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8"))
    missing = [name for name in said if not any((home / name).exists() for home in (ROOT, ROOT / "bench"))]
    assert (len(said) > 30, missing) == (True, [])
    rooms = {p.parent.name for p in (ROOT / "bench").glob("*/__init__.py")}
    assert rooms <= {name.strip("/") for name in said}
