"""PureCC against its equations."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from bench.concept import Concept, Reference
from bench.workbench import Batch
from methods.purecc import PureCC, adaptive_scale

N, SHAPE = 3, (8, 16, 16)


class StubWorkbench:
    """Returns a given tensor for each prompt, and remembers how it was asked."""

    def __init__(self, answers: dict[str, Tensor]) -> None:
        self.answers = answers
        self.calls: list[tuple[tuple[str, ...], tuple[str, ...], bool]] = []

    def predict(
        self, batch: Batch, *prompts: list[str], using: tuple[str, ...] | list[str] = (), grad: bool = False
    ) -> tuple[Tensor, ...]:
        self.calls.append((tuple(p[0] for p in prompts), tuple(using), grad))
        untouched = {} if using else {"base": self.answers.get("untouched", self.answers["base"])}
        with torch.set_grad_enabled(grad):
            return tuple((self.answers | untouched)[p[0]] * 1.0 for p in prompts)


@pytest.fixture
def answers() -> dict[str, Tensor]:
    g = torch.Generator().manual_seed(0)
    return {p: torch.randn(N, *SHAPE, generator=g, requires_grad=True) for p in ("complete", "base", "<new1> cat", "")}


@pytest.fixture
def batch() -> Batch:
    g = torch.Generator().manual_seed(1)
    x = torch.randn(N, *SHAPE, generator=g)
    return Batch(x, torch.rand(N, generator=g), torch.randn(N, *SHAPE, generator=g), ["complete"] * N, ["base"] * N)


CONCEPT = Concept(
    name="c",
    kind="subject",
    class_phrase="cat",
    licence="MIT",
    references=[Reference(image="0.png", complete="complete", base="base")],
)


def differences(answers: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    return answers["<new1> cat"] - answers[""], answers["complete"] - answers["base"]


def test_scale_is_the_projection_of_each_sample(answers: dict[str, Tensor]) -> None:
    r_1, r_2 = differences(answers)
    scale = adaptive_scale(r_2, r_1)
    for i in range(N):
        expected = torch.dot(r_2[i].flatten(), r_1[i].flatten()) / torch.dot(r_1[i].flatten(), r_1[i].flatten())
        torch.testing.assert_close(scale[i].squeeze(), expected)
        # eq. 11: it is the argmin of ‖R2 − λR1‖²
        residual = [((r_2[i] - (expected + d) * r_1[i]) ** 2).sum() for d in (-1e-2, 0.0, 1e-2)]
        assert residual[1] < residual[0] and residual[1] < residual[2]


def test_loss_is_the_squared_sine(answers: dict[str, Tensor], batch: Batch) -> None:
    out = PureCC().loss(StubWorkbench(answers), CONCEPT, batch)
    r_1, r_2 = (r.detach().flatten(1) for r in differences(answers))
    cosine = torch.cosine_similarity(r_1, r_2, dim=1)
    expected = (r_2.square().sum(1) * (1 - cosine**2)).sum() / r_2.numel()
    torch.testing.assert_close(out["l_purecc"], expected)
    l_cc = (batch.target - answers["complete"]).square().mean()
    torch.testing.assert_close(out["loss"], l_cc + out["l_purecc"])


def test_gradient_reaches_the_student_alone(answers: dict[str, Tensor], batch: Batch) -> None:
    stub = StubWorkbench(answers)
    PureCC().loss(stub, CONCEPT, batch)["loss"].backward()
    assert answers["complete"].grad is not None and answers["base"].grad is not None
    assert answers["<new1> cat"].grad is None and answers[""].grad is None
    assert stub.calls == [
        (("complete", "base"), ("student", "student-word"), True),
        (("<new1> cat", ""), ("extractor", "extractor-word"), False),
    ]


def test_gradient_is_the_same_with_the_scale_detached(answers: dict[str, Tensor], batch: Batch) -> None:
    """The envelope theorem: λ* minimizes the loss, so its own derivative adds nothing."""
    loss = PureCC(eta=1.0).loss(StubWorkbench(answers), CONCEPT, batch)["l_purecc"]
    live = torch.autograd.grad(loss, answers["complete"], retain_graph=True)[0]
    r_1, r_2 = differences(answers)
    still = (r_2 - adaptive_scale(r_2, r_1).detach() * r_1.detach()).square().mean()
    torch.testing.assert_close(live, torch.autograd.grad(still, answers["complete"])[0], atol=1e-8, rtol=1e-4)


def test_released_code_has_its_own_form(answers: dict[str, Tensor], batch: Batch) -> None:
    import yaml

    from bench import paths

    config = yaml.safe_load((paths.shipped("conf") / "method" / "purecc_release.yaml").read_text())
    fields = {k: v for k, v in config.items() if k not in ("_target_", "tuned", "tuned_as", "search")}
    method = PureCC(**fields)
    stub = StubWorkbench(answers)
    out = method.loss(stub, CONCEPT, batch)
    assert stub.calls[1][1] == ("extractor-word",)  # the extractor's LoRA is off, its word stays
    r_1, r_2 = differences(answers)
    torch.testing.assert_close(out["l_purecc"], (1.0 * r_1 - r_2).square().mean())
    torch.testing.assert_close(out["loss"], out["l_cc"] + 2.0 * out["l_purecc"])
    assert (method.extractor_steps, method.steps) == (400, 800)
    assert (method.extractor_batch_size, method.batch_size) == (4, 1)
    assert (method.token_lr, method.embedding, method.train_embedding) == (5e-3, "single", False)


def test_paper_has_its_own_form() -> None:
    method = PureCC()
    assert (method.eta, method.scale, method.extractor, method.embedding) == (1.0, "adaptive", "stage_1", "layerwise")
    assert (method.extractor_steps, method.steps, method.batch_size, method.rank, method.lr) == (400, 400, 2, 4, 1e-4)


@pytest.mark.parametrize("v_orig", ["detached", "frozen"])
def test_the_original_behaviour_can_be_held_still(v_orig: str, answers: dict[str, Tensor], batch: Batch) -> None:
    """With no gradient into v_orig, the class prompt is not drawn towards the concept (supplement 14)."""
    stub = StubWorkbench(answers)
    loss = PureCC(v_orig=v_orig, scale=0.5).loss(stub, CONCEPT, batch)["l_purecc"]  # type: ignore[arg-type]
    loss.backward()
    assert answers["base"].grad is None
    r_1, r_2 = differences(answers)
    torch.testing.assert_close(loss, (0.5 * r_1 - r_2).square().mean())
    assert ((("base",), (), False) in stub.calls) == (v_orig == "frozen")


def test_the_untouched_models_behaviour_is_no_target_of_the_base_prediction(
    answers: dict[str, Tensor], batch: Batch
) -> None:
    """λ* of R2 is no argmin where v_orig is not R2's own base: its derivative would draw the one to the other."""
    answers["untouched"] = answers["base"].detach() + 0.3
    loss = PureCC(v_orig="frozen").loss(StubWorkbench(answers), CONCEPT, batch)["l_purecc"]
    loss.backward()
    assert answers["base"].grad is None
    r_1, r_2 = (r.detach() for r in differences(answers))
    residual = answers["untouched"] + adaptive_scale(r_2, r_1) * r_1 - answers["complete"].detach()
    torch.testing.assert_close(loss, residual.square().mean())
    torch.testing.assert_close(answers["complete"].grad, -2 * residual / residual.numel())
