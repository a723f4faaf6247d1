"""What training leaves behind: LoRA factors and token vectors, in safetensors with a JSON header."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import BenchError

if TYPE_CHECKING:
    from torch import Tensor

    from bench.backbone.base import Backbone

FORMAT = 1
LORA_FILE = "pytorch_lora_weights.safetensors"  # the name stock diffusers looks for


@dataclass
class Adapter:
    """A trained adapter.

    Attributes:
        lora: factors by the names diffusers gives them inside the denoiser; empty if there are none.
        token: the placeholder's `text`, `init` word and vectors (`state`), or None.
        base: name of the model it was trained on.
        log: training curves, name → one value a logged step.
        cost: what training took: seconds, steps, forward passes, parameters.
    """

    lora: dict[str, Tensor] = field(default_factory=dict)
    token: dict[str, Any] | None = None
    base: str = ""
    log: dict[str, list[float]] = field(default_factory=dict)
    cost: dict[str, float] = field(default_factory=dict)

    @property
    def empty(self) -> bool:
        """Whether there is nothing to put on the model."""
        return not self.lora and self.token is None

    def save(self, folder: Path) -> None:
        """Writes the adapter; a LoRA goes into the file `load_lora_weights` of stock diffusers reads."""
        from safetensors.torch import save_file

        folder.mkdir(parents=True, exist_ok=True)
        if self.lora:
            save_file({f"transformer.{k}": v.contiguous() for k, v in sorted(self.lora.items())}, folder / LORA_FILE)
        header: dict[str, Any] = {
            "format": FORMAT,
            "base": self.base,
            "lora": bool(self.lora),
            "cost": self.cost,
            "token": None,
        }
        if self.token:
            header["token"] = {"text": self.token["text"], "init": self.token["init"]}
            save_file({k: v.contiguous() for k, v in self.token["state"].items()}, folder / "token.safetensors")
        (folder / "log.json").write_text(json.dumps(self.log))
        (folder / "adapter.json").write_text(json.dumps(header, indent=1) + "\n")

    @classmethod
    def load(cls, folder: Path) -> Adapter:
        """Reads an adapter; nothing in it is executed.

        Raises:
            BenchError: the header or a weight file is missing or unreadable.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            header = json.loads((folder / "adapter.json").read_text())
            lora = load_file(folder / LORA_FILE) if header["lora"] else {}
            token = header["token"] and {**header["token"], "state": load_file(folder / "token.safetensors")}
            log = json.loads((folder / "log.json").read_text())
        except (OSError, ValueError, KeyError, SafetensorError) as error:
            raise BenchError(f"{folder}: not a whole adapter ({error})") from None
        return cls(
            {k.removeprefix("transformer."): v for k, v in lora.items()}, token, header["base"], log, header["cost"]
        )

    @contextmanager
    def applied(self, backbone: Backbone) -> Iterator[None]:
        """Puts the adapter on the backbone for the block, and takes it off again."""
        from bench.backbone.token import ConceptToken

        names = []
        if self.lora:
            backbone.load_lora("applied", self.lora)
            names.append("applied")
        if self.token:
            backbone.add_token("applied-token", ConceptToken.from_state(**self.token))
            names.append("applied-token")
        try:
            with backbone.using(names):
                yield
        finally:
            backbone.clear()
