"""Which code, which packages, which machine."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = ("torch", "diffusers", "transformers", "peft", "open_clip_torch", "numpy", "pillow", "concept-bench")
CODE = ("bench", "methods", "metrics", "conf", "datasets", "pyproject.toml")  # a page left beside it is none


def _git(*words: str) -> str:
    root = Path(__file__).parent.parent.parent
    if not (root / ".git").exists():
        return ""  # installed: the repository around it, if any, is another one
    try:
        out = subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, timeout=5)  # noqa: S603, S607
    except (OSError, subprocess.SubprocessError):
        return ""
    return out.stdout.strip() if out.returncode == 0 else ""


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next(
        (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.processor()
    )


def provenance(model: dict[str, Any]) -> dict[str, Any]:
    """Returns git state, package versions and hardware, and where and how precisely a model of `conf/model` ran."""
    import torch

    from bench.backbone.place import called

    return {
        "git": _git("rev-parse", "HEAD"),
        "dirty": bool(_git("status", "--porcelain", "--", *CODE)),
        "packages": {p: _version(p) for p in PACKAGES},
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": called(model["device"]),
        "dtype": model["dtype"],
    }
