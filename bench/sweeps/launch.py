"""How the runs of a command are spread over processes and machines; all work from one store and its locks."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from bench.errors import BenchError
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
        from joblib import Parallel, delayed, parallel_config

        from bench.sweeps.job import apart

        def calls() -> Iterator[Any]:
            for job in jobs:
                taken.append(job)
                yield delayed(apart)(job)

        with parallel_config("loky", n_jobs=count, inner_max_num_threads=max(1, (os.cpu_count() or 1) // count)):
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
        """Submits one array, waits for its jobs and yields what each did; those go on without this process."""
        import submitit

        from bench.sweeps.job import gone

        if self.cluster == "slurm" and shutil.which("sbatch") is None:
            raise BenchError("launcher=slurm: no sbatch on this machine; launcher.cluster=local runs its jobs here")
        executor = submitit.AutoExecutor(folder=Path(self.logs).absolute(), cluster=self.cluster)
        executor.update_parameters(name="bench", **self.parameters)
        shares = [list(jobs[i :: self.jobs]) for i in range(min(self.jobs, len(jobs)))]
        submitted = executor.map_array(_Share(), shares)
        of = {s.job_id: share for s, share in zip(submitted, shares, strict=True)}
        for ended in submitit.helpers.as_completed(submitted):
            try:
                yield from ended.result()
            except Exception as error:  # killed, or out of time or memory: submitit has no one class for them
                said = (str(error).strip() or type(error).__name__).splitlines()[0]
                yield from (gone(job, f"{said}; {ended.paths.stderr}") for job in of[ended.job_id])


class _Share:
    """What one job of an array does; cut off at its time limit it is queued again, and the store knows the rest."""

    def __call__(self, jobs: list[Job]) -> list[Outcome]:
        from bench.sweeps.job import apart

        return [apart(job) for job in jobs]

    def checkpoint(self, jobs: list[Job]) -> Any:
        from submitit.helpers import DelayedSubmission

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
        task = ray.remote(num_cpus=self.cpus, num_gpus=self.gpus)(apart)
        running = {task.remote(job): job for job in jobs}
        while running:
            (ended, *_), _ = ray.wait(list(running), num_returns=1)
            job = running.pop(ended)
            try:
                yield ray.get(ended)
            except ray.exceptions.RayError as error:
                yield gone(job, (str(error).strip() or type(error).__name__).splitlines()[0])
        ray.shutdown()


LAUNCHERS: dict[str, type[Launcher]] = {"basic": Launcher, "joblib": Joblib, "slurm": Slurm, "ray": Ray}


def launcher(said: dict[str, Any]) -> Launcher:
    """Builds a launcher from its configuration.

    Raises:
        BenchError: a field is wrong, or its package is not installed.
    """
    return chosen("launcher", said, LAUNCHERS)
