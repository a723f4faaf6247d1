"""DPG-T2I (arXiv 2407.06642): the denoiser as a policy, trained by the gradient of a critic."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor, nn

from bench.errors import BenchError, Diverged
from bench.names import resolve_name
from bench.workbench import Batch, Group

if TYPE_CHECKING:
    from bench.adapter import Adapter
    from bench.concept import Concept
    from bench.workbench import Workbench

DEAD_AFTER = 25  # steps without a gradient from the critic
STEP = 1 / 1000  # from one state to the next, as γ counts


class Critic(nn.Module):
    """The paper's critic: a 3×3 convolution to one channel, then 64 hidden units; weights U(0, 1/fan_in)."""

    def __init__(self, channels: int, side: int, generator: torch.Generator) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels, 1, 3, padding=1), nn.LeakyReLU(0.01), nn.Flatten(),
            nn.Linear(side * side, 64), nn.ReLU(), nn.Linear(64, 1),
        )  # fmt: skip
        with torch.no_grad():
            for layer in (m for m in self.layers if isinstance(m, nn.Conv2d | nn.Linear)):
                bound = 1 / layer.weight[0].numel() if isinstance(layer, nn.Linear) else 1 / 9
                for parameter in (layer.weight, layer.bias):
                    parameter.copy_(bound * torch.rand(parameter.shape, generator=generator))

    def forward(self, x: Tensor) -> Tensor:
        """Returns the cost (n,) of residuals or pictures in latents (n, C, h, w)."""
        return self.layers(x).squeeze(1)


def reward_of(said: str | dict[str, Any] | None) -> Callable[..., Tensor] | None:
    """Returns the reward that a dotted name, or a mapping with `_target_` and arguments, stands for."""
    if not said:
        return None
    if isinstance(said, str):
        return resolve_name(said, "method.reward")
    if "_target_" not in said:
        raise BenchError("method.reward: a mapping needs _target_, the dotted name of what makes the reward")
    given = {k: v for k, v in said.items() if k != "_target_"}
    return resolve_name(str(said["_target_"]), "method.reward._target_")(**given)


@dataclass
class DPG:
    """Looks forward to x̂_0, asks the critic what it costs, and follows the critic's gradient.

    Attributes:
        weights: which of the denoiser's weights are the policy.
        lr: of the policy.
        steps: policy steps, each followed by one of the critic.
        batch_size: samples a step.
        gamma: γ; a sample at time t weighs γ^(1000 t).
        critic: `network`, the released code's, which is regressed on the cost of now; `bellman`, on Q(x_t, ·) = cost +
            γ Q(x_{t−1}, ·), the paper's equation, which no code of theirs has; or `mean`: the twin that shows what
            the critic adds.
        critic_lr: of the critic (plain SGD).
        instance_weight: weight of the diffusion loss on the references: 1 in the paper, none in the released code.
        reward_weight: λ of what the critic says.
        reward: a function (pictures (n, 3, H, W) in [-1, 1], captions, concept) → rewards (n,): its dotted name, or
            a mapping of `_target_` and the arguments it is made with; none is the look-forward cost ‖x̂_0 − x_0‖².
            It need not be differentiable: the critic is.
        prior_images: pictures of the class that the untouched model makes first.
        prior_weight: weight of their diffusion loss.
    """

    weights: str = "all"
    lr: PositiveFloat = 1e-6
    steps: PositiveInt = 1000
    batch_size: PositiveInt = 1
    gamma: PositiveFloat = 0.9986
    critic: Literal["network", "bellman", "mean"] = "network"
    critic_lr: PositiveFloat = 0.01
    instance_weight: NonNegativeFloat = 1.0
    reward_weight: NonNegativeFloat = 1.0
    reward: str | dict[str, Any] | None = None
    prior_images: NonNegativeInt = 8
    prior_weight: NonNegativeFloat = 1.0

    tasks: ClassVar[tuple[str, ...]] = ("subject", "multi")
    families: ClassVar[tuple[str, ...]] = ("flow", "epsilon", "v")

    def train(self, workbench: Workbench, concept: Concept) -> Adapter:
        """Alternates one step of the policy and one of the critic (Alg. 1)."""
        channels, side, _ = workbench.backbone.latent_shape
        self._critic = Critic(channels, side, workbench.generator("critic", 0))
        self._critic.to(workbench.backbone.device)
        self._optimizer = torch.optim.SGD(self._critic.parameters(), lr=self.critic_lr)
        self._silent = torch.zeros(())  # a tensor: it is kept where training is interrupted
        self._seen: tuple[Tensor, Tensor] | None = None
        self._reward = reward_of(self.reward)
        group = Group(workbench.weights("policy", self.weights), self.lr, weight_decay=1e-2)
        workbench.fit(
            "policy", [group], lambda batch: self.loss(workbench, concept, batch), self.steps, self.batch_size,
            after_step=lambda batch: self.criticize(), also=[*self._critic.parameters(), self._silent],
        )  # fmt: skip
        return workbench.adapter(delta="policy")

    def loss(self, workbench: Workbench, concept: Concept, batch: Batch) -> dict[str, Tensor]:
        """Returns the policy's loss, the critic's share discounted by γ^t."""
        (v,) = workbench.predict(batch, batch.complete, using=["policy"], grad=True)
        instance = (v - batch.target).square().mean()
        x_0 = workbench.backbone.clean(batch.x_t, v, batch.t)  # look forward
        cost, slope = self.cost(workbench, concept, batch, x_0)
        values = {"cost": (self.gamma ** (1000 * batch.t) * cost).mean(), "instance": instance}
        total = self.reward_weight * values["cost"] + self.instance_weight * instance
        if self.prior_images:
            prior = workbench.prior(batch.step, self.batch_size, self.prior_images)
            values["prior"] = workbench.denoising(prior, ["policy"])
            total = total + self.prior_weight * values["prior"]
        return {"loss": total, "slope": slope, **values}

    def cost(self, workbench: Workbench, concept: Concept, batch: Batch, x_0: Tensor) -> tuple[Tensor, Tensor]:
        """Returns what the critic says of x̂_0 (n,), and how it answers to a rise of its input: 1 for a mean."""
        action = self._action(batch, x_0)
        if self._reward is None:
            truth = action.detach().mean((1, 2, 3))
        else:
            with torch.no_grad():
                pictures = workbench.backbone.decode(x_0.detach()).clamp(-1, 1)
                truth = -self._reward(pictures, batch.base, concept)
        if self.critic == "mean" and self._reward is None:
            return action.mean((1, 2, 3)), torch.ones(())
        if self.critic == "bellman":
            truth = truth + self.ahead(workbench, batch, x_0.detach())
        self._seen = action.detach(), truth.detach()
        probe = action.detach().requires_grad_()
        with torch.enable_grad():
            (gradient,) = torch.autograd.grad(self._critic(probe).mean(), probe)
        self._check(gradient)
        return self._critic(action), gradient.sum()

    def ahead(self, workbench: Workbench, batch: Batch, x_0: Tensor) -> Tensor:
        """Returns γ Q(x_{t−1}, ·) (n,), where the policy's x̂_0 leads to by DDIM's step; nothing after the last."""
        backbone, t = workbench.backbone, (batch.t - STEP).clamp(min=0)
        (alpha, sigma), (alpha_next, sigma_next) = backbone.alpha_sigma(batch.t), backbone.alpha_sigma(t)
        noise = (batch.x_t - alpha * x_0) / sigma
        state = replace(batch, x_t=alpha_next * x_0 + sigma_next * noise, t=t)
        (v,) = workbench.predict(state, batch.complete, using=["policy"])
        with torch.no_grad():
            value = self._critic(self._action(batch, backbone.clean(state.x_t, v, t)))
        return self.gamma * value * (batch.t > STEP / 2)

    def _action(self, batch: Batch, x_0: Tensor) -> Tensor:
        """Returns what the critic sees: the squared residual, or x̂_0 where the reward is a function of pictures."""
        return (x_0 - batch.x_0).square() if self._reward is None else x_0

    def _check(self, gradient: Tensor) -> None:
        """Fails loudly where the critic's units have died: it would silently train on the other losses alone."""
        finite = bool(torch.isfinite(gradient).all())
        self._silent.copy_(self._silent + 1 if float(gradient.abs().max()) < 1e-12 else torch.zeros(()))
        if self._silent > DEAD_AFTER or not finite:
            what = f"gave no gradient for {int(self._silent)} steps: it has died" if finite else "went past all numbers"
            raise Diverged(
                f"the critic {what}; lower method.critic_lr={self.critic_lr:g}, or take method.critic=mean", {}
            )

    def criticize(self) -> None:
        """Regresses the critic onto what the policy did cost: (Q(a) − cost)², the cost with what is ahead of it."""
        if self._seen is None:
            return
        action, truth = self._seen
        self._optimizer.zero_grad()
        error: Any = (self._critic(action) - truth).square().mean()
        error.backward()
        self._optimizer.step()
