"""Intervals: against known answers, and what they do not depend on."""

from __future__ import annotations

import numpy as np
import pytest

from bench.stats import interval


def _coverage(clusters: int, each: int, between: float, draws: int = 300, repeats: int = 300) -> float:
    """How often the interval of normal data with mean 0 holds 0; nothing bounds what a mean may be."""
    prompts = np.repeat(np.arange(clusters), each)
    hits = 0
    for seed in range(repeats):
        rng = np.random.default_rng(seed)
        values = rng.normal(size=(clusters, each)) + between * rng.normal(size=(clusters, 1))
        _, low, high = interval(values.ravel(), prompts, draws=draws)
        hits += low <= 0 <= high
    return hits / repeats


def test_coverage_of_independent_values() -> None:
    assert 0.88 < _coverage(40, 1, 0.0) < 0.98


def test_coverage_of_clustered_values() -> None:
    assert 0.90 < _coverage(40, 5, 1.0) < 0.99


@pytest.mark.parametrize(
    ("clusters", "each", "between"),
    [(3, 1, 1.0), (3, 3, 2.0), (4, 1, 1.0), (4, 2, 3.0), (8, 2, 1.0), (8, 5, 1.0), (16, 1, 1.0)],
)
def test_few_clusters_cover_too(clusters: int, each: int, between: float) -> None:
    """95 ± 2 of 100, give or take the simulation's own error; where seeds are most of the spread it is more."""
    assert 0.92 <= _coverage(clusters, each, between, repeats=800) <= 0.985


def test_students_t_is_that_of_the_tables() -> None:
    from scipy.stats import t

    from bench.stats import NORMAL, widening

    for k in (2, 3, 5, 11, 12, 20, 60):
        expected = np.sqrt(k / (k - 1)) * t.ppf(0.975, k - 1) / NORMAL
        assert widening(k) == pytest.approx(expected, rel=2e-3), k
    assert widening(1) == 1


def test_ignoring_the_clusters_would_not_cover() -> None:
    """The reason for resampling prompts: taken one by one, the same values give far too narrow intervals."""
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(200):
        values = (rng.normal(size=(40, 5)) + 2 * rng.normal(size=(40, 1))).ravel()
        _, low, high = interval(values, np.zeros(200, int), draws=300)
        hits += low <= 0 <= high
    assert hits / 200 < 0.8


def test_width_is_that_of_the_normal_interval() -> None:
    values = np.random.default_rng(0).normal(size=400)
    mean, low, high = interval(values, np.arange(400), draws=4000)
    assert mean == values.mean()
    assert high - low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.06)
    assert (low + high) / 2 == pytest.approx(mean, abs=0.01)


def test_constant_values_have_no_width() -> None:
    assert interval(np.full(12, 0.25), np.repeat(np.arange(4), 3)) == (0.25, 0.25, 0.25)


def test_a_single_value() -> None:
    assert interval(np.array([0.5]), np.array([3])) == (0.5, 0.5, 0.5)


def test_what_prompts_have_in_common_widens() -> None:
    rng = np.random.default_rng(0)
    values = (rng.normal(size=(10, 8)) + 2 * rng.normal(size=(10, 1))).ravel()
    prompts = np.repeat(np.arange(10), 8)
    _, low, high = interval(values, prompts)
    _, low_alone, high_alone = interval(values, np.zeros(80, int))
    assert high - low > 1.5 * (high_alone - low_alone)


def test_a_higher_level_is_wider() -> None:
    values, prompts = np.random.default_rng(0).normal(size=60), np.repeat(np.arange(12), 5)
    _, low, high = interval(values, prompts, level=0.8)
    _, low_wide, high_wide = interval(values, prompts, level=0.99)
    assert low_wide < low < high < high_wide


def test_unequal_clusters_weigh_by_their_size() -> None:
    values, prompts = np.array([0.0] * 90 + [1.0] * 10), np.array([0] * 90 + [1] * 10)
    mean, low, high = interval(values, prompts)
    assert mean == pytest.approx(0.1)
    assert low < 0.0 < 1.0 < high  # two prompts: either may be drawn twice, and two are few
    assert interval(values, prompts, bounds=(0, 1)) == (mean, 0.0, 1.0)
    assert interval(values, prompts, bounds=(None, 1))[1:] == (low, 1.0)
    values, prompts = np.array([0.0] * 90 + [1.0] * 10), np.array([0] * 90 + [1] * 5 + [2] * 5)
    _, low, high = interval(values, prompts, level=0.02)  # around the median: the large prompt is drawn once of three
    assert (low, high) == pytest.approx((0.1, 0.1))


def test_the_order_of_the_rows_changes_nothing() -> None:
    rng = np.random.default_rng(0)
    values, prompts = rng.normal(size=60), np.repeat(np.arange(12), 5)
    for _ in range(5):
        shuffle = rng.permutation(60)
        assert interval(values[shuffle], prompts[shuffle]) == interval(values, prompts)


def test_the_same_call_gives_the_same_interval() -> None:
    np.random.seed(1)  # the interval must not listen to it
    values, prompts = np.random.default_rng(5).normal(size=30), np.repeat(np.arange(6), 5)
    first = interval(values, prompts)
    np.random.seed(2)
    assert interval(values, prompts) == first
