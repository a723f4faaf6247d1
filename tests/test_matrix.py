"""The matrix is whole: every pipeline class has a network, and every network meets every task and every method."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.pipelines import CLASSES, class_of
from tests import test_matrix_bf16, test_matrix_klein, test_matrix_large, test_matrix_sd, test_matrix_sd3
from tests.matrix import CONCEPTS, NETWORKS, Case, cases, folder_of, served

WHOLE = [
    param
    for file in (test_matrix_sd, test_matrix_sd3, test_matrix_large, test_matrix_klein)
    for mark in file.test_a_row_comes_out.pytestmark  # type: ignore[attr-defined]
    for param in mark.args[1]
]
RUN = [param.values[0] for param in WHOLE if not param.marks]


def test_all_of_it_can_be_run_once() -> None:
    assert sorted(param.values[0] for param in WHOLE) == sorted(cases(*NETWORKS))


@pytest.mark.parametrize("some", [RUN, test_matrix_bf16.CASES], ids=["float32", "bfloat16"])
def test_every_network_meets_every_task_and_every_method(some: list[Case]) -> None:
    for key in NETWORKS:
        classes = served(key)
        assert {classes[n] for n, k, _ in some if k == key} == set(classes.values())
        assert {t for _, k, t in some if k == key} == set(CONCEPTS)


def test_every_network_meets_every_variant_of_a_method() -> None:
    for key in NETWORKS:
        assert {n for n, k, _ in RUN if k == key} == set(served(key))


def test_every_method_meets_every_task_it_claims() -> None:
    assert {(n, t) for n, _, t in RUN} == {(n, t) for n, _, t in cases(*NETWORKS)}


def test_every_pipeline_class_has_a_network(tmp_path: Path) -> None:
    assert {class_of(folder_of(k, tmp_path)) for k in NETWORKS} == set(CLASSES)
