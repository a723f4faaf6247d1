"""What every backbone offers, whatever its parameterization."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from bench.backbone.adapted import Adapted
from bench.backbone.batches import in_batches
from bench.backbone.embeds import PromptEmbeds
from bench.backbone.files import squares
from bench.backbone.place import COMPILER, Placement, compiled, put, text_towers, visiting
from bench.backbone.prompts import Prompts
from bench.backbone.recompute import recomputed
from bench.backbone.token import ConceptToken
from bench.errors import BenchError

if TYPE_CHECKING:
    from PIL import Image


class Backbone(Adapted):
    """A diffusers pipeline with its parts frozen, and named things that can be put on it and switched:
    LoRAs, words (tokens) and weight changes (deltas).

    Time t runs from 0, clean, to 1, noise, in every family: x_t = α(t) x_0 + σ(t) noise.
    """

    towers: tuple[tuple[str, str], ...]
    read: tuple[int, ...] = (0,)  # the towers whose tokens, one after the other, are what the denoiser reads
    texts: ClassVar[type[Prompts]] = Prompts  # how its towers read prompts
    begins: ClassVar[bool] = True  # whether what it reads begins with a token of its own, as CLIP's start of text
    prefix: ClassVar[str]  # of the denoiser in a LoRA file of diffusers

    def __init__(self, pipe: Any, resolution: int = 0) -> None:
        self.pipe, self.resolution, self.placement = pipe, resolution, Placement()
        self.guidance = 1.0  # what a guidance-distilled network is told; others are told nothing
        unit = pipe.vae_scale_factor * self.patch
        if resolution % unit:
            raise BenchError(f"model.resolution={resolution}: a multiple of {unit} would be right")
        pipe.set_progress_bar_config(disable=True)
        for part in pipe.components.values():
            if isinstance(part, nn.Module):
                part.eval().requires_grad_(False)
        self.prompts = self.texts(pipe, self.towers, self._embed, self.read)
        self.nothing_on()
        self.slots: Tensor | None = None  # where layer-wise words stand in the prompts that are being read
        self.sampling = False
        self.readers = self._readers()
        for index, reader in enumerate(self.readers):
            reader.register_forward_pre_hook(self._layerwise_hook(index), with_kwargs=True)

    # --- where it is -----------------------------------------------------------------------------

    @property
    def device(self) -> torch.device:
        """Where the denoiser is, and every tensor that is handed to it."""
        return torch.device(self.placement.device)

    @property
    def dtype(self) -> torch.dtype:
        """What the frozen networks compute in; latents, predictions, losses and what trains are float32."""
        return self.placement.precision

    def place(self, to: Placement) -> Backbone:
        """Moves the pipeline, with nothing on it, and returns the backbone."""
        self.deltas.rounded(to.precision)
        put(self.pipe, self.denoiser, to)
        self.placement = to
        self.prompts.forget()
        towers, away = text_towers(self.pipe), to.offload or to.drop_text_encoders
        self.prompts.at_work = lambda stay: visiting(towers, self.device, away, stay)
        if to.gradient_checkpointing:
            self.denoiser.enable_gradient_checkpointing(lambda block, *args: recomputed(self, block, *args))
        if to.compile:
            self.denoiser.compile(backend=COMPILER)
        return self

    def _autoencoder(self, stay: bool = False) -> AbstractContextManager[None]:
        return visiting([self.pipe.vae], self.device, self.placement.offload, stay)

    def _arithmetic(self) -> AbstractContextManager[object]:
        """Autocast where float32 factors lie on a network of half precision, as diffusers' training scripts run.

        A saved adapter is loaded in the network's own precision, and needs none.
        """
        masters = any(factors[0].dtype != self.dtype for factors in self.loras.values())
        return torch.autocast(self.device.type, self.dtype) if masters else nullcontext()

    # --- what a family says of itself ------------------------------------------------------------

    @abstractmethod
    def _readers(self) -> list[nn.Module]:
        """Returns the modules that read the prompt's states, in order."""

    @abstractmethod
    def _embed(self, prompts: list[str]) -> tuple[Tensor, Tensor]:
        """Encodes prompts as the stock pipeline does: embeds (n, tokens, width), pooled (n, width)."""

    @abstractmethod
    def _forward(self, x_t: Tensor, t: Tensor, prompt: PromptEmbeds) -> Tensor:
        """Runs the denoiser."""

    @abstractmethod
    def alpha_sigma(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Returns α and σ at times t (n,), each (n, 1, 1, 1)."""

    @abstractmethod
    def target(self, x_0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """Returns what the network is to predict."""

    @abstractmethod
    def clean(self, x_t: Tensor, prediction: Tensor, t: Tensor) -> Tensor:
        """Returns the x_0 that a prediction at x_t implies."""

    @abstractmethod
    def sample_times(self, count: int, generator: torch.Generator) -> Tensor:
        """Draws training times (count,) as the model was trained."""

    @property
    @abstractmethod
    def latent_shift(self) -> float:
        """What is taken from the autoencoder's latents before they are scaled."""

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """The shape (C, h, w) of one picture's latents."""
        config = self.denoiser.config
        side = self.resolution // self.pipe.vae_scale_factor or config.sample_size
        return config.in_channels, side, side

    @property
    def pixels(self) -> int:
        """Pixels a side of one picture."""
        return self.latent_shape[1] * self.pipe.vae_scale_factor

    @property
    def patch(self) -> int:
        """Latents a side of what the network takes for one token; 1 for a U-Net."""
        return getattr(self.denoiser.config, "patch_size", 1)

    @property
    def distilled(self) -> bool:
        """Whether guidance is in the network, as it is told or once for all, in place of a second prediction."""
        return False

    @contextmanager
    def told(self, guidance: float) -> Iterator[None]:
        """Tells a guidance-distilled network of a guidance for the block; it trains at 1."""
        self.guidance = guidance
        try:
            yield
        finally:
            self.guidance = 1.0

    def set_timesteps(self, scheduler: Any, steps: int) -> None:
        """Sets a scheduler of the pipeline's to a number of sampling steps, as the stock pipeline does."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="__array__ implementation")  # Euler's, of a tensor to NumPy
            scheduler.set_timesteps(steps)

    # --- pictures --------------------------------------------------------------------------------

    @torch.no_grad()
    def encode_images(self, images: Sequence[Image.Image]) -> Tensor:
        """Returns the scaled latents (n, C, h, w) of pictures, each cut to the model's own square."""
        with self._autoencoder():
            z = torch.cat(list(in_batches(squares(images, self.pixels), len(images), self._encoded, "references")))
            return self._to_latents(z)

    def _encoded(self, pictures: Sequence[Image.Image]) -> Tensor:
        pixels = self.pipe.image_processor.preprocess(list(pictures)).to(self.device, self.pipe.vae.dtype)
        z: Tensor = self.pipe.vae.encode(pixels).latent_dist.mean.float()
        return z

    def _to_latents(self, z: Tensor) -> Tensor:
        """Returns what the denoiser works on of the autoencoder's latents."""
        return (z - self.latent_shift) * self.pipe.vae.config.scaling_factor

    def _from_latents(self, x_0: Tensor) -> Tensor:
        """Returns the autoencoder's latents of what the denoiser works on."""
        return x_0 / self.pipe.vae.config.scaling_factor + self.latent_shift

    def decode(self, x_0: Tensor) -> Tensor:
        """Returns the pictures (n, 3, H, W) in [-1, 1] of scaled latents; gradients pass."""
        vae = self.pipe.vae
        z = self._from_latents(x_0).to(vae.dtype)
        with self._autoencoder(stay=z.requires_grad):
            pictures: Tensor = vae.decode(z, return_dict=False)[0].float()
        return pictures

    # --- prompts and prediction ------------------------------------------------------------------

    def encode_prompts(self, prompts: Sequence[str]) -> PromptEmbeds:
        """Encodes prompts with the words in use; a gradient reaches those that train."""
        return self.prompts.encode(prompts, self.known_tokens(), self.active_tokens())

    def text_states(self, prompts: Sequence[str]) -> list[tuple[Tensor, Tensor]]:
        """Returns each text tower's token ids (n, length) and last hidden states (n, length, width)."""
        return self.prompts.states(prompts, self.known_tokens(), self.active_tokens())

    def predict(self, x_t: Tensor, t: Tensor, prompt: PromptEmbeds) -> Tensor:
        """Returns the network's prediction in its own parameterization at x_t (n, C, h, w) and t (n,), in float32."""
        self.slots = prompt.slots if bool(prompt.slots.any()) else None
        try:
            with self._arithmetic(), compiled(self):
                return self._forward(x_t.to(self.dtype), t, prompt.to(self.dtype)).float()
        finally:
            self.slots = None

    def add_noise(self, x_0: Tensor, noise: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """Returns x_t = α x_0 + σ noise and the training target."""
        alpha, sigma = self.alpha_sigma(t)
        return alpha * x_0 + sigma * noise, self.target(x_0, noise, t)

    def sample(
        self, prompts: Sequence[str], seeds: Sequence[int], steps: int, guidance_scale: float, **rules: Any
    ) -> list[Image.Image]:
        """Makes one picture a prompt, each from its own generator; `rules` are those of `bench.backbone.sample`."""
        from bench.backbone.sample import sample

        return sample(self, prompts, seeds, steps, guidance_scale, **rules)

    def _layerwise_hook(self, index: int) -> Any:
        def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
            if self.slots is not None:
                states = kwargs["encoder_hidden_states"]
                words = [t.layers for t in self.active_tokens() if t.layers is not None]
                for k, layers in enumerate(words, start=1):
                    here = (self.slots == k)[..., None]
                    states = torch.where(here, layers[index].to(states.dtype), states)
                kwargs["encoder_hidden_states"] = states
            return args, kwargs

        return hook

    # --- words -----------------------------------------------------------------------------------

    def new_token(self, text: str, init: str, layerwise: bool) -> ConceptToken:
        """Returns a trainable word that starts at the init word (its first piece).

        Layer-wise vectors start at the states the init word itself has where they are read.
        """
        word = self.prompts.new_rows(text, init, self.device)
        return ConceptToken(text, init, layers=nn.Parameter(self._states_of(init))) if layerwise else word

    @torch.no_grad()
    def _states_of(self, word: str) -> Tensor:
        """Returns the word's mean state before every reader, (readers, width), over four times."""
        seen: list[Tensor] = []
        place = self.prompts.place("a", f"a {word}")
        handles = [
            r.register_forward_pre_hook(
                lambda m, a, k: seen.append(k["encoder_hidden_states"][:, place].float().mean(0)), with_kwargs=True
            )
            for r in self.readers
        ]
        noise = torch.randn(4, *self.latent_shape, generator=torch.Generator().manual_seed(0))
        try:
            t = torch.tensor([0.2, 0.4, 0.6, 0.8])
            self.predict(noise.to(self.device), t.to(self.device), self.encode_prompts([f"a {word}"] * 4))
        finally:
            for handle in handles:
                handle.remove()
        return torch.stack(seen)
