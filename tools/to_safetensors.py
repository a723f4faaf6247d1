"""A pickled checkpoint → model.safetensors beside it: tensors alone are read, nothing in it is executed.

    python tools/to_safetensors.py FOLDER/pytorch_model.bin
    python tools/to_safetensors.py HPS_v2.1_compressed.pt models/HPSv2.1/open_clip_model.safetensors

An open_clip folder, as HPSv2.1's is to be, also holds open_clip_config.json and the tokenizer of the model it was
fine-tuned from: laion/CLIP-ViT-H-14-laion2B-s32B-b79K has both.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from safetensors.torch import save_file


def main(source: Path, target: Path) -> None:
    """Writes the tensors of a checkpoint, whichever of the usual names they stand under."""
    state = torch.load(source, map_location="cpu", weights_only=True)
    for name in ("state_dict", "model_state_dict", "model"):
        state = state[name] if isinstance(state.get(name), dict) else state
    tensors = {k.removeprefix("module."): v.contiguous().clone() for k, v in state.items() if torch.is_tensor(v)}
    if not tensors:
        sys.exit(f"{source}: no tensors in it")
    target.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, target, metadata={"format": "pt"})
    print(f"{target}: {len(tensors)} tensors")


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    first = Path(sys.argv[1])
    name = f"{'open_clip_' * first.name.startswith('open_clip')}model.safetensors"  # as open_clip looks for it
    main(first, Path(sys.argv[2]) if len(sys.argv) == 3 else first.with_name(name))
