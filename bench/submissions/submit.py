"""Packs a finished run's row with its evidence into one file; the same run gives the same bytes."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import BenchError
from bench.row import Row
from bench.rows.file import read
from bench.rows.place import name_of
from bench.store import DONE, Store
from bench.submissions.recompute import COLUMNS
from bench.submissions.submission import ADAPTER, FORMAT, INDEX, LIMITS, PICTURES, ROW, SCORES, SHEET, SUFFIX, checked

if TYPE_CHECKING:
    import pandas as pd

SIDE, ACROSS, SHOWN = 96, 12, 144  # of the contact sheet: pixels a picture, pictures a line, pictures


def pack(run: Path, out: Path | None) -> Path:
    """Packs a run. Returns the file.

    Raises:
        BenchError: the run is not finished, its evidence is gone, or what it packs to would not pass.
    """
    if not run.exists():
        raise BenchError(f"{run}: no such run; the folder of a finished run would be right")
    row, wrong = read(run / "row.json" if run.is_dir() else run)
    if row is None:
        raise BenchError(wrong[0])
    if row.status != "ok":
        raise BenchError(f"{run}: the row is {row.status}: {row.reason[:80]}; a run that is ok would be right")
    path = out or Path(name_of(row)).with_suffix(SUFFIX)
    if path.suffix != SUFFIX or path.exists():
        raise BenchError(f"--out {path}: a {SUFFIX} file that is not there yet would be right")
    store = Store((run if run.is_dir() else run.parent).absolute().parent.parent)
    files = evidence(row, store)
    files[ROW] = (row.model_dump_json(indent=1) + "\n").encode()
    hashes = {n: hashlib.sha256(files[n]).hexdigest() for n in LIMITS if n != INDEX}
    files[INDEX] = _json({"format": FORMAT, "files": hashes})
    if large := [n for n in LIMITS if len(files[n]) > LIMITS[n]]:
        raise BenchError(f"{large[0]}: {len(files[large[0]])} bytes; a submission holds at most {LIMITS[large[0]]}")
    _write(path, files)
    return path


def evidence(row: Row, store: Store) -> dict[str, bytes]:
    """Returns the files that show how a row came about, from the store.

    Raises:
        BenchError: some of it is gone.
    """
    folders = {stage: store.path(stage, row.fingerprints.get(stage, "")) for stage in ("train", "generate", "score")}
    for stage, folder in folders.items():
        if not store.has(stage, row.fingerprints.get(stage, "")):
            raise BenchError(f"{folder}: the {stage} stage of this row is gone; its command would make it again")
    import pandas as pd

    done = json.loads((folders["generate"] / DONE).read_text())["files"]
    prompts = _prompts(folders["generate"])
    drawn = sorted(n for n in done if n.endswith(".png"))
    listed = [{"file": n, "prompt": prompts.get(n, ""), "sha256": done[n]} for n in drawn]
    return {
        SCORES: _csv(pd.read_parquet(folders["score"] / "scores.parquet")),
        PICTURES: _json({"pictures": listed}),
        ADAPTER: (folders["train"] / "adapter.json").read_bytes(),
        SHEET: _sheet([folders["generate"] / n for n in drawn]),
    }


def _prompts(folder: Path) -> dict[str, str]:
    """Returns what each picture was asked, where the run itself drew it."""
    path = folder / "manifest.json"
    if not path.is_file():
        return {}
    return {p["file"]: p["complete"] for p in json.loads(path.read_text())}


def _json(said: dict[str, Any]) -> bytes:
    return (json.dumps(said, indent=1, sort_keys=True) + "\n").encode()


def _csv(table: pd.DataFrame) -> bytes:
    """Returns scores as text; `repr` of a number is read back as the same number."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for source, metric, channel, prompt, seed, value, reason in table[COLUMNS].itertuples(index=False):
        writer.writerow([source, metric, channel, int(prompt), int(seed), repr(float(value)), reason])
    return out.getvalue().encode()


def _sheet(paths: list[Path]) -> bytes:
    """Returns a contact sheet of the first pictures of a run, in the order of their names."""
    from PIL import Image

    shown = paths[:: -(-len(paths) // SHOWN)]
    sheet = Image.new("RGB", (SIDE * min(ACROSS, len(shown)), SIDE * -(-len(shown) // ACROSS)), "white")
    for k, path in enumerate(shown):
        with Image.open(path) as image:
            small = image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.LANCZOS)
        sheet.paste(small, (SIDE * (k % ACROSS), SIDE * (k // ACROSS)))
    out = io.BytesIO()
    sheet.save(out, "WEBP", quality=80)
    return out.getvalue()


def _write(path: Path, files: dict[str, bytes]) -> None:
    """Writes a zip file whole or not at all, if it would pass."""
    partial = path.with_name(f".{path.name}.partial{SUFFIX}")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as archive:
            for name in LIMITS:
                archive.writestr(zipfile.ZipInfo(name), files[name], zipfile.ZIP_DEFLATED)
        if isinstance(wrong := checked(partial), list):
            raise BenchError(wrong[0].replace(str(partial), str(path)))
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
