"""The schema of a result: what was measured, on what, at which cost, made by which code."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

SCHEMA = 1
Status = Literal["ok", "diverged", "failed", "unmeasurable"]  # the last: no metric asked for could be measured


class Value(BaseModel):
    """A measurement is never a bare mean: `low`–`high` is the 95 % interval, `n` counts pictures.

    `title` and `group` are the metric's own words for tables: `CLIP-T`, `prompt following`. What is not a
    number is no value.
    """

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)
    value: float
    low: float
    high: float
    n: int
    unit: str = "prompt, then seed"
    better: Literal["higher", "lower", "zero", "neither"]
    checkpoint: str
    version: int
    title: str = ""
    group: str = "other"


class Row(BaseModel):
    """One run. `measured` and the anchors hold values by metric or `metric/channel`; `unmeasured` says why not.

    `gate` is how adapters that act prompt by prompt were made to act; held open or shut, a run is another entry.
    """

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)
    schema_version: int = SCHEMA
    status: Status
    reason: str = ""
    method: str
    model: str
    dataset: str
    concept: str
    kind: str
    protocol: str
    seed: int
    gate: str = "auto"
    hyperparameters: dict[str, Any]
    tuned: bool
    measured: dict[str, Value] = Field(default_factory=dict)
    anchors: dict[str, dict[str, Value]] = Field(default_factory=dict)
    unmeasured: dict[str, str] = Field(default_factory=dict)
    fingerprints: dict[str, str] = Field(default_factory=dict)
    cost: dict[str, float] = Field(default_factory=dict)
    provenance: dict[str, Any] = Field(default_factory=dict)

    @property
    def finished(self) -> str:
        """When the run ended, as it says, wherever its clock stood; nothing where it does not say."""
        try:
            ended = datetime.fromisoformat(str(self.provenance.get("finished", "")))
            return ended.astimezone(UTC).isoformat()
        except (ValueError, OverflowError):
            return ""

    def digest(self) -> str:
        """Returns a hash of everything but cost and provenance: the same command gives the same digest."""
        text = json.dumps(self.model_dump(exclude={"cost", "provenance"}), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]
