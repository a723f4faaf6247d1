"""What every backbone offers, whatever its parameterization."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from bench.backbone.token import ConceptToken
from bench.errors import BenchError

if TYPE_CHECKING:
    from PIL import Image


@dataclass
class PromptEmbeds:
    """Encoded prompts: `embeds` (n, tokens, width), `pooled` (n, width), `slots` (n, tokens) true
    where a concept's layer-wise embeddings go.
    """

    embeds: Tensor
    pooled: Tensor
    slots: Tensor

    @staticmethod
    def cat(parts: Sequence[PromptEmbeds]) -> PromptEmbeds:
        """Returns the batches one after the other."""
        return PromptEmbeds(*(torch.cat([getattr(p, f) for p in parts]) for f in ("embeds", "pooled", "slots")))

    def __getitem__(self, index: Sequence[int]) -> PromptEmbeds:
        where = list(index)
        return PromptEmbeds(self.embeds[where], self.pooled[where], self.slots[where])


@contextmanager
def _several_adapters() -> Iterator[None]:
    """Several adapters on one model, and taking off the one in use, are what we want; PEFT warns of both."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Already found a `peft_config`")
        warnings.filterwarnings("ignore", message="Adapter .* was active which is now deleted")
        yield


class Backbone(ABC):
    """A diffusers pipeline with its parts frozen, and named modules (LoRA, tokens) that can be put on it."""

    family: ClassVar[str]

    def __init__(self, pipe: Any) -> None:
        self.pipe = pipe
        self.tokens: dict[str, ConceptToken] = {}
        self.loras: dict[str, list[nn.Parameter]] = {}
        self.trainable: set[str] = set()
        self.active: tuple[str, ...] = ()
        pipe.set_progress_bar_config(disable=True)
        for part in pipe.components.values():
            if isinstance(part, nn.Module):
                part.eval().requires_grad_(False)

    @property
    @abstractmethod
    def denoiser(self) -> Any:
        """The network that LoRA factors are put on."""

    @abstractmethod
    def encode_prompts(self, prompts: Sequence[str]) -> PromptEmbeds:
        """Encodes prompts with the active tokens; a gradient reaches those that train."""

    @abstractmethod
    def encode_images(self, images: Sequence[Image.Image]) -> Tensor:
        """Returns the scaled latents (n, C, h, w) of pictures."""

    @abstractmethod
    def new_token(self, text: str, init: str, layerwise: bool) -> ConceptToken:
        """Returns a trainable token that starts at the init word (its first piece)."""

    @abstractmethod
    def predict(self, x_t: Tensor, t: Tensor, prompt: PromptEmbeds) -> Tensor:
        """Returns the network's prediction in its own parameterization, shaped as `x_t`."""

    @abstractmethod
    def add_noise(self, x_0: Tensor, noise: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """Returns `x_t` and the training target at times `t` (n,)."""

    @abstractmethod
    def sample_times(self, count: int, generator: torch.Generator) -> Tensor:
        """Draws training times (count,) as the model was trained."""

    @abstractmethod
    def sample(
        self, prompts: Sequence[str], seeds: Sequence[int], steps: int, guidance_scale: float
    ) -> list[Image.Image]:
        """Makes one picture a prompt, each from its own generator."""

    @contextmanager
    def using(self, names: Sequence[str]) -> Iterator[None]:
        """Switches to exactly these LoRAs and tokens; none is the frozen model."""
        before = self.active
        self._activate(tuple(names))
        try:
            yield
        finally:
            self._activate(before)

    def _activate(self, names: tuple[str, ...]) -> None:
        unknown = set(names) - set(self.loras) - set(self.tokens)
        if unknown:
            raise BenchError(f"using={list(names)}: nothing named {sorted(unknown)} was made")
        if names == self.active:
            return
        loras = [n for n in names if n in self.loras]
        if loras:
            self.denoiser.enable_adapters()
            self.denoiser.set_adapters(loras)
        elif self.loras:
            self.denoiser.disable_adapters()
        # PEFT freezes what it switches off; a gradient of this step may still be on its way to it.
        for name, parameters in self.loras.items():
            for parameter in parameters:
                parameter.requires_grad_(name in self.trainable)
        self.active = names

    def active_tokens(self) -> list[ConceptToken]:
        """Returns the tokens in use."""
        return [self.tokens[n] for n in self.active if n in self.tokens]

    def add_token(self, name: str, token: ConceptToken) -> None:
        """Puts a token on the backbone; it is used where `using` names it."""
        self.tokens[name] = token

    def add_lora(self, name: str, rank: int, targets: Sequence[str], init: str | bool = True) -> list[nn.Parameter]:
        """Puts new trainable LoRA factors (alpha = rank) on the denoiser and returns them."""
        from peft import LoraConfig

        config = LoraConfig(r=rank, lora_alpha=rank, target_modules=list(targets), init_lora_weights=init)
        with _several_adapters():
            self.denoiser.add_adapter(config, adapter_name=name)
        self.trainable.add(name)
        return self._added(name)

    def _added(self, name: str) -> list[nn.Parameter]:
        """Enters a LoRA under its name and switches it off again: adding one switches it on."""
        self.loras[name] = [p for n, p in self.denoiser.named_parameters() if f".{name}." in n and "lora_" in n]
        self.active = ("",)
        self._activate(())
        return self.loras[name]

    def freeze(self, name: str) -> None:
        """Ends the training of a LoRA or token."""
        self.trainable.discard(name)
        for parameter in self.loras[name] if name in self.loras else self.tokens[name].parameters():
            parameter.requires_grad_(False)

    def lora_state(self, name: str) -> dict[str, Tensor]:
        """Returns the LoRA factors by the names diffusers saves them under."""
        from peft import get_peft_model_state_dict

        return {k: v.detach().clone() for k, v in get_peft_model_state_dict(self.denoiser, adapter_name=name).items()}

    def load_lora(self, name: str, state: dict[str, Tensor]) -> None:
        """Puts saved LoRA factors on the denoiser."""
        with _several_adapters():
            self.denoiser.load_lora_adapter(dict(state), prefix=None, adapter_name=name)
        self._added(name)

    def clear(self) -> None:
        """Takes everything off the backbone again."""
        self._activate(())
        with _several_adapters():
            for name in sorted(self.loras):
                self.denoiser.delete_adapters(name)
        self.loras.clear()
        self.trainable.clear()
        self.tokens.clear()
