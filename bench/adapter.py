"""What training leaves behind: LoRA factors, words, weight changes and rules, in safetensors with a JSON header."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import BenchError

if TYPE_CHECKING:
    from torch import Tensor

    from bench.backbone.base import Backbone
    from bench.backbone.gate import Gate

FORMAT = 2
PEAK = "peak_memory_mib"
LORA_FILE = "pytorch_lora_weights.safetensors"  # the name stock diffusers looks for


@dataclass
class Lora:
    """LoRA factors by the names diffusers gives them inside the denoiser.

    Attributes:
        factors: name → tensor.
        weight: how strongly they act.
        gate: when they act; None is always.
    """

    factors: dict[str, Tensor]
    weight: float = 1.0
    gate: Gate | None = None


@dataclass
class Adapter:
    """A trained adapter.

    Attributes:
        loras: LoRAs that act together.
        tokens: words: the placeholder's `text`, `init` word and vectors (`state`).
        delta: changes of the denoiser's own weights, by the weight's path.
        consistency_scale: weight of DCO's guidance when sampling; None is classifier-free guidance.
        answers: `references` for the anchor that answers every prompt with a reference picture.
        prefix: of the denoiser in diffusers' LoRA files.
        base: name of the model it was trained on.
        log: training curves, name → one value a logged step.
        cost: what training took: seconds, steps, forward passes, parameters.
    """

    loras: list[Lora] = field(default_factory=list)
    tokens: list[dict[str, Any]] = field(default_factory=list)
    delta: dict[str, Tensor] = field(default_factory=dict)
    consistency_scale: float | None = None
    answers: str = ""
    prefix: str = "transformer"
    base: str = ""
    log: dict[str, list[float]] = field(default_factory=dict)
    cost: dict[str, float] = field(default_factory=dict)

    @property
    def empty(self) -> bool:
        """Whether there is nothing to put on the model."""
        return not (self.loras or self.tokens or self.delta)

    def save(self, folder: Path) -> None:
        """Writes the adapter; a single LoRA goes into the file `load_lora_weights` of stock diffusers reads."""
        from safetensors.torch import save_file

        folder.mkdir(parents=True, exist_ok=True)
        for k, lora in enumerate(self.loras):
            named = {f"{self.prefix}.{n}": v.contiguous() for n, v in sorted(lora.factors.items())}
            save_file(named, folder / _lora_file(k))
        for k, token in enumerate(self.tokens):
            save_file({n: v.contiguous() for n, v in token["state"].items()}, folder / f"token-{k}.safetensors")
        if self.delta:
            save_file({n: v.half().contiguous() for n, v in self.delta.items()}, folder / "delta.safetensors")
        header = {
            "format": FORMAT,
            "base": self.base,
            "prefix": self.prefix,
            "loras": [{"weight": x.weight, "gate": x.gate and dataclasses.asdict(x.gate)} for x in self.loras],
            "tokens": [{"text": t["text"], "init": t["init"]} for t in self.tokens],
            "delta": bool(self.delta),
            "consistency_scale": self.consistency_scale,
            "answers": self.answers,
            "cost": self.cost,
        }
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
            start = header["prefix"] + "."
            files = [load_file(folder / _lora_file(k)) for k in range(len(header["loras"]))]
            loras = [
                Lora({n.removeprefix(start): v for n, v in factors.items()}, said["weight"], _gate(said["gate"]))
                for factors, said in zip(files, header["loras"], strict=True)
            ]
            tokens = [
                {**said, "state": load_file(folder / f"token-{k}.safetensors")}
                for k, said in enumerate(header["tokens"])
            ]
            delta = load_file(folder / "delta.safetensors") if header["delta"] else {}
            log = json.loads((folder / "log.json").read_text())
            rest = {k: header[k] for k in ("consistency_scale", "answers", "prefix", "base", "cost")}
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            raise BenchError(f"{folder}: not a whole adapter ({error})") from None
        return cls(loras, tokens, delta, log=log, **rest)

    @contextmanager
    def applied(self, backbone: Backbone) -> Iterator[None]:
        """Puts the adapter on the backbone for the block, and takes it off again."""
        try:
            with backbone.using(self.put(backbone, "applied")):
                yield
        finally:
            backbone.clear()

    def put(self, backbone: Backbone, name: str) -> list[str]:
        """Puts the adapter on the backbone, switched off; returns the names its parts go by there."""
        from bench.backbone.token import ConceptToken

        names = []
        for k, lora in enumerate(self.loras):
            names.append(f"{name}-lora-{k}")
            backbone.load_lora(names[-1], lora.factors, lora.weight, lora.gate)
        for k, token in enumerate(self.tokens):
            names.append(f"{name}-token-{k}")
            backbone.add_token(names[-1], ConceptToken.from_state(**token, device=backbone.device))
        if self.delta:
            names.append(f"{name}-delta")
            backbone.deltas.add(names[-1], dict(self.delta), trainable=False)
        return names


def merge(adapters: Sequence[Adapter], weights: Sequence[float]) -> Adapter:
    """Returns one adapter in which several act at once: their weighted changes summed, and all their words.

    Raises:
        BenchError: two of them learned the same word.
    """
    words = [t["text"] for a in adapters for t in a.tokens]
    if len(set(words)) < len(words):
        raise BenchError(f"merge: two adapters learned one word ({', '.join(words)}); each needs its own token")
    delta: dict[str, Tensor] = {}
    for a, w in zip(adapters, weights, strict=True):
        delta |= {path: delta[path] + w * v if path in delta else w * v for path, v in a.delta.items()}
    loras = [
        dataclasses.replace(x, weight=x.weight * w) for a, w in zip(adapters, weights, strict=True) for x in a.loras
    ]
    spent = {k: [a.cost.get(k, 0.0) for a in adapters] for a in adapters for k in a.cost}
    cost = {k: max(each) if k == PEAK else sum(each) for k, each in spent.items()}  # they were trained one by one
    log = {f"{i}/{k}": v for i, a in enumerate(adapters) for k, v in a.log.items()}
    scales = [a.consistency_scale for a in adapters if a.consistency_scale is not None]
    first = adapters[0]
    tokens = [t for a in adapters for t in a.tokens]
    return Adapter(loras, tokens, delta, scales[0] if scales else None, first.answers, first.prefix, first.base,
                   log, cost)  # fmt: skip


def _lora_file(k: int) -> str:
    return LORA_FILE if k == 0 else f"lora-{k}.safetensors"


def _gate(said: dict[str, Any] | None) -> Gate | None:
    from bench.backbone.gate import Gate

    return Gate(tuple(said["phrases"]), said["combine"]) if said else None
