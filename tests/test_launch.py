"""Launchers: real processes, from one store, give the rows of a plain sweep, and share a stage without making it twice.

Ray is no part of the test environment: `pip install -e '.[ray]' && python -m pytest tests/test_launch.py` runs its test
on a real cluster of this machine.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from tiny import run_args, unet_folder

from bench.__main__ import main
from bench.errors import BenchError
from bench.row import Row
from bench.sweeps.job import Job, Outcome, do, gone
from bench.sweeps.launch import LAUNCHERS, Joblib, Slurm, launcher

KINDS = {
    "joblib": ("joblib", ["launcher=joblib", "launcher.processes=2"]),
    "slurm": ("submitit", ["launcher=slurm", "launcher.cluster=local", "launcher.jobs=2",
                           "launcher.parameters={timeout_min: 5}"]),
    "ray": ("ray", ["launcher=ray", "launcher.cpus=1"]),
}  # fmt: skip


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unet_folder(tmp_path_factory.mktemp("tiny"))


def _request(model: Path) -> list[str]:
    """Two runs that share the untouched model's pictures."""
    return ["-m", "+method=dreambooth_lora,textual_inversion", "concept=poodle", *run_args(model)]


def _digests(root: Path) -> dict[str, str]:
    rows = [Row.model_validate_json(p.read_text()) for p in root.glob("*/*/row.json")]
    assert all("launcher" not in r.provenance["command"] for r in rows)
    return {r.method: r.digest() for r in rows}


@pytest.fixture(scope="module")
def expected(model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    import torch

    root, threads = tmp_path_factory.mktemp("plain"), torch.get_num_threads()
    torch.set_num_threads(1)  # as many as a worker has: the last bits of a training depend on it
    try:
        assert main([*_request(model), f"root={root}"]) == 0
    finally:
        torch.set_num_threads(threads)
    return _digests(root)


@pytest.mark.parametrize("kind", KINDS)
def test_a_launcher_gives_the_rows_of_a_plain_sweep(
    root: Path, model: Path, tmp_path: Path, expected: dict[str, str], kind: str
) -> None:
    package, said = KINDS[kind]
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed: pip install -e '.[{kind}]'")
    logs = [f"launcher.logs={tmp_path / 'logs'}"] if kind == "slurm" else []
    env = os.environ | {"PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "bench", *_request(model), "root=runs", *said, *logs]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "2 runs, 0 there before: 2 ok, 0 diverged, 0 failed" in done.stdout
    assert _digests(tmp_path / "runs") == expected
    made = [json.loads(line) for line in (tmp_path / "runs" / "store" / "log.jsonl").read_text().splitlines()]
    assert len({m["key"] for m in made}) == len(made) == 7  # two trainings, drawings and scorings, one base
    assert len({m["pid"] for m in made}) == 2


def _dies(job: Job) -> Outcome:
    if job.name == "second":
        os._exit(1)
    return Outcome(job, "ok")


def test_a_worker_that_dies_loses_its_run_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("joblib")
    monkeypatch.setattr("bench.sweeps.job.apart", _dies)
    jobs = [Job((), "/", name) for name in ("first", "second")]
    found = {o.job.name: o for o in launcher({"name": "joblib", "processes": 2}).run(jobs)}
    assert set(found) == {"first", "second"}
    assert (found["second"].status, found["second"].reason) == ("lost", "a worker process died")


def _dies_of_itself_or_once(job: Job) -> Outcome:
    """The third always dies; a neighbour of it may have been running, and must not be lost with it."""
    if job.name == "2":
        os._exit(1)
    return Outcome(job, "ok")


def test_one_worker_that_dies_does_not_end_a_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("joblib")
    monkeypatch.setattr("bench.sweeps.job.apart", _dies_of_itself_or_once)
    jobs = [Job((), "/", str(k)) for k in range(8)]
    found = [(o.job.name, o.status) for o in launcher({"name": "joblib", "processes": 2}).run(jobs)]
    assert sorted(found) == [(str(k), "lost" if k == 2 else "ok") for k in range(8)]


def test_a_row_that_was_written_is_not_lost_with_its_process(model: Path, tmp_path: Path) -> None:
    said = ("+method=none", "concept=poodle", *run_args(model)[:-1], f"root={tmp_path}")
    job = Job(said, str(tmp_path), "it")
    assert gone(job, "killed").status == "lost"
    assert do(job).status == "ok"
    assert gone(job, "killed").status == "ok"


def test_an_earlier_failure_is_not_why_a_process_died(model: Path, tmp_path: Path) -> None:
    said = ("+method=none", "concept=poodle", *run_args(model)[:-1], f"root={tmp_path}")
    job = Job(said, str(tmp_path), "it")
    assert do(job).status == "ok"
    (path,) = tmp_path.glob("none/*/row.json")
    row = Row.model_validate_json(path.read_text())
    failed = row.model_copy(update={"status": "failed", "reason": "yesterday: no space left", "measured": {}})
    path.write_text(failed.model_dump_json())
    assert (gone(job, "killed").status, gone(job, "killed").reason) == ("lost", "killed")


class _Submitted:
    """A job of submitit's that runs at once; a share dies at the run called 2, whose first two rows are there."""

    def __init__(self, share: list[Job]) -> None:
        self.share, self.job_id, self.paths = share, "-".join(j.name for j in share), SimpleNamespace(stderr="log")

    def done(self) -> bool:
        return True

    def result(self) -> list[Outcome]:
        if any(job.name == "2" for job in self.share):
            raise RuntimeError("Job 7 (task: 0)\nhas not produced any output (state: OUT_OF_MEMORY)\nmore")
        return [Outcome(job, "ok") for job in self.share]


def test_a_share_that_dies_loses_one_run_and_the_rest_is_submitted_again(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("submitit")
    submitted: list[list[str]] = []

    def map_array(share: object, shares: list[list[Job]]) -> list[_Submitted]:
        submitted.extend([j.name for j in s] for s in shares)
        return [_Submitted(s) for s in shares]

    monkeypatch.setattr(Slurm, "_executor", lambda self: SimpleNamespace(map_array=map_array))
    monkeypatch.setattr("bench.sweeps.job.gone", lambda j, why: Outcome(j, "ok" if j.name in "01" else "lost", why))
    jobs = [Job((), "/", str(k)) for k in range(5)]
    found = {o.job.name: o for o in launcher({"name": "slurm", "cluster": "local", "jobs": 1, "logs": "x"}).run(jobs)}
    assert submitted == [["0", "1", "2", "3", "4"], ["3", "4"]]
    assert {n: o.status for n, o in found.items()} == {n: "lost" if n == "2" else "ok" for n in "01234"}
    assert found["2"].reason == "Job 7 (task: 0) has not produced any output (state: OUT_OF_MEMORY); log"


@pytest.mark.parametrize("wrong", [{"slurm_partitoin": "gpu"}, {"timeout_min": 5.0}, {"nothing": 1}])
def test_a_wrong_parameter_of_submitit_is_one_line(wrong: dict[str, object], tmp_path: Path) -> None:
    pytest.importorskip("submitit")
    said = {"name": "slurm", "cluster": "local", "jobs": 1, "logs": str(tmp_path), "parameters": wrong}
    with pytest.raises(BenchError, match=r"launcher\.parameters: "):
        list(launcher(said).run([Job((), "/", "0")]))


def test_workers_take_the_threads_that_are_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not those of the whole machine, where a cluster gives a part of it; and not others than were asked for."""
    joblib = pytest.importorskip("joblib")
    given: list[dict[str, object]] = []
    monkeypatch.setattr(joblib, "cpu_count", lambda: 6)
    monkeypatch.setattr("os.cpu_count", lambda: 64)
    monkeypatch.setattr(joblib, "parallel_config", lambda *_, **more: given.append(more) or contextlib.nullcontext())
    monkeypatch.setattr(joblib, "Parallel", lambda **_: lambda calls: [])
    for said in (None, "1"):
        monkeypatch.delenv("OMP_NUM_THREADS") if said is None else monkeypatch.setenv("OMP_NUM_THREADS", said)
        list(Joblib(name="joblib", processes=2)._pool([], 2, []))
    assert given == [{"n_jobs": 2, "inner_max_num_threads": 3}, {"n_jobs": 2}]


def test_a_launcher_whose_package_is_missing_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(BenchError, match=r"launcher=ray: no package ray .*concept-bench\[ray\]"):
        launcher({"name": "ray", "address": None, "cpus": 1, "gpus": 0})


def test_every_launcher_has_a_configuration(root: Path) -> None:
    assert {p.stem for p in (root / "conf" / "launcher").glob("*.yaml")} == set(LAUNCHERS)


def test_a_job_that_cannot_leave_a_row_is_lost_and_not_an_error(tmp_path: Path) -> None:
    outcome = do(Job(("+method=none", "concept=nothing", f"root={tmp_path}"), str(tmp_path), "it"))
    assert outcome.status == "lost" and "nothing" in outcome.reason


def test_without_slurm_it_is_one_line(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("submitit")
    monkeypatch.setattr("shutil.which", lambda name: None)
    assert main([*_request(model), "launcher=slurm", f"root={tmp_path}"]) == 2
    assert "launcher.cluster=local runs its jobs here" in capsys.readouterr().err
