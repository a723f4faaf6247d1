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
        """Runs jobs in processes that divide the cores; a worker keeps its model for its next job."""
        from joblib import Parallel, delayed, parallel_config
        from joblib.externals.loky.process_executor import BrokenProcessPool

        from bench.sweeps.job import apart, lost

        done, count = set(), min(self.processes, len(jobs))
        threads = max(1, (os.cpu_count() or 1) // count)
        with parallel_config("loky", n_jobs=count, inner_max_num_threads=threads):
            parallel = Parallel(return_as="generator_unordered", batch_size=1, pre_dispatch="n_jobs")
            try:
                for outcome in parallel(delayed(apart)(job) for job in jobs):
                    done.add(outcome.job)
                    yield outcome
            except BrokenProcessPool:
                yield from (lost(job, "a worker process died") for job in jobs if job not in done)


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

        from bench.sweeps.job import lost

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
                yield from (lost(job, f"{said}; {ended.paths.stderr}") for job in of[ended.job_id])


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

        from bench.sweeps.job import apart, lost

        ray.init(address=self.address, log_to_driver=False)
        task = ray.remote(num_cpus=self.cpus, num_gpus=self.gpus)(apart)
        running = {task.remote(job): job for job in jobs}
        while running:
            (ended, *_), _ = ray.wait(list(running), num_returns=1)
            job = running.pop(ended)
            try:
                yield ray.get(ended)
            except ray.exceptions.RayError as error:
                yield lost(job, (str(error).strip() or type(error).__name__).splitlines()[0])
        ray.shutdown()


LAUNCHERS: dict[str, type[Launcher]] = {"basic": Launcher, "joblib": Joblib, "slurm": Slurm, "ray": Ray}


def launcher(said: dict[str, Any]) -> Launcher:
    """Builds a launcher from its configuration.

    Raises:
        BenchError: a field is wrong, or its package is not installed.
    """
    return chosen("launcher", said, LAUNCHERS)
