"""MLflow: one SQLite file and a folder of artifacts, or a tracking server."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any, ClassVar

from pydantic import PrivateAttr

from bench.trackers.pictures import Table
from bench.trackers.tracked import About
from bench.trackers.tracker import Tracker

AT_ONCE = 1000  # what one request may hold of metrics
LONGEST = 5000  # characters of a parameter or tag


class Mlflow(Tracker):
    """A run of ours is a run of theirs, found again by a tag."""

    needs: ClassVar[str] = "mlflow"
    extra: ClassVar[str] = "mlflow"
    project: str
    uri: str | None = None
    _client: Any = PrivateAttr(None)
    _id: str = PrivateAttr("")

    def start(self, about: About) -> None:
        """Opens a run; of one that was logged before the earlier is deleted."""
        os.environ |= {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true", "MLFLOW_LOGGING_LEVEL": "ERROR"}
        from mlflow import MlflowClient
        from mlflow.entities import Param

        home = Path(self.folder).absolute()
        home.mkdir(parents=True, exist_ok=True)
        self._client = self._client or MlflowClient(self.uri or f"sqlite:///{home / 'mlflow.db'}")
        there = self._client.get_experiment_by_name(self.project)
        place = None if self.uri else (home / "mlflow-artifacts").as_uri()
        experiment = there.experiment_id if there else self._client.create_experiment(self.project, place)
        for earlier in self._client.search_runs([experiment], f"tags.`bench.id` = '{about.id}'"):
            self._client.delete_run(earlier.info.run_id)
        tags = {"bench.id": about.id, "bench.group": about.group, "bench.job": about.job} | {t: "1" for t in about.tags}
        self._id = self._client.create_run(experiment, tags=tags, run_name=about.name).info.run_id
        said = [Param(name, str(value)[:LONGEST]) for name, value in _flat(about.config).items()]
        self._client.log_batch(self._id, params=said)

    def curves(self, values: dict[str, list[float]], first: dict[str, int]) -> None:
        """Logs what is finite, each value at its step."""
        from mlflow.entities import Metric

        points = [Metric(name, value, 0, first[name] + i)
                  for name, own in values.items() for i, value in enumerate(own) if math.isfinite(value)]  # fmt: skip
        for i in range(0, len(points), AT_ONCE):
            self._client.log_batch(self._id, metrics=points[i : i + AT_ONCE])

    def values(self, numbers: dict[str, float], facts: dict[str, Any], table: Table) -> None:
        """Logs numbers as metrics, facts as tags, and the table."""
        from mlflow.entities import RunTag

        self.curves({name: [value] for name, value in numbers.items()}, dict.fromkeys(numbers, 0))
        said = [RunTag(name, str(value)[:LONGEST]) for name, value in _flat(facts).items()]
        self._client.log_batch(self._id, tags=said)
        self.images(table)

    def images(self, table: Table) -> None:
        """Logs a table as an artifact."""
        import mlflow
        import pandas as pd
        from PIL import Image

        lines = [[mlflow.Image(v) if isinstance(v, Image.Image) else v for v in line] for line in table.lines]
        columns = {name: [line[i] for line in lines] for i, name in enumerate(table.columns)}
        self._client.log_table(self._id, pd.DataFrame(columns, dtype=object), f"{table.name}.json")

    def front(self, table: Table, picture: Path) -> None:
        """Logs a front's points as a table and its figure as a file."""
        self.images(table)
        self._client.log_artifact(self._id, str(picture), "front")

    def adapter(self, name: str, files: list[Path]) -> None:
        """Logs what training left as files."""
        for file in files:
            self._client.log_artifact(self._id, str(file), "adapter")

    def finish(self, whole: bool) -> None:
        """Closes the run."""
        self._client.set_terminated(self._id, "FINISHED" if whole else "FAILED")


def _flat(said: dict[str, Any], before: str = "") -> dict[str, Any]:
    """Returns nested fields under dotted names."""
    out: dict[str, Any] = {}
    for name, value in said.items():
        out |= _flat(value, f"{before}{name}.") if isinstance(value, dict) else {f"{before}{name}": value}
    return out
