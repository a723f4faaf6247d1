"""Methods from elsewhere: another package's, a template's, one's own folder; and what the contract test finds."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench import found
from bench.__main__ import main
from bench.compose import compose
from bench.errors import BenchError, own_line
from bench.row import Row
from bench.sweeps import served
from tests import tiny


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(found, "FOLDERS", [])
    monkeypatch.setattr(sys, "path", [*sys.path])


@pytest.fixture(scope="module")
def installed(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example package as pip installs it, into a folder of its own."""
    into = tmp_path_factory.mktemp("site")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    source = root / "tests" / "external_package"
    subprocess.run([*pip, "--disable-pip-version-check", "--target", str(into), str(source)], check=True)
    return into


def _python(root: Path, cwd: Path, *args: str, also: Path | None = None) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join(map(str, [root, *([also] if also else [])]))
    env = os.environ | {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run([sys.executable, *args], cwd=cwd, env=env, capture_output=True, text=True, timeout=300)


def test_another_packages_method_comes_onto_a_board(root: Path, tmp_path: Path, installed: Path) -> None:
    folder = tiny.unet_folder(tmp_path / "tiny")
    small = [a for a in tiny.run_args(folder) if not a.startswith("method.")]
    args = ["concept=poodle", *small, "protocol.name=mine", "root=runs"]
    for method in ("crayon", "crayon_bold", "crayon_methods.crayon.Crayon"):
        done = _python(root, tmp_path, "-m", "bench", f"+method={method}", *args, also=installed)
        assert done.returncode == 0, done.stderr
    done = _python(root, tmp_path, "-m", "bench", "leaderboard", "runs", "--out", "boards", also=installed)
    assert done.returncode == 0, done.stderr
    rows = sorted((tmp_path / "boards" / "stickers-tiny-subject-mine" / "rows").glob("*.json"))
    found = [Row.model_validate_json(p.read_text()) for p in rows]
    assert [r.method for r in found] == ["Crayon", "crayon", "crayon_bold"]
    assert found[1].hyperparameters == {"lr": 1e-2, "steps": 4, "batch_size": 2}
    assert found[2].hyperparameters["steps"] == 6
    assert "crayon_bold" in (tmp_path / "boards" / "stickers-tiny-subject-mine" / "README.md").read_text()
    help_ = _python(root, tmp_path, "-m", "bench", "--help", also=installed).stdout
    assert "crayon, crayon_bold" in help_
    missing = _python(root, tmp_path, "-m", "bench", "+method=crayn", also=installed)
    assert (missing.returncode, len(missing.stderr.splitlines())) == (2, 1)
    assert "crayon_bold" in missing.stderr


def test_another_packages_method_keeps_the_contract(root: Path, tmp_path: Path, installed: Path) -> None:
    done = _python(root, tmp_path, "-m", "bench", "check", "crayon", also=installed)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "crayon keeps the contract" in done.stdout


def test_a_class_is_named_by_its_target() -> None:
    config, name = compose(["method._target_=methods.uce.UCE", "method.erase_scale=2"])
    assert name == "UCE"
    assert config["method"] == {"_target_": "methods.uce.UCE", "regularization": 0.5, "erase_scale": 2,
                                "preserve_scale": 1.0}  # fmt: skip
    assert compose(["+method=methods.uce.UCE"])[0]["method"]["erase_scale"] == 1.0


@pytest.mark.parametrize("kind", ["iterative", "closed-form", "inference"])
def test_a_template_runs_and_keeps_the_contract_at_once(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = f"mine_{kind.replace('-', '_')}"
    assert main(["new-method", name, "--kind", kind, "--out", str(tmp_path)]) == 0
    written = capsys.readouterr().out.splitlines()
    assert [Path(p).name for p in written[:3]] == [f"{name}.py", f"{name}.yaml", f"test_{name}.py"]
    assert len((tmp_path / f"{name}.py").read_text().splitlines()) <= 60
    assert main(["check", name, "--config-dir", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "✗" not in said
    assert f"{name} keeps the contract" in said
    assert main(["new-method", name, "--kind", kind, "--out", str(tmp_path)]) == 2  # nothing is overwritten
    folder = tiny.unet_folder(tmp_path / "tiny")
    small = [a for a in tiny.run_args(folder, 1) if kind == "iterative" or not a.startswith("method.")]
    concept = "concept=erase_cat" if kind == "closed-form" else "concept=poodle"
    run = ["--config-dir", str(tmp_path), f"+method={name}", *small, concept, f"root={tmp_path / 'runs'}"]
    metrics = ["protocol.attacks=null", "protocol.metrics=[metrics.preservation.drift]"]
    metrics.append("protocol.seeds={concept: 1, unrelated: 1}")
    assert main([*run, *metrics]) == 0
    assert len(list((tmp_path / "runs" / name).glob("*/row.json"))) == 1


def test_a_template_in_the_checkout_has_its_places(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from bench import paths
    from bench.contract import new_method

    for folder in ("methods", "conf", "tests"):
        (tmp_path / folder).mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(paths, "shipped", lambda name: tmp_path / name)
    written, then = new_method.write("my_method", "iterative", None)
    assert list(map(str, written)) == ["methods/my_method.py", "conf/method/my_method.yaml", "tests/test_my_method.py"]
    assert "_target_: methods.my_method.MyMethod" in written[1].read_text()
    assert then[1] == "python -m bench +method=my_method"


@pytest.mark.parametrize("name", ["purecc", "My", "a-b", "../x", "class", "json", ""])
def test_a_name_that_cannot_be_is_one_line(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["new-method", name, "--out", str(tmp_path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "NAME" in line
    assert list(tmp_path.iterdir()) == []


def test_a_folder_adds_no_method_of_the_harness(tmp_path: Path) -> None:
    (tmp_path / "method").mkdir()
    (tmp_path / "method" / "purecc.yaml").write_text("_target_: os.System\n")
    with pytest.raises(BenchError, match=r"purecc\.yaml: the harness has a purecc"):
        found.add_folder(tmp_path)
    with pytest.raises(BenchError, match=r"--config-dir .*nowhere"):
        found.add_folder(tmp_path / "nowhere")
    assert main(["--config-dir"]) == 2


def test_a_folder_may_hold_models_datasets_and_protocols_of_other_names(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    for group, shipped in (("model", "sticker-unet"), ("dataset", "stickers"), ("protocol", "quick")):
        (tmp_path / "own" / group).mkdir(parents=True)
        text = (root / "conf" / group / f"{shipped}.yaml").read_text()
        (tmp_path / "own" / group / "my.yaml").write_text(text.replace(f"name: {shipped}", "name: my", 1))
    args = ["--config-dir", str(tmp_path / "own"), "+method=none", "model=my", "dataset=my", "protocol=my"]
    assert main(["plan", *args, "concept=poodle"]) == 0
    model = tmp_path / "own" / "model" / "my.yaml"
    model.write_text(model.read_text().replace("name: my", "name: sticker-flow"))
    capsys.readouterr()
    assert main(["plan", *args]) == 2
    assert "model.name=sticker-flow: the harness has a model of this name" in capsys.readouterr().err
    model.rename(model.with_name("sdxl.yaml"))
    with pytest.raises(BenchError, match=r"sdxl\.yaml: the harness has a sdxl"):
        found.add_folder(model.parent.parent / "model" / "..")


HEAD = """
from dataclasses import dataclass, field
from typing import Any, ClassVar
import random
import torch
from pydantic import PositiveFloat, PositiveInt
from bench.adapter import Adapter
from bench.workbench import Group

class Base:
    tasks: ClassVar = ("subject",)
    families: ClassVar = ("epsilon",)

    def train(self, workbench, concept):
        self.before(workbench)
        factors = workbench.lora("x", 2)
        scale = self.scale(workbench)
        def loss(batch):
            (ours,) = workbench.predict(batch, batch.complete, using=["x"], grad=True)
            return {"loss": scale * (ours - batch.target).square().mean()}
        workbench.fit("x", [Group(factors, 1e-2)], loss, 2, 2, **self.more(workbench))
        return self.after(workbench)

    def before(self, workbench): pass
    def scale(self, workbench): return 1.0
    def more(self, workbench): return {}
    def after(self, workbench): return workbench.adapter(lora="x")
"""
BROKEN = {
    "anything": ("lr: Any = 1.0", "lr: takes anything"),
    "nan": ("lr: float = 1.0", "lr: takes NaN"),
    "tasks": ('tasks: ClassVar = ("subjects",)', "tasks: subjects; of subject"),
    "families": ("families: ClassVar = ()", "families: none; of flow"),
    "raises": ("def before(self, workbench): raise KeyError('x')", "KeyError in broken.py, line"),
    "nothing": ("def after(self, workbench): workbench.backbone.clear()", "train returns NoneType"),
    "empty": ("def after(self, workbench): workbench.backbone.clear(); return Adapter()", "and nothing comes back"),
    "the model's own": (
        "def before(self, workbench): next(workbench.backbone.denoiser.parameters()).add_(1)",
        "has changed: train workbench.lora",
    ),
    "a hook": (
        "def before(self, workbench):\n        workbench.backbone.denoiser.conv_out.register_forward_hook("
        "lambda m, a, out: out + 1)",
        "predicts otherwise than before",
    ),
    "torch's generator": ("def scale(self, workbench): return float(torch.rand(()))", "two trainings from one seed"),
    "Python's generator": ("def scale(self, workbench): return random.random()", "two trainings from one seed"),
    "state": (
        "def more(self, workbench):\n        w = workbench.backbone.loras['x']\n        s = torch.zeros(1)\n"
        "        def step(batch):\n            s.add_(1)\n            w[0].data.add_(s)\n"
        "        return {'after_step': step}",
        "interrupted and continued",
    ),
    "no seed": (
        "def before(self, workbench): workbench.seed = 7",
        "another seed changes nothing",
    ),
}


@pytest.mark.parametrize("wrong", BROKEN)
def test_a_broken_promise_is_found(wrong: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    body, says = BROKEN[wrong]
    sys.modules.pop("broken", None)
    (tmp_path / "method").mkdir()
    (tmp_path / "broken.py").write_text(f"{HEAD}\n@dataclass\nclass Broken(Base):\n    {body}\n")
    lr = "lr: 1.0\n" if body.startswith("lr") else ""
    (tmp_path / "method" / "broken.yaml").write_text(f"_target_: broken.Broken\n{lr}")
    assert main(["check", "broken", "--config-dir", str(tmp_path)]) == 1
    done = capsys.readouterr()
    assert any(line.startswith("✗") and says in line for line in done.out.splitlines()), done.out
    assert "Traceback" not in done.out + done.err
    assert "broken breaks the contract" in done.out


def test_a_misspelt_field_is_named_and_what_it_may_have_been(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sys.modules.pop("broken", None)
    (tmp_path / "method").mkdir()
    (tmp_path / "broken.py").write_text(f"{HEAD}\n@dataclass\nclass Broken(Base):\n    guidance: float = 1.0\n")
    (tmp_path / "method" / "broken.yaml").write_text("_target_: broken.Broken\nguidanse: 2.0\n")
    assert main(["check", "broken", "--config-dir", str(tmp_path)]) == 1
    said = capsys.readouterr().out
    assert "guidanse: in the configuration, and no field of Broken (guidance?)" in said


@pytest.mark.parametrize("method", ["nothing_like_it", "no_package.Nothing", "methods.uce.Nothing"])
def test_a_method_that_is_not_there_is_a_wrong_request(method: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", method]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.count(method) == 1


def test_a_module_that_cannot_be_imported_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "method").mkdir()
    (tmp_path / "unimportable.py").write_text("x = 1\nimport nothing_of_this_name\n")
    (tmp_path / "method" / "mine.yaml").write_text("_target_: unimportable.Mine\n")
    assert main(["check", "mine", "--config-dir", str(tmp_path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"ModuleNotFoundError in {tmp_path / 'unimportable.py'}, line 2" in line


@pytest.mark.parametrize(("body", "says"), [("1 / 0", "ZeroDivisionError"), ("raise SystemExit(0)", "SystemExit"),
                                            ("import nothing_of_this_name", "ModuleNotFoundError")])  # fmt: skip
def test_a_package_that_cannot_be_imported_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], body: str, says: str
) -> None:
    """Its modules cannot even be looked for."""
    package = tmp_path / f"refuses_{says.lower()}"
    (tmp_path / "method").mkdir()
    package.mkdir()
    (package / "__init__.py").write_text(f"x = 1\n{body}\n")
    (package / "impl.py").write_text("class Mine: ...\n")
    (tmp_path / "method" / "mine.yaml").write_text(f"_target_: {package.name}.impl.Mine\n")
    assert main(["check", "mine", "--config-dir", str(tmp_path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{says} in {package / '__init__.py'}, line 2" in line


FAILS = {
    "returns nothing": ("def after(self, workbench): return None", "method failing: train returns NoneType"),
    "raises": ("def after(self, workbench): return {}['gone']", "KeyError: 'gone' (in failing.py, line "),
}  # fmt: skip


@pytest.mark.parametrize("wrong", FAILS)
def test_a_failed_run_says_where_in_the_authors_own_file(
    wrong: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "bench")
    body, says = FAILS[wrong]
    sys.modules.pop("failing", None)
    (tmp_path / "method").mkdir()
    (tmp_path / "failing.py").write_text(f"{HEAD}\n@dataclass\nclass Failing(Base):\n    {body}\n")
    (tmp_path / "method" / "failing.yaml").write_text("_target_: failing.Failing\n")
    args = ["concept=poodle", *tiny.run_args(tiny.unet_folder(tmp_path / "model"))[:-1], f"root={tmp_path / 'runs'}"]
    own = ["--config-dir", str(tmp_path), "+method=failing", *args]
    assert main(["plan", "+method=failing", *args, "--config-dir", str(tmp_path)]) == 0
    assert main([*own, "-m", "seed=0,1"]) == 1
    rows = list((tmp_path / "runs").glob("failing/*/row.json"))
    assert len(rows) == 2 and all(says in json.loads(row.read_text())["reason"] for row in rows)
    caplog.clear()
    assert main([*own, "-m", "seed=0,1"]) == 1  # a run that failed is not there
    assert "2 runs, 0 of them there already" in caplog.text


@pytest.mark.parametrize("text", ["_target_: a.B\n  rank: 3\n", "_target_: [a\n"])
def test_a_yaml_that_cannot_be_read_is_told_by_its_line(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "method").mkdir()
    (tmp_path / "method" / "mine.yaml").write_text(text)
    assert main(["check", "mine", "--config-dir", str(tmp_path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "mine.yaml, line 2" in line


def test_a_folder_of_methods_is_shown_as_it_was_given() -> None:
    args = ["+method=mine", "seed=1"]
    given = found.carried(["--config-dir", "a/b", *args, "--config-dir=c"])
    assert found.shown(given) == [*args, "--config-dir", "a/b", "--config-dir", "c"]
    assert found.shown(args) == args


def test_a_syntax_error_is_told_where_it_stands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "method").mkdir()
    (tmp_path / "unwritten.py").write_text("x = 1\n\nclass Mine(:\n    pass\n")
    (tmp_path / "method" / "mine.yaml").write_text("_target_: unwritten.Mine\n")
    assert main(["check", "mine", "--config-dir", str(tmp_path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"SyntaxError in {tmp_path / 'unwritten.py'}, line 3: invalid syntax" in line


def test_a_plan_says_what_a_run_would_of_a_method(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file that cannot be read is one line, and a class that a package takes from its own module is found."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "halfwritten.py").write_text("class Mine(:\n    pass\n")
    assert main(["plan", "method._target_=halfwritten.Mine"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"SyntaxError in {tmp_path / 'halfwritten.py'}, line 1" in line
    (tmp_path / "from_within").mkdir()
    (tmp_path / "from_within" / "__init__.py").write_text("from from_within.impl import Mine as Theirs\n")
    (tmp_path / "from_within" / "impl.py").write_text("class Mine: ...\n")
    assert served.stated("from_within.Theirs").tasks is None
    with pytest.raises(BenchError, match="has no class 'Mine'"):
        served.stated("from_within.Mine")


@pytest.mark.parametrize(
    ("folder", "of_anybody", "of_the_author"),
    [("/mine", "crayon.py, line 2", "crayon.py, line 2"), ("/lib/site-packages/crayon", "", "crayon.py, line 2")],
)
def test_an_installed_methods_own_line_is_found_by_the_check(folder: str, of_anybody: str, of_the_author: str) -> None:
    """A run blames nobody for what a library raises; a check tries one method, which may be installed as one is."""
    with pytest.raises(ZeroDivisionError) as caught:
        exec(compile("\n1 / 0", f"{folder}/crayon.py", "exec"))
    caught.value.__traceback__ = caught.value.__traceback__.tb_next  # type: ignore[union-attr]  # this test's own step
    assert own_line(caught.value) == of_anybody
    assert own_line(caught.value, installed=True) == of_the_author


@pytest.mark.parametrize("method", ["uce", "dreambooth_lora"])
def test_what_is_shipped_keeps_it(method: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", method]) == 0
    assert json.dumps(method)[1:-1] in capsys.readouterr().out
