"""Writes methods/README.md from the code: which method serves which task on which family of models, or why not.

python tools/methods_page.py
"""

from __future__ import annotations

import itertools
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
FAMILIES = {
    "flow": "flow transformers (SD3, SD3.5, FLUX.1, FLUX.2-klein)",
    "epsilon": "U-Nets, ε (SD1, SDXL)",
    "v": "U-Nets, v (SD2, SDXL)",
}
TASKS = ("subject", "style", "subject_style", "multi", "erase", "roundtrip")
HEAD = """# Methods

One file a method; it reads like the paper's algorithm. A configuration in `conf/method/` gives the paper's values, the
released code's where they differ. Values for this project's small models are found by `python -m bench tune`, with the
same number of trials for every method, on concepts that no table holds (`conf/values/`). This page is written by
`python tools/methods_page.py`.

"""
PICTURES = """## What they do

Above, the untouched `sticker-unet`; below, the method, from the same noise. Six prompts that name the concept
(`whole_cat`, or the cat that is erased), one of a neighbouring class and one of something unrelated; seed 0, none
chosen.

"""


def methods() -> dict[str, Any]:
    """Returns configuration → class, in order of name."""
    out = {}
    for path in sorted((ROOT / "conf" / "method").glob("*.yaml")):
        module, _, name = yaml.safe_load(path.read_text())["_target_"].rpartition(".")
        out[path.stem] = getattr(import_module(module), name)
    return out


def about(name: str) -> str:
    """Returns the comment a configuration begins with."""
    lines = (ROOT / "conf" / "method" / f"{name}.yaml").read_text(encoding="utf-8").splitlines()
    return " ".join(line.removeprefix("# ") for line in itertools.takewhile(lambda x: x.startswith("#"), lines))


def page() -> str:
    """Returns the page."""
    lines = [
        f"| `+method=` | from | tasks | {' | '.join(FAMILIES.values())} |",
        "|---|---|---|" + "---|" * len(FAMILIES),
    ]
    reasons: list[str] = []
    for name, cls in methods().items():
        source = about(name) or (import_module(cls.__module__).__doc__ or "").splitlines()[0]
        cells = []
        for family in FAMILIES:
            reason = getattr(cls, "not_for", {}).get(family, "not its mathematics")
            if family not in cls.families and reason not in reasons:
                reasons.append(reason)
            cells.append("✓" if family in cls.families else f"no ({reasons.index(reason) + 1})")
        tasks = ", ".join(t for t in TASKS if t in cls.tasks)
        lines.append(f"| `{name}` | {source} | {tasks} | {' | '.join(cells)} |")
    pictures = [p for n in methods() if (p := ROOT / "docs" / "methods" / f"{n}.webp").is_file()]
    shown = [f"`{p.stem}`\n\n![{p.stem}](../docs/methods/{p.name})\n" for p in pictures]
    notes = [f"{k}. {reason}." for k, reason in enumerate(reasons, start=1)]
    departures = (ROOT / "docs" / "methods" / "departures.md").read_text(encoding="utf-8")
    text = HEAD + "\n".join([*lines, "", *notes, "", departures])
    return text + "\n" + PICTURES + "\n".join(shown) if shown else text


if __name__ == "__main__":
    (ROOT / "methods" / "README.md").write_text(page(), encoding="utf-8")
