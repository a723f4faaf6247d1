"""What a training promises, each as a check that says what it saw."""

from __future__ import annotations

import json
from pathlib import Path

from bench.adapter import Adapter
from bench.contract.brief import STEPS, Case, tensors, unlike
from bench.errors import Broken

DRAW = "draw with workbench.generator(stage, step) and from nothing else"


class Promises:
    """The promises of one case."""

    def __init__(self, case: Case, folder: Path) -> None:
        self.case, self.folder = case, folder
        self.before, self.plain = case.weights(), case.prediction()
        self.adapter, self.steps = Adapter(), 0

    def trains(self) -> str:
        """Trains a few steps of every stage."""
        self.adapter, self.steps = self.case.trained(self.folder / "once")
        rule = self.adapter.consistency_scale is not None or bool(self.adapter.answers)
        if self.adapter.empty and not rule and self.steps:
            raise Broken(
                f"{self.steps} steps, and nothing comes back: workbench.adapter(lora=…, word=…, delta=…) is right"
            )
        curves = ", ".join(self.adapter.log) or "none"
        return f"{self.steps} steps; curves: {curves}" if self.steps else "no steps: closed form or inference only"

    def leaves_the_model(self) -> str:
        """Holds every weight, and a prediction, against those before."""
        if name := unlike(self.before, self.case.weights()):
            raise Broken(f"{name} has changed: train workbench.lora, .token or .weights, not the model's own")
        if not self.plain.equal(self.case.prediction()):
            raise Broken("predicts otherwise than before, with nothing on it: a hook or a mode was left behind")
        return f"{len(self.before)} tensors untouched, bit for bit"

    def acts(self) -> str:
        """Puts the adapter on the model and looks whether it predicts otherwise."""
        rule = [f"guidance {self.adapter.consistency_scale}"] if self.adapter.consistency_scale is not None else []
        rule += [f"answers {self.adapter.answers}"] if self.adapter.answers else []
        if self.adapter.empty:
            return ", ".join(rule) or "leaves the model as it is"
        with_it = self.case.prediction(self.adapter)
        if not bool(with_it.isfinite().all()):
            raise Broken("with it, the prediction is not finite")
        if self.plain.equal(with_it) and not rule:
            raise Broken("with it, the model predicts what it did before")
        parts = {"LoRA": len(self.adapter.loras), "words": len(self.adapter.tokens), "weights": len(self.adapter.delta)}
        return ", ".join([*(f"{n} {what}" for what, n in parts.items() if n), *rule])

    def files(self) -> str:
        """Saves, loads, and looks at what was written."""
        folder = self.folder / "saved"
        self.adapter.save(folder)
        written = sorted(p.name for p in folder.iterdir())
        if other := [n for n in written if not n.endswith((".safetensors", ".json"))]:
            raise Broken(f"{other[0]}: safetensors and JSON alone are read back")
        json.loads((folder / "adapter.json").read_text(), parse_constant=_no_number)
        halved = {n: v.half() for n, v in self.adapter.delta.items()}  # weight changes are kept in half precision
        again = Adapter.load(folder)
        if name := unlike(tensors(Adapter(self.adapter.loras, self.adapter.tokens, halved)), tensors(again)):
            raise Broken(f"{name} comes back changed")
        return f"{', '.join(written)}; read back bit for bit"

    def repeats(self) -> str:
        """Trains again, the process's own generators in another state."""
        again = self.case.train(self.folder / "again", state=1)
        if name := unlike(tensors(self.adapter), tensors(again)):
            raise Broken(f"two trainings from one seed differ in {name}: {DRAW}")
        if self.adapter.log != again.log:
            raise Broken(f"two trainings from one seed log other curves: {DRAW}")
        return "two trainings from one seed are equal, bit for bit"

    def seeds(self) -> str:
        """Trains from another seed."""
        other = self.case.train(self.folder / "other", seed=1)
        same = not unlike(tensors(self.adapter), tensors(other))
        if same and self.steps:
            raise Broken(f"another seed changes nothing, and a loss was minimized: {DRAW}")
        return "another seed, the same: nothing is drawn" if same else "another seed, another adapter"

    def goes_on(self) -> str:
        """Interrupts a training before its last step."""
        if not self.steps or len(self.case.concepts) > 1:
            return "nothing to interrupt"
        late = self.case.continued(self.folder / "late", self.steps)
        if name := unlike(tensors(self.adapter), tensors(late)):
            raise Broken(f"interrupted and continued, {name} differs: hand what else changes to fit(…, also=[…])")
        return (
            f"interrupted before step {self.steps} of {self.steps} ({STEPS} a stage) and continued: equal, bit for bit"
        )


def _no_number(said: str) -> float:
    raise Broken(f"adapter.json holds {said}, which is no number")
