"""How the runs of a command are spread over processes and machines; all work from one store and its locks."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from bench.errors import STOPPING, BenchError
from bench.optional import Choice, chosen

if TYPE_CHECKING:
    from bench.sweeps.job import Job, Outcome


class Launcher(Choice):
    """`conf/launcher`: runs jobs and yields what each came to, in the order they end."""

    def run(self, jobs: Sequence[Job]) -> Iterator[Outcome]:
        """Runs jobs, one after the other in this process."""
        from bench.sweeps.job import do

        yield from map(do, jobs)


class Joblib(Launcher):
    """Processes of this machine."""

    needs, extra = "joblib", "joblib"
    processes: PositiveInt

    def run(self, jobs: Sequence[Job]) -> Iterator[Outcome]:
        """Runs jobs in processes that divide the cores; a worker keeps its model for its next job.

        One that dies takes the others of its pool with it: what they were at is then run again one at a time, so that
        only a run that dies by itself is lost, and the rest go on in a new pool.
        """
        from joblib.externals.loky.process_executor import BrokenProcessPool

        from bench.sweeps.job import gone

        left, count = list(jobs), min(self.processes, len(jobs))
        while left:
            taken: list[Job] = []
            ended: set[Job] = set()
            try:
                for outcome in self._pool(left, count, taken):
                    ended.add(outcome.job)
                    yield outcome
            except BrokenProcessPool:
                taken = taken or left
            for job in (j for j in taken if j not in ended):
                try:
                    yield from self._pool([job], max(count, 2), [])
                except BrokenProcessPool:
                    yield gone(job, "a worker process died")
            left = [j for j in left if j not in taken]

    def _pool(self, jobs: Sequence[Job], count: int, taken: list[Job]) -> Iterator[Outcome]:
        """Runs jobs in a pool, and notes each that was handed to it."""
        from joblib import Parallel, cpu_count, delayed, parallel_config

        from bench.sweeps.job import apart

        def calls() -> Iterator[Any]:
            for job in jobs:
                taken.append(job)
                yield delayed(apart)(job)

        said = "OMP_NUM_THREADS" in os.environ  # by whoever knows the machine; else of the cores that are ours
        threads = {} if said else {"inner_max_num_threads": max(1, cpu_count() // count)}
        with parallel_config("loky", n_jobs=count, **threads):
            parallel = Parallel(return_as="generator_unordered", batch_size=1, pre_dispatch="n_jobs")
            yield from parallel(calls())


class Slurm(Launcher):
    """An array of jobs of a Slurm cluster, through submitit."""

    needs, extra = "submitit", "slurm"
    cluster: Literal["slurm", "local", "debug"]
    jobs: PositiveInt
    logs: str
    parameters: dict[str, Any] = Field(default_factory=dict)

    def run(self, jobs: Sequence[Job]) -> Iterator[Outcome]:
        """Submits one array, waits for its jobs and yields what each did; those go on without this process.

        Where one dies, the run it was at is lost; what was left of its share is submitted once more.
        """
        import submitit

        executor = self._executor()
        left = [list(jobs[i :: self.jobs]) for i in range(min(self.jobs, len(jobs)))]
        while left:
            submitted = executor.map_array(_Share(), left)
            of = {s.job_id: share for s, share in zip(submitted, left, strict=True)}
            left = []
            for ended in submitit.helpers.as_completed(submitted):
                try:
                    yield from ended.result()
                except Exception as error:  # killed, or out of time or memory: submitit has no one class for them
                    done, rest = _broken_off(of[ended.job_id], f"{_said(error)}; {ended.paths.stderr}")
                    yield from done
                    left += [rest] if rest else []

    def _executor(self) -> Any:
        """Returns submitit's own.

        Raises:
            BenchError: there is no cluster, or submitit does not know a parameter.
        """
        import submitit

        if self.cluster == "slurm" and shutil.which("sbatch") is None:
            raise BenchError("launcher=slurm: no sbatch on this machine; launcher.cluster=local runs its jobs here")
        often = {"slurm_max_num_timeout": OFTEN} if self.cluster == "slurm" else {}
        executor = submitit.AutoExecutor(folder=Path(self.logs).absolute(), cluster=self.cluster, **often)
        try:
            executor.update_parameters(**{"name": "bench"} | self.parameters)
        except (TypeError, ValueError, NameError, AssertionError) as error:
            raise BenchError(f"launcher.parameters: {_said(error)}; submitit's own would be right") from None
        return executor


OFTEN = 1000  # times a job may be cut off at its time limit and queued again: its trainings go on each time


def _said(error: Exception) -> str:
    """Returns the first two lines of an error as one: submitit says which job in the first, and what in the second."""
    return " ".join((str(error).strip() or type(error).__name__).splitlines()[:2])


def _broken_off(share: Sequence[Job], reason: str) -> tuple[list[Outcome], list[Job]]:
    """Returns what the runs of a share that died came to, up to the one it died at, and those left."""
    from bench.sweeps.job import LOST, gone

    done: list[Outcome] = []
    for job in share:
        done.append(gone(job, reason))
        if done[-1].status == LOST:
            break
    return done, list(share[len(done) :])


class _Share:
    """What one job of an array does; cut off at its time limit it is queued again, and the store knows the rest."""

    def __call__(self, jobs: list[Job]) -> list[Outcome]:
        from bench.sweeps.job import apart

        return [apart(job) for job in jobs]

    def checkpoint(self, jobs: list[Job]) -> Any:
        from submitit.helpers import DelayedSubmission

        STOPPING.set()
        return DelayedSubmission(self, jobs)


class Ray(Launcher):
    """Tasks of a Ray cluster."""

    needs, extra = "ray", "ray"
    address: str | None
    cpus: PositiveFloat
    gpus: NonNegativeFloat

    def run(self, jobs: Sequence[Job]) -> Iterator[Outcome]:
        """Runs jobs as tasks; Ray gives each as many threads as it has CPUs."""
        import ray

        from bench.sweeps.job import apart, gone

        ray.init(address=self.address, log_to_driver=False)
        try:
            task = ray.remote(num_cpus=self.cpus, num_gpus=self.gpus)(apart)
            running = {task.remote(job): job for job in jobs}
            while running:
                (ended, *_), _ = ray.wait(list(running), num_returns=1)
                job = running.pop(ended)
                try:
                    yield ray.get(ended)
                except ray.exceptions.RayError as error:
                    yield gone(job, _said(error))
        finally:
            ray.shutdown()


LAUNCHERS: dict[str, type[Launcher]] = {"basic": Launcher, "joblib": Joblib, "slurm": Slurm, "ray": Ray}


def launcher(said: dict[str, Any]) -> Launcher:
    """Builds a launcher from its configuration.

    Raises:
        BenchError: a field is wrong, or its package is not installed.
    """
    return chosen("launcher", said, LAUNCHERS)
