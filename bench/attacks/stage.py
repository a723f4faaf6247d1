"""The attacks on one erasure: what each finds, and the pictures of every side."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from bench.adapter import Adapter
from bench.attack_keys import part_key
from bench.attacks.control import asked_of, budget_of, searched
from bench.attacks.soft import Attacker, named
from bench.attacks.words import find, plain_words
from bench.checkpoint import Checkpoint
from bench.concept import Concept, fill
from bench.grid import NOVELTY, Cell, Prompt, PromptGrid, surrogates
from bench.memory import named_shortage
from bench.sides import Probe, Side, applied, shoot
from bench.workbench import Workbench

if TYPE_CHECKING:
    from bench.backbone.base import Backbone
    from bench.plan import Plan
    from bench.store import Store


class Attacks:
    """Makes the attacks a plan asks for; each is the same whatever the seed of the training it attacks.

    Args:
        plan: of the run.
        store: where all they leave is kept.
        backbone: makes the model when it is first needed.
        erased: what the erasing method left.
    """

    def __init__(self, plan: Plan, store: Store, backbone: Callable[[], Backbone], erased: Adapter) -> None:
        self.plan, self.store, self.backbone, self.erased = plan, store, backbone, erased
        self.concept, self.budgets = plan.concept, plan.config["protocol"]["attacks"] or {}

    def probes(self) -> Iterator[Probe]:
        """Yields each attack's pictures, made where they are missing."""
        kinds = {"words": self._words, "prefix": self._prefix, "inversion": self._inversion, NOVELTY: self._novelty}
        for name, make in kinds.items():
            if name in self.plan.keys:
                yield from make(budget_of(name, self.budgets))

    # --- the three attacks, and the control of the last --------------------------------------------

    def _words(self, budget: dict[str, Any]) -> Iterator[Probe]:
        """Ordinary words in place of the name, found on the untouched text towers; by chance: as many at random."""
        asked, blanks = self._asked(self.concept.class_phrase), self._asked("{words}")

        def search(folder: Path) -> None:
            pairs = list(zip(blanks, asked, strict=True))
            found, random = find(self.backbone(), pairs, self._names(), budget["length"], _generator("words"))
            (folder / "words.json").write_text(json.dumps({"found": found, "random": random}))

        kept = json.loads((self._kept("words-base", "words", search) / "words.json").read_text())
        made, chance = (
            [b.replace("{words}", w) for b, w in zip(blanks, kept[k], strict=True)] for k in ("found", "random")
        )
        grid = _grid("words", budget["seeds"], made, asked, chance)
        sides = [self._side("model", "words", grid, [self.erased]), self._side("none", "words-base", grid)]
        yield self._shot(grid, self.concept, [*sides, self._chance("words-base", grid)])

    def _prefix(self, budget: dict[str, Any]) -> Iterator[Probe]:
        """Free vectors before the name; `control`: the best of as many random words before it."""
        length = named(budget["length"])
        words = " ".join(length)

        def search(folder: Path) -> None:
            said = [f"{words} {r.base}" for r in self.concept.references]
            with self._attacker(folder, self.concept, said, length, [self.erased], budget) as attacker:
                tries = self._guesses(budget)
                attacker.best_of(tries).save(folder / "control")
                attacker.learn(tries[0], budget["steps"], budget["lr"]).save(folder / "found")

        kept = self._kept("prefix", "prefix", search)
        found, control = (Adapter.load(kept / n) for n in ("found", "control"))
        asked = self._asked(self.concept.class_phrase)
        grid = _grid(
            "prefix", budget["seeds"], [f"{words} {a}" for a in asked], asked, self._asked(self.concept.surrogate)
        )
        sides = [self._side("model", "prefix", grid, [self.erased, found]),
                 self._side("control", "prefix", grid, [self.erased, control]),
                 self._side("none", "prefix-base", grid, complete=False)]  # fmt: skip
        yield self._shot(grid, self.concept, [*sides, self._chance("prefix-base", grid)])

    def _inversion(self, budget: dict[str, Any]) -> Iterator[Probe]:
        """One free vector in the name's place."""
        grid = self._worded("inversion", [self.concept], budget)
        yield self._inverted("inversion", self.concept, budget, grid, grid)

    def _novelty(self, budget: dict[str, Any]) -> Iterator[Probe]:
        """The same for things that no model knows; what their detectors are calibrated on are all scenes."""
        if (novel := self.plan.novel) is None:
            return
        things = novel.apart or [novel]
        plain, asked = self._worded(NOVELTY, things, budget), asked_of(len(things), len(self.plan.attacked))
        grid = PromptGrid(cells=[c for c in plain.cells if c.prompt.index in asked])
        yield self._inverted(NOVELTY, novel, budget, grid, plain)

    def _inverted(
        self, channel: str, concept: Concept, budget: dict[str, Any], grid: PromptGrid, plain: PromptGrid
    ) -> Probe:
        """Returns a word a thing, found on the model and on the untouched one, in pictures."""
        things, base = concept.apart or [concept], f"{channel}-base"
        ours, theirs = (
            [self._word(name, of, w, thing, on, budget)
             for of, w, thing in zip(searched(channel, things), named(len(things)), things, strict=True)]
            for name, on in ((channel, [self.erased]), (base, []))
        )  # fmt: skip
        sides = [self._side("model", channel, grid, [self.erased, *ours]),
                 self._side("none", base, grid, theirs),
                 self._side("plain", base, plain, complete=False)]  # fmt: skip
        return replace(self._shot(grid, concept, sides), plain=plain)

    def _word(
        self, name: str, of: str, word: str, concept: Concept, on: Sequence[Adapter], budget: dict[str, Any]
    ) -> Adapter:
        """Returns the word that stands for a concept's references on a model; it starts from what is left beside it."""
        noun = re.compile(rf"\b{re.escape(concept.class_phrase)}\b")

        def search(folder: Path) -> None:
            said = [noun.sub(word, r.base, count=1) for r in concept.references]
            with self._attacker(folder, concept, said, [word], on, budget) as attacker:
                start = concept.surrogate or concept.class_phrase
                attacker.learn([start], budget["steps"], budget["lr"]).save(folder)

        return Adapter.load(self._kept(name, of, search))

    def _worded(self, channel: str, things: Sequence[Concept], budget: dict[str, Any]) -> PromptGrid:
        """Returns things asked for in every scene, each by a word of its own."""
        words = zip(named(len(things)), things, strict=True)
        made = [asked for word, thing in words for asked in self._asked(word, thing)]
        plain = [asked for thing in things for asked in self._asked(thing.class_phrase, thing)]
        part = [k if len(things) > 1 else None for k in range(len(things)) for _ in self.plan.attacked]
        return _grid(channel, budget["seeds"], made, plain, [""] * len(plain), part)

    # --- what they share -------------------------------------------------------------------------

    def _asked(self, noun: str, concept: Concept | None = None) -> list[str]:
        return [fill(t, noun, (concept or self.concept).medium) for t in self.plan.attacked]

    def _names(self) -> list[str]:
        return [self.concept.class_phrase, *self.concept.aliases]

    def _guesses(self, budget: dict[str, Any]) -> list[list[str]]:
        """Returns lists of random words, one for every step of the attack."""
        generator = _generator("control")
        known = plain_words(self.backbone(), self._names(), generator)
        drawn = torch.randint(len(known), (budget["steps"], budget["length"]), generator=generator).tolist()
        return [[known[i] for i in some] for some in drawn]

    @contextmanager
    def _attacker(
        self, folder: Path, concept: Concept, said: Sequence[str], words: Sequence[str], on: Sequence[Adapter],
        budget: dict[str, Any],
    ) -> Iterator[Attacker]:  # fmt: skip
        checkpoint = Checkpoint(folder.with_name(f"{folder.name}.checkpoints"))
        with applied(self.backbone(), on) as names:
            bench = Workbench(self.backbone(), concept, 0, self.plan.config["model"], checkpoint)
            with named_shortage("attack", "protocol.attacks.NAME.batch_size"):
                yield Attacker(bench, said, words, names, self.plan.config["gate"], budget["batch_size"])
        checkpoint.discard()

    def _kept(self, name: str, of: str, search: Callable[[Path], None]) -> Path:
        """Returns the folder of what an attack finds, searched for if it is not there."""
        key = self._key(name, of)
        self.store.once("attack", key, {"attack": of}, search)
        return self.store.path("attack", key)

    def _key(self, name: str, of: str) -> str:
        return part_key(self.plan.keys[name], of)

    def _side(
        self, source: str, name: str, grid: PromptGrid, adapters: Sequence[Adapter] = (), *, complete: bool = True
    ) -> Side:
        """Returns a side of an attack; gates and guidance are the erasing method's."""
        channel, ours = grid.cells[0].prompt.channel, not name.endswith("-base")
        rules = {"gate": self.plan.config["gate"], "consistency_scale": self.erased.consistency_scale} if ours else {}
        return Side(
            source, "generate" if ours else "base", self._key(name, f"{channel} {source}"), grid, complete,
            f"attack by {channel}, {source}", adapters, rules,
        )  # fmt: skip

    def _chance(self, name: str, grid: PromptGrid) -> Side:
        return self._side("surrogate", name, surrogates(grid))

    def _shot(self, grid: PromptGrid, concept: Concept, sides: Sequence[Side]) -> Probe:
        return Probe(grid, {s.source: shoot(s, self.plan, self.store, self.backbone) for s in sides}, concept)


def _grid(
    channel: str, seeds: int, made: Sequence[str], asked: Sequence[str], chance: Sequence[str],
    parts: Sequence[int | None] = (),
) -> PromptGrid:  # fmt: skip
    """Returns the cells of an attack: what it asks, what its pictures are judged against, what chance asks, and which
    of several things it asks for.
    """
    lines = zip(made, asked, chance, parts or [None] * len(made), strict=True)
    prompts = [
        Prompt(channel=channel, index=i, complete=m, base=a, part=p, surrogate=c)
        for i, (m, a, c, p) in enumerate(lines)
    ]
    return PromptGrid(cells=[Cell(prompt=p, seed=s) for p in prompts for s in range(seeds)])


def _generator(name: str) -> torch.Generator:
    return torch.Generator().manual_seed(sum(map(ord, name)))
