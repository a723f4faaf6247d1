"""Weights & Biases: everything is written to a folder; sent at once only if asked to."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import PrivateAttr

from bench.errors import BenchError
from bench.trackers.pictures import Table
from bench.trackers.tracked import About, one_line
from bench.trackers.tracker import Tracker

log = logging.getLogger("bench")


class Wandb(Tracker):
    """A run of ours is a run of theirs, under an id of ours."""

    needs: ClassVar[str] = "wandb"
    extra: ClassVar[str] = "wandb"
    mode: Literal["offline", "online"] = "offline"
    project: str
    entity: str | None = None
    _run: Any = PrivateAttr(None)

    @property
    def home(self) -> Path:
        """The folder that everything of theirs lies in."""
        return Path(self.folder).absolute()

    def _surroundings(self) -> dict[str, str]:
        """Their variables: nothing is written into the user's home."""
        places = {f"WANDB_{n.upper()}_DIR": str(self.home / "wandb-files" / n) for n in ("cache", "config")}
        return places | {"WANDB_ERROR_REPORTING": "false", "WANDB_SILENT": "true"}

    def start(self, about: About) -> None:
        """Opens a run; where it cannot be opened online it is kept here, to be sent later."""
        files = self.home / "wandb-files" / about.id  # pictures and adapters, kept until they are sent
        os.environ.update(self._surroundings() | {"WANDB_DATA_DIR": str(files)})
        self.home.mkdir(parents=True, exist_ok=True)
        for earlier in self._kept(about.id):  # the same run, logged before and never sent
            shutil.rmtree(earlier)
            shutil.rmtree(files, ignore_errors=True)
        try:
            self._run = self._opened(about, self.mode)
        except Exception as error:
            if self.mode == "offline":
                raise
            log.warning("tracker wandb: not online (%s); kept in %s instead", one_line(error), self.home)
            self.mode = "offline"
            self._forget()
            self._run = self._opened(about, self.mode)

    def _forget(self) -> None:
        """Ends their own process, which may still hold the run that it could not open."""
        import wandb

        wandb.teardown(exit_code=1)

    def _opened(self, about: About, mode: Literal["offline", "online"]) -> Any:
        import wandb

        settings = wandb.Settings(console="off", silent=True, disable_git=True, disable_code=True, x_disable_stats=True,
                                  init_timeout=30)  # fmt: skip
        return wandb.init(
            project=self.project, entity=self.entity, dir=self.home, mode=mode, id=about.id, name=about.name,
            group=about.group, job_type=about.job, tags=about.tags, config=about.config, settings=settings,
        )  # fmt: skip

    def _kept(self, id_: str = "*") -> list[Path]:
        """Returns the folders of runs that were not sent yet."""
        found = sorted(self.home.glob(f"wandb/offline-run-*-{id_}"))
        return [f for f in found if not any(f.glob("*.synced"))]

    def curves(self, values: dict[str, list[float]], first: dict[str, int]) -> None:
        """Logs a line a step; every stage has steps of its own."""
        stages = dict.fromkeys(name.rpartition("/")[0] for name in values)
        for stage in stages:
            own = {n: v for n, v in values.items() if n.rpartition("/")[0] == stage}
            counter = f"{stage}/step" if stage else "step"
            for name in own:
                if not first[name]:
                    self._run.define_metric(name, step_metric=counter)
            steps = range(min(first[n] for n in own), max(first[n] + len(v) for n, v in own.items()))
            for step in steps:
                line = {n: v[step - first[n]] for n, v in own.items() if 0 <= step - first[n] < len(v)}
                self._run.log(line | {counter: step})

    def values(self, numbers: dict[str, float], facts: dict[str, Any], table: Table) -> None:
        """Logs numbers and facts as the run's summary, and the table."""
        self._run.config.update({"provenance": facts["provenance"]}, allow_val_change=True)
        self._run.summary.update(numbers | {k: v for k, v in facts.items() if k != "provenance"})
        self.images(table)

    def images(self, table: Table) -> None:
        """Logs a table."""
        import wandb
        from PIL import Image

        columns: Any = table.columns
        lines: Any = [[wandb.Image(v) if isinstance(v, Image.Image) else v for v in line] for line in table.lines]
        made = wandb.Table(columns=columns, data=lines)
        self._run.log({table.name: made})

    def front(self, table: Table, picture: Path) -> None:
        """Logs a front's points as a table and its figure as a picture."""
        import wandb

        self.images(table)
        self._run.log({f"{table.name}/figure": wandb.Image(str(picture))})

    def adapter(self, name: str, files: list[Path]) -> None:
        """Logs what training left as an artifact."""
        import wandb

        artifact = wandb.Artifact(name, type="adapter")
        for file in files:
            artifact.add_file(str(file), name=file.name)
        self._run.log_artifact(artifact)

    def finish(self, whole: bool) -> None:
        """Closes the run."""
        self._run.finish(exit_code=0 if whole else 1)

    def sync(self) -> str:
        """Sends what was kept, with their own command, which asks nothing."""
        kept = self._kept()
        if not kept:
            raise BenchError(f"{self.home / 'wandb'}: nothing there that was not sent")
        words = [sys.executable, "-m", "wandb", "sync", *(f"--entity={e}" for e in [self.entity] if e)]
        done = subprocess.run(  # noqa: S603
            [*words, *map(str, kept)], stdin=subprocess.DEVNULL, start_new_session=True,
            env=os.environ | self._surroundings() | {"WANDB_SILENT": "false"},
        )  # fmt: skip
        left = len(self._kept())
        if done.returncode or left:
            raise BenchError(f"wandb sync: {left} of {len(kept)} runs were not sent; they are kept in {self.home}")
        return f"{len(kept)} runs sent"
