"""Reads the file that wandb leaves offline; wandb itself has no reader any more.

After a header of seven bytes come LevelDB's log blocks: 32 KiB each, in them records of checksum (4), length (2) and
kind (1: whole; 2, 3, 4: first, middle and last part), each a message of wandb's own protocol.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

BLOCK, HEAD = 32768, 7


def records(path: Path) -> Iterator[Any]:
    from wandb.proto import wandb_internal_pb2

    data, at, whole = path.read_bytes(), HEAD, b""
    assert data[:4] == b":W&B"
    while at + HEAD <= len(data):
        left = BLOCK - at % BLOCK
        _, size, kind = struct.unpack_from("<IHB", data, at)
        if left < HEAD or kind == 0:
            at += left
            continue
        whole += data[at + HEAD : at + HEAD + size]
        at += HEAD + size
        if kind in (1, 4):
            record = wandb_internal_pb2.Record()
            record.ParseFromString(whole)
            whole = b""
            yield record


def _said(items: Any) -> dict[str, Any]:
    return {"/".join(i.nested_key) or i.key: json.loads(i.value_json) for i in items}


class Offline:
    """What one offline run holds."""

    def __init__(self, folder: Path) -> None:
        (path,) = folder.glob("*.wandb")
        found = list(records(path))
        of = {k: [getattr(r, k) for r in found if r.WhichOneof("record_type") == k]
              for k in ("run", "history", "summary", "artifact", "exit", "config")}  # fmt: skip
        self.folder, self.run = folder, of["run"][0]
        self.config = _said(self.run.config.update)
        for later in of["config"]:
            self.config |= _said(later.update)
        self.history = [_said(h.item) for h in of["history"]]
        self.summary: dict[str, Any] = {}
        for summary in of["summary"]:
            self.summary |= _said(summary.update)
        self.artifacts = of["artifact"]
        self.exit = of["exit"][0].exit_code

    def column(self, name: str) -> list[Any]:
        return [line[name] for line in self.history if name in line]

    def table(self, name: str) -> list[dict[str, Any]]:
        """Returns a table's lines; its pictures are files of the same artifact."""
        held = next(h for a in self.artifacts if f"{name}.table.json" in (h := contents(a)))
        said = json.loads(held[f"{name}.table.json"].read_text())
        lines = [dict(zip(said["columns"], line, strict=True)) for line in said["data"]]
        return [{k: held[v["path"]] if isinstance(v, dict) else v for k, v in line.items()} for line in lines]


def contents(artifact: Any) -> dict[str, Path]:
    """Returns an artifact's files by name, where they lie until they are sent."""
    return {e.path: Path(e.local_path) for e in artifact.manifest.contents}


def runs(folder: Path) -> dict[str, Offline]:
    found = [Offline(f) for f in sorted(folder.glob("wandb/offline-run-*"))]
    return {r.run.display_name: r for r in found}
