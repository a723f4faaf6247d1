"""Writes the page: leaderboards/validity."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.stickers.validity.cases import FAILURES
from bench.stickers.validity.run import SOUND, check, on_generated

if TYPE_CHECKING:
    from bench.metric import Metric

HEAD = f"""# What the metrics are worth

Renderings of the embedded world are known to be right or wrong, and in what. Here every metric is asked to tell
them apart. Made by `python -m bench validate-metrics`; 95 % intervals over scenes.

![AUC of every metric, sound and broken](validity.png)

**AUC**: how often a right picture scores better than a wrong one. For fidelity, wrong is other artwork of the same
class, or another class; for prompt following, one of the prompt's five attributes changed; for preservation, one
attribute changed, where the right picture is the same content moved and mirrored; for a reader, another subject; for
copies, a reference itself. Metrics that look at several pictures of a prompt together have no single right picture.
**Rank**: Spearman's correlation with how much is right. **Sound**: the AUC's interval lies above {SOUND}.
"""
FAILED = """
## How often the right picture scores better than a failure

0.5 is blindness; well under it, the failure is *rewarded*. A fidelity metric should not mind the scene or the
accessory, and cannot tell a copied reference from a new picture: the copy rate is there for that.
"""
BROKEN = f"""
## Judges broken on purpose

A judge is exposed where its AUC's interval reaches under {SOUND}, where it loses AUC on the same pictures, or where
its scores are not the sound judge's.
"""
LOOKS = {"sound": ("o", "#1a7f4b"), "photographic negative": ("s", "#b3541e"), "rescaled twice": ("^", "#7a3b9a"),
         "shuffled captions": ("D", "#a02438")}  # fmt: skip


def _cell(figure: dict[str, float]) -> str:
    return f"{figure['value']:.3f} ({figure['low']:.3f}–{figure['high']:.3f})"


def _sound(metric: dict[str, Any]) -> bool:
    return metric["auc"]["low"] >= SOUND


def _table(header: Sequence[str], rows: Iterator[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def page(result: dict[str, Any]) -> str:
    """Returns the page in Markdown."""
    metrics, made = result["metrics"], result["generated"]
    every = list(metrics.values())
    main = (
        [m["title"], m["group"], m["judge"], _cell(m["auc"]), _cell(m["rank"]), "yes" if _sound(m) else "**no**"]
        for m in every
    )
    failures = (
        [m["title"], *(f"{m['prefers'][f]['value']:.2f}" if f in m["prefers"] else "–" for f in FAILURES)]
        for m in every
    )
    broken = (
        [m["title"], fault, _cell(b["auc"]), _cell(b["lost"]), ", ".join(b["exposed_by"]) or "**not exposed**"]
        for m in every
        for fault, b in m["broken"].items()
    )
    generated = ([metrics[name]["title"], _cell(f)] for name, f in made["auc"].items())
    about = f"""
## On {made["pictures"]} generated pictures

`{made["model"]}` drew held-out captions; the oracle says that {made["followed"]:.0%} show all that was asked.
"""
    return "\n".join([
        HEAD, _table(["metric", "of", "judge", "AUC", "rank", "sound"], main),
        FAILED, _table(["metric", *FAILURES], failures),
        BROKEN, _table(["metric", "fault", "AUC", "lost", "exposed by"], broken),
        about, _table(["metric", "AUC, all of the prompt against not all"], generated),
    ])  # fmt: skip


def figure(result: dict[str, Any], path: Path) -> None:
    """Draws the AUC of every metric, sound and broken."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt
    from matplotlib.lines import Line2D

    metrics = list(result["metrics"].values())
    fig, ax = plt.subplots(figsize=(8, 0.55 * len(metrics) + 1.6), layout="constrained")
    for row, m in enumerate(metrics):
        points = {"sound": m["auc"]} | {fault: b["auc"] for fault, b in m["broken"].items()}
        for k, (name, f) in enumerate(points.items()):
            marker, colour = LOOKS[name]
            y = row + 0.16 * (k - 1.5)
            ax.plot([f["low"], f["high"]], [y, y], color=colour, lw=1.5)
            ax.plot(f["value"], y, marker, color=colour, ms=6)
    ax.axvline(0.5, color="#999", lw=1, ls=":")
    ax.set(yticks=range(len(metrics)), yticklabels=[m["title"] for m in metrics], xlim=(0, 1.02))
    ax.set_xlabel("AUC, right pictures against wrong ones")
    ax.invert_yaxis()
    handles = [Line2D([], [], marker=m, color=c, label=n, lw=0) for n, (m, c) in LOOKS.items()]
    fig.legend(handles=handles, loc="outside upper center", ncols=4, frameon=False)
    fig.savefig(path, dpi=110, metadata={"Software": None})
    plt.close(fig)


def write(folder: Path, metrics: Sequence[Metric], judges: dict[str, Any], model: str, count: int) -> dict[str, Any]:
    """Runs the check and writes `validity.json`, `README.md` and `validity.png`."""
    checked = check(metrics, judges, count)
    single = [m for m in metrics if m.name in checked]
    result = {
        "metrics": checked,
        "generated": on_generated(single, judges, model, min(128, count)),
        "judges": {j.name: j.fingerprint[:16] for j in judges.values() if hasattr(j, "folder")},
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "validity.json").write_text(json.dumps(result, indent=1) + "\n")
    (folder / "README.md").write_text(page(result), encoding="utf-8")
    figure(result, folder / "validity.png")
    return result
