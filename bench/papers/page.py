"""The pages of papers and claims, rendered from their data files and the rows. No torch."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from bench.boards.leaderboard import read
from bench.boards.tables import span
from bench.papers import files as papers
from bench.papers.claims import Claims, load
from bench.papers.verdicts import FEWEST, Board, Verdict, Word, boards, judge
from bench.row import Row
from bench.rows.place import board_name
from bench.store import write_text
from bench.words import counted

WORDS: tuple[Word, ...] = ("reproduced", "not reproduced", "undecided", "not measured")
HEAD = """# Claims

Written by `python -m bench leaderboard` from `claims/*.yaml` and the boards' rows. **A verdict is about this track.**
The embedded world's small models and pictures are not the papers' models and data, values were found by a small search,
and no metric here is a paper's own: *not reproduced* says that a claim does not hold here, not that a paper is wrong.
What the papers report stands apart, in [papers](papers/README.md); what else the runs taught, in
[FINDINGS.md](FINDINGS.md).

Each claim is one method against another in one value. The two are paired by concept and training seed; their
difference (first minus second) has a 95 % interval by bootstrap, concepts resampled, then seeds, and the p of an exact
sign-flip test on the concepts' means. **Reproduced**: the interval lies wholly on the claimed side, and p is at most
0.05, or, of fewer than six concepts, the smallest there can be: all of them on one side, which happens by chance in
one case of sixteen with five, of eight with four. **Not reproduced**: the same on the other side. **Undecided**:
neither, fewer than {fewest} concepts, or a concept on which no run of one of the two went well. Intervals are widened
for few concepts, as everywhere here. Each claim is looked at by itself: p is not adjusted for their number (on the
boards it is, for the methods of a column), so some of so many come out by chance, those of four and five concepts
first.

Pairs are *left out* where one of the two diverged or has no such value (where a concept was not learned, its leakage
into the class word is not measured), so that means of one method may differ between two lines.

Bases: *reported*, a table's figures; *said*, words, the paper's or of whoever ran it; *expected*, **claimed by
nobody**: what a reader may hope of a method by what it is for, or what follows from how it works. How sure a source is
follows it ([the marks](papers/README.md)).

{counts}
"""
BASES = ("reported", "said", "expected")
COLUMNS = ["claim", "verdict", "difference", "means", "on its side", "looked at", "source"]


def write(out: Path, rows: Iterable[Row] | None = None) -> list[Path]:
    """Renders `papers/README.md` and `CLAIMS.md` under `out`, where there is data for them. Returns what it wrote.

    Args:
        out: the folder of the boards.
        rows: the rows of all boards, where they are read already.

    Raises:
        BenchError: a field of a data file is wrong; nothing is written.
    """
    pages = {}
    if (out / "papers").is_dir():
        pages[out / "papers" / "README.md"] = papers.render(papers.load(out / "papers"))
    if (out / "claims").is_dir():
        pages[out / "CLAIMS.md"] = render(load(out / "claims"), boards(stored(out) if rows is None else rows))
    for path, text in pages.items():
        write_text(path, text)
    return list(pages)


def stored(out: Path) -> Iterator[Row]:
    """Yields the rows of every board under `out`, in order."""
    for folder in sorted(p.parent for p in out.glob("*/rows")):
        yield from read(folder)


def render(files: Sequence[Claims], rows: Mapping[Board, Sequence[Row]]) -> str:
    """Returns the page: by paper a table of what was looked at, then what was not."""
    judged = [(f, [v for c in f.claims for m in c.models or f.models for v in judge(c, m, rows)]) for f in files]
    every = [v for _, verdicts in judged for v in verdicts]
    parts = [HEAD.format(fewest=FEWEST, counts=_counts(every))]
    parts += [_section(f, verdicts) for f, verdicts in judged]
    return "".join(parts) + _not_measured(every)


def _counts(verdicts: Sequence[Verdict]) -> str:
    """Returns how many verdicts a model has of each word, those of what somebody claims apart from what none does."""
    lines = [["model", "basis", *WORDS], ["---"] * (len(WORDS) + 2)]
    for model in dict.fromkeys(v.model for v in verdicts):
        for basis in BASES:
            count = Counter(v.word for v in verdicts if (v.model, v.claim.basis) == (model, basis))
            lines += [[model, basis, *(str(count[w]) for w in WORDS)]] if count else []
    return _table(lines)


def _table(lines: Sequence[Sequence[str]]) -> str:
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _section(file: Claims, verdicts: Sequence[Verdict]) -> str:
    looked_at = [v for v in verdicts if v.word != "not measured"]
    if not looked_at:
        return ""
    by_board: dict[Board, list[Verdict]] = defaultdict(list)
    for v in looked_at:
        if v.board:
            by_board[v.board].append(v)
    parts = [f"\n## {file.about}\n\nSource: {file.source}.\n"]
    for board, found in sorted(by_board.items()):
        where = board_name(*board)
        parts.append(f"\nOn [{where}]({where}/README.md), protocol {board[-1]}:\n\n")
        parts.append(_table([COLUMNS, ["---"] * len(COLUMNS), *map(_line, found)]) + "\n")
    own = [f"- `{c.id}`: {c.note}." for c in file.claims if c.note and c.id in {v.claim.id for v in looked_at}]
    notes = [*(f"- {said}." for said in file.notes), *own]
    return "".join(parts) + ("\n" + "\n".join(notes) + "\n" if notes else "")


def _line(v: Verdict) -> list[str]:
    c, (mean, low, high) = v.claim, v.difference
    seeds = f"{counted(v.seeds, 'seed')}, {counted(v.pairs, 'pair')}"
    seeds += f"; {counted(v.left_out, 'pair')} left out" if v.left_out else ""
    digits = next((n for n in (3, 4, 5) if all(round(x, n) or not x for x in (low, high))), 6)  # which side of 0
    return [
        f"{_sentence(c.says)} (`{c.id}`)",
        f"**{v.word}**" + (f": {v.why}" if v.why else ""),
        f"{mean:+z.{digits}f}{span(low, high, digits)}" + (f", p {v.p:.3f}" if math.isfinite(v.p) else ""),
        f"{v.means[0]:z.3f}, {v.means[1]:z.3f}",
        f"{v.side} of {counted(len(v.concepts), 'concept')}; {seeds}",
        f"`{c.metric}`: `{c.method}` {'>' if c.direction == 'greater' else '<'} `{c.against}`",
        f"{c.where} (*{c.basis}*{f', {c.sure}' if c.sure else ''})",
    ]


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _not_measured(verdicts: Sequence[Verdict]) -> str:
    """Returns what no row speaks to: claims looked at nowhere with the reasons, then how many more a model lacks."""
    looked_at = {v.claim.id for v in verdicts if v.word != "not measured"}
    nowhere: dict[str, list[Verdict]] = defaultdict(list)
    lacking: dict[tuple[str, str], int] = Counter()
    for v in verdicts:
        if v.claim.id not in looked_at:
            nowhere[v.claim.id].append(v)
        elif v.word == "not measured":
            lacking[v.model, v.why] += 1
    lines = [f"- {_sentence(f[0].claim.says)} (`{i}`): {_reasons(f)}" for i, f in nowhere.items()]
    lines += [f"- On {model}, {n} of the claims above: {why}" for (model, why), n in lacking.items()]
    return "\n## Not measured\n\n" + "\n".join(lines) + "\n" if lines else ""


def _reasons(verdicts: Sequence[Verdict]) -> str:
    by: dict[str, list[str]] = defaultdict(list)
    for v in verdicts:
        by[v.why].append(v.model)
    return "; ".join(f"{why} on {' and '.join(models)}" for why, models in by.items())
