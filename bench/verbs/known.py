"""The verbs of the command line by name."""

from __future__ import annotations

from collections.abc import Callable

from bench.verbs import authors, builders, reviewers, teams

VERBS: dict[str, Callable[[list[str]], int]] = {
    "pretrain": builders.pretrain,
    "oracle": builders.oracle,
    "judges": builders.judges,
    "validate-metrics": builders.validate_metrics,
    "tune": teams.tune,
    "score": teams.score,
    "rerun": teams.rerun,
    "leaderboard": teams.leaderboard,
    "validate": teams.validate,
    "power": teams.power,
    "track": teams.track,
    "data": teams.data,
    "report": reviewers.report,
    "compare": reviewers.compare,
    "plan": reviewers.plan,
    "reproduce": reviewers.reproduce,
    "new-method": authors.new_method,
    "check": authors.check,
    "submit": authors.submit,
}
