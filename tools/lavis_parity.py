"""Compares our BLIP-2 scores with LAVIS's own on the same weights.

    python tools/lavis_parity.py            builds LAVIS's environment (about 6 GB) if it is not there, and compares

LAVIS 1.0.2 pins transformers < 4.27: it cannot live beside ours, so it has an environment of its own in
`outputs/lavis-env`, and the two talk through files.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENT = ROOT / "outputs" / "lavis-env"
NEEDS = ["salesforce-lavis==1.0.2", "numpy<2", "setuptools<81"]
sys.path.insert(0, str(ROOT))


def build_environment() -> Path:
    """Makes LAVIS's environment where there is none. Returns its Python."""
    python = ENVIRONMENT / "bin" / "python"
    if not (ENVIRONMENT / "ready").exists():
        subprocess.run([sys.executable, "-m", "venv", ENVIRONMENT], check=True)  # noqa: S603
        subprocess.run([python, "-m", "pip", "install", "-q", *NEEDS], check=True)  # noqa: S603
        (ENVIRONMENT / "ready").touch()
    return python


def inputs() -> tuple[dict[str, Any], np.ndarray[Any, Any]]:
    """Returns what LAVIS is handed, and our own scores of it, (n, 2)."""
    import bench  # noqa: F401  (its thread settings, before torch)
    from bench.judges.matching import Blip2
    from bench.stickers.check import usual_scenes
    from bench.stickers.render import render
    from bench.stickers.world import caption

    scenes = usual_scenes(24)
    images, texts = [render(s) for s in scenes], [caption(s) for s in scenes[1:] + scenes[:1]]
    images, texts = images + images, texts + [caption(s) for s in scenes]
    judge = Blip2("blip2", "embedded:blip2-judge")
    ours = judge.pairs(images, texts)
    model, _ = judge._load()
    ids, mask = judge._words(texts)
    vision, qformer = model.config.vision_config, model.config.qformer_config
    sizes = {
        "width": vision.hidden_size, "image": vision.image_size, "patch": vision.patch_size,
        "vision_layers": vision.num_hidden_layers, "heads": vision.num_attention_heads,
        "text_width": qformer.hidden_size, "text_heads": qformer.num_attention_heads,
        "text_layers": qformer.num_hidden_layers, "vocabulary": qformer.vocab_size,
        "length": qformer.max_position_embeddings, "queries": model.config.num_query_tokens,
        "projection": model.config.image_text_hidden_size,
    }  # fmt: skip
    weights = {f"w.{k}": v.numpy() for k, v in model.state_dict().items()}
    pixels = judge._pixels(images).numpy()
    return {"sizes": json.dumps(sizes), "pixels": pixels, "ids": ids.numpy(), "mask": mask.numpy(), **weights}, ours


def compare() -> dict[str, float]:
    """Returns the largest difference of either score between LAVIS and us."""
    given, ours = inputs()
    with tempfile.TemporaryDirectory() as folder:
        np.savez(Path(folder) / "inputs.npz", **given)
        worker = ROOT / "tools" / "lavis" / "worker.py"
        subprocess.run([ENVIRONMENT / "bin" / "python", worker, folder], check=True)  # noqa: S603
        theirs = np.load(Path(folder) / "lavis.npz", allow_pickle=False)
        logits = theirs["itm"] - theirs["itm"].max(1, keepdims=True)
        probability = np.exp(logits[:, 1]) / np.exp(logits).sum(1)
        return {
            "itm": float(np.abs(probability - ours[:, 0]).max()),
            "itc": float(np.abs(theirs["itc"] - ours[:, 1]).max()),
        }


if __name__ == "__main__":
    build_environment()
    found = compare()
    print(f"largest difference from LAVIS: ITM probability {found['itm']:.2e}, ITC cosine {found['itc']:.2e}")
    sys.exit(0 if max(found.values()) <= 1e-4 else 1)
