"""Differences to a baseline: resampling, the test's size and power, Holm's correction, ranks, and what power needs."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import permutation_test

from bench.boards.cells import entrants, shared
from bench.boards.paired import against, holm, sign_flip
from bench.boards.power import Components, components, needed, power
from bench.boards.ranks import rank, ranks
from bench.boards.resample import drawn, intervals, resampled
from bench.errors import BenchError
from bench.stats import widening


def _rows(rng: np.random.Generator, n: int, concepts: int, seeds: int, between: float, within: float) -> np.ndarray:
    a = rng.normal(0, between, (n, concepts, 1))
    return a + rng.normal(0, within, (n, concepts, seeds))


def _by_hand(values: np.ndarray, draws: int) -> np.ndarray:
    """Draws of (concepts, seeds), NaN where not measured, each pick looked up on its own."""
    there = [row[np.isfinite(row)] for row in values if np.isfinite(row).any()]
    rng = np.random.default_rng(0)
    at = rng.random((draws, len(there)))
    which = rng.random((values.shape[1], draws, len(there)))
    out = []
    for draw in range(draws):
        picked = [there[int(u * len(there))] for u in at[draw]]
        means = [np.mean([own[int(u * len(own))] for u in which[: len(own), draw, i]]) for i, own in enumerate(picked)]
        out.append(np.mean(means))
    return np.array(out)


def test_products_of_matrices_are_picks_looked_up_one_by_one() -> None:
    rng = np.random.default_rng(0)
    values = np.where(rng.random((12, 5, 3)) > 0.4, rng.normal(size=(12, 5, 3)), np.nan)
    values[3] = np.nan
    values[4, 1:] = np.nan
    values[5, :, 2] = np.nan
    found = resampled(values, 50)
    assert np.isnan(found[:, 3]).all()
    for index in set(range(12)) - {3}:
        np.testing.assert_allclose(found[:, index], _by_hand(values[index], 50), atol=1e-12)
    ones = np.where(np.isfinite(values[:3]), 1.0, np.nan)
    np.testing.assert_allclose(resampled(ones), 1.0)  # the weights of a draw sum to 1


def test_draws_have_the_variance_of_two_stages() -> None:
    """Concepts, then seeds: the exact variance of a draw's mean, and its widening for few concepts."""
    rng = np.random.default_rng(1)
    values = _rows(rng, 1, 5, 3, 1.0, 0.7)
    means = values[0].mean(1)
    exact = means.var() / 5 + values[0].var(1).mean() / 3 / 5
    assert resampled(values, 40_000).var() == pytest.approx(exact, rel=0.03)
    assert drawn(values, draws=40_000).var() == pytest.approx(exact * widening(5) ** 2, rel=0.03)


def test_intervals_of_what_is_missing() -> None:
    values = np.full((3, 4, 2), np.nan)
    values[0] = 0.5
    values[1, :, 0] = [0.1, 0.2, 0.3, 0.4]
    mean, low, high = intervals(values, bounds=(0, None))
    assert [mean[0], low[0], high[0]] == [0.5, 0.5, 0.5]
    assert mean[1] == pytest.approx(0.25)
    assert 0 <= low[1] < 0.25 < high[1]  # beyond the values: four concepts do not say how far others lie
    assert np.isnan([mean[2], low[2], high[2]]).all()


@pytest.mark.parametrize("concepts", [3, 4, 7, 12])
def test_sign_flip_is_scipys_paired_permutation_test(concepts: int) -> None:
    values = np.random.default_rng(concepts).normal(0.3, 1, (3, concepts))
    expected = [permutation_test((v,), np.mean, permutation_type="samples", n_resamples=2**concepts).pvalue
                for v in values]  # fmt: skip
    np.testing.assert_allclose(sign_flip(values), expected, atol=1e-12)


def test_many_concepts_are_flipped_by_draws() -> None:
    values = np.random.default_rng(0).normal(0.35, 1, (4, 13))
    longer = np.concatenate([values, values[:, :1]], axis=1)  # one concept past the exact test
    exact = [permutation_test((v,), np.mean, permutation_type="samples", n_resamples=2**14).pvalue for v in longer]
    np.testing.assert_allclose(sign_flip(longer), exact, atol=0.02)
    assert (sign_flip(np.full((1, 40), 5.0)) == 1 / 10_000).all()


def test_unmeasured_concepts_do_not_count() -> None:
    alone = [5.0, np.nan, np.nan, np.nan]
    values = np.array([[1.0, 2.0, 3.0, np.nan], [np.nan] * 4, [0.0, 0.0, 0.0, 0.0], alone])
    p = sign_flip(values)
    assert p[0] == 0.25
    assert np.isnan(p[1])
    assert p[2] == 1.0
    assert np.isnan(p[3])  # one concept alone could say nothing but 1


@pytest.mark.parametrize("concepts", [4, 6, 8, 11, 16])
@pytest.mark.parametrize("spread", ["normal", "heavy"])
def test_size_is_at_most_alpha(concepts: int, spread: str) -> None:
    """Where there is no difference, at most alpha of the tests find one, and after Holm of the tables."""
    rng, tables_, methods = np.random.default_rng(concepts), 400, 5
    found, any_found = 0, 0
    for _ in range(tables_):
        values = _rows(rng, methods, concepts, 2, 0.1, 0.05)
        if spread == "heavy":
            values += 0.1 * rng.standard_t(2, (methods, concepts, 1))
        differences = against(values, 0)
        found += int((differences.p[1:] <= 0.05).sum())
        any_found += bool((differences.adjusted[1:] <= 0.05).any())
    tests = tables_ * (methods - 1)
    assert found / tests <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / tables_)  # a table's tests share their baseline
    assert any_found / tables_ <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / tables_)
    assert found > 0 or concepts < 6  # with fewer than six concepts no p is below 0.05


def test_a_clear_difference_is_found() -> None:
    values = _rows(np.random.default_rng(0), 3, 10, 2, 0.1, 0.01)
    values[1] = values[0] + 0.2 + np.random.default_rng(1).normal(0, 0.01, (10, 2))
    differences = against(values, 0)
    assert differences.adjusted[1] == pytest.approx(2 * 2 / 2**10)
    assert differences.low[1] < 0.2 < differences.high[1]
    assert np.isnan(differences.value[0])
    assert np.isnan(differences.adjusted[0])


def test_one_concept_has_no_interval_whatever_its_seeds() -> None:
    values = np.full((2, 3, 4), np.nan)
    values[0, 1] = [0.1, 0.2, 0.3, 0.4]
    values[1, :, 0] = [0.1, 0.2, 0.3]
    mean, low, high = intervals(values)
    assert mean[0] == pytest.approx(0.25) and np.isnan([low[0], high[0]]).all()
    assert low[1] < mean[1] < high[1]
    values[1, 1] = 0.2
    found, *bounds = ranks(values[:, 1:2], "higher")
    assert found.tolist() == [1, 2] and np.isnan(bounds).all()


def test_differences_are_of_common_concepts_and_seeds() -> None:
    values = np.full((2, 3, 2), np.nan)
    values[0] = [[0.1, 0.2], [0.5, 0.6], [0.9, 0.9]]
    values[1, :2, 0] = [0.3, 0.7]  # one seed, two concepts
    differences = against(values, 0)
    assert differences.value[1] == pytest.approx(0.2)
    assert (differences.low[1], differences.high[1]) == (pytest.approx(0.2), pytest.approx(0.2))


def test_holm() -> None:
    adjusted = holm(np.array([0.01, 0.04, 0.03, np.nan, 0.005]))
    np.testing.assert_allclose(adjusted[[0, 1, 2, 4]], [0.03, 0.06, 0.06, 0.02])
    assert np.isnan(adjusted[3])
    assert holm(np.array([0.9, 0.8])).tolist() == [1.0, 1.0]


def test_ranks_share_and_have_intervals() -> None:
    assert rank(np.array([0.3, 0.9, 0.9, -np.inf])).tolist() == [3, 1, 1, 4]
    values = np.stack([np.full((6, 2), v) + np.linspace(0, 0.5, 6)[:, None] for v in (0.2, 0.9, 0.5)])
    found, low, high = ranks(values, "higher")
    assert found.tolist() == low.tolist() == high.tolist() == [3, 1, 2]  # paired: concepts differ more than methods
    assert ranks(values, "lower")[0].tolist() == [1, 3, 2]
    assert ranks(values - 0.75, "zero")[0].tolist() == [2, 3, 1]
    noisy = np.random.default_rng(0).normal(size=(2, 6, 2))
    _, low, high = ranks(noisy, "higher")
    assert (low.tolist(), high.tolist()) == ([1, 1], [2, 2])


def test_who_lacks_a_concept_is_not_ranked_and_one_concept_more_stops_nobody() -> None:
    values = np.full((4, 3, 1), 0.5)
    values[:3, 2] = np.nan  # only the last has the third concept
    values[1, 1] = np.nan
    entered, runs = entrants(np.isfinite(values))
    assert entered.tolist() == [True, False, True, True]
    assert runs.any(1).tolist() == [True, True, False]
    assert np.isnan(ranks(values, "higher")[0][1])


def test_who_lacks_seeds_is_not_ranked_and_one_run_of_ten_may_be_missing() -> None:
    """A method whose unlucky seeds diverged, or were never run, is held against nobody's unlucky ones."""
    values = np.tile(np.linspace(0.4, 0.6, 3), (4, 5, 1))
    values[0, :, 0] = np.nan
    values[1, 0, 0] = np.nan
    entered, runs = entrants(np.isfinite(values))
    assert entered.tolist() == [False, True, True, True] and runs.all()
    assert np.isnan(ranks(values, "higher")[0][0])
    more = np.concatenate([values[1:], np.full((3, 5, 1), 0.9)], axis=2)  # a seed that all but one have
    more[0, :, 3] = np.nan
    assert entrants(np.isfinite(more))[0].tolist() == [False, True, True]
    more[1, :, 3] = np.nan  # a seed that one has is nobody's business
    assert entrants(np.isfinite(more))[0].all() and ranks(more, "higher")[0].tolist() == [1, 2, 2]


@pytest.mark.parametrize(
    ("had", "kept"), [([15, 15, 15, 8, 8, 8, 8], 15), ([15, 1], 15), ([15, 8], 8), ([15, 14, 15], 14)]
)
def test_few_concepts_of_many_methods_take_none_from_the_others(had: list[int], kept: int) -> None:
    measured = np.arange(15) < np.array(had)[:, None]
    assert shared(measured).sum() >= kept and entrants(measured[:, :, None])[0][0]


def test_variance_components() -> None:
    values = _rows(np.random.default_rng(0), 1, 4000, 3, 0.3, 0.2)
    values[0, ::7, 2] = np.nan
    found = components(values)
    assert found.concepts == pytest.approx(0.09, rel=0.06)
    assert found.seeds == pytest.approx(0.04, rel=0.06)
    with pytest.raises(BenchError, match="two concepts"):
        components(values[:, :, :1])


@pytest.mark.parametrize(("concepts", "seeds", "difference"), [(8, 2, 0.15), (14, 1, 0.1)])
def test_power_is_what_the_test_finds(concepts: int, seeds: int, difference: float) -> None:
    spread = Components(0.1**2, 0.05**2)
    rng = np.random.default_rng(0)
    found = sign_flip(difference + _rows(rng, 3000, concepts, seeds, 0.1, 0.05).mean(-1)) <= 0.05
    assert found.mean() == pytest.approx(power(difference, concepts, seeds, spread, 0.05), abs=0.04)


@pytest.mark.parametrize(
    ("concepts", "difference", "alpha"), [(6, 0.17, 0.05), (9, 0.17, 0.05 / 8), (10, 0.2, 0.05 / 16)]
)
def test_power_at_the_fewest_concepts_is_what_the_test_finds(concepts: int, difference: float, alpha: float) -> None:
    """There all must lie on one side: a t test would promise 0.15 to 0.25 more."""
    spread = Components(0.1**2, 0.05**2)
    rng = np.random.default_rng(1)
    found = sign_flip(difference + _rows(rng, 3000, concepts, 2, 0.1, 0.05).mean(-1)) <= alpha
    assert found.mean() == pytest.approx(power(difference, concepts, 2, spread, alpha), abs=0.04)


def test_what_was_tried_on_few_concepts_makes_no_others_p_larger() -> None:
    values = np.random.default_rng(0).normal(size=(5, 8, 2)) + np.array([0, 2, 2, 0, 0])[:, None, None]
    values[3:, 4:] = np.nan
    whole = np.isfinite(values).all((1, 2))
    alone, beside = against(values[:3], 0), against(values, 0, whole)
    assert beside.adjusted[:3].tolist()[1:] == alone.adjusted.tolist()[1:]
    assert against(values, 0).adjusted[1] > beside.adjusted[1]
    assert beside.adjusted[3] == pytest.approx(min(1, 2 * beside.p[3])) or beside.p[3] > beside.p[4]


def test_concepts_needed() -> None:
    spread = Components(0.1**2, 0.05**2)
    few = needed(0.1, 3, spread, 0.05)
    assert few is not None
    assert power(0.1, few, 3, spread, 0.05) >= 0.8 > power(0.1, few - 1, 3, spread, 0.05)
    assert needed(10.0, 1, spread, 0.05) == 6  # the sign-flip test finds nothing with fewer
    assert needed(1e-4, 1, spread, 0.05) is None
    assert needed(0.1, 1, spread, 0.05) > few > 0


def test_no_draw_beats_the_best_there_can_be() -> None:
    """A rate of 1 on every concept is first in every draw; widened draws of another, above 1, would push it down."""
    values = np.stack([np.ones((4, 2)), np.array([[1, 1], [1, 1], [1, 1], [0.8, 0.99]])])
    assert ranks(values, "higher")[2][0] == 2  # draws of the second above 1
    rank, low, high = ranks(values, "higher", (0, 1))
    assert (rank[0], low[0], high[0]) == (1, 1, 1)
    assert (low[1], high[1]) == (1, 2)


def test_a_tie_in_a_draw_is_one_however_wide_the_draws_are_made() -> None:
    """The first is as good or better on every concept: no draw can put it behind, and widening must not."""
    values = np.array([[0, 0, 0.175, 0.0135, 0], [0, 0, 0.175, 0.027, 0], [0.4, 0.1, 0.9, 0.3, 0.2]])[..., None]
    widened = drawn(values)
    assert (widened[:, 1] < widened[:, 0]).mean() > 0.1  # so they would
    rank, low, high = ranks(values, "lower")
    assert (rank[0], low[0], high[0]) == (1, 1, 1)
    assert (rank[1], low[1], high[1]) == (2, 1, 2)
