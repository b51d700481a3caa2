"""docs/faults.md and the tests tell of the same faults."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).parent


def test_every_row_has_its_test_and_every_test_a_row() -> None:
    page = (TESTS.parent / "docs" / "faults.md").read_text()
    named = set(re.findall(r"\b(test_(?!faults)\w+)", page))
    sources = [path.read_text() for path in TESTS.glob("test_faults_*.py")]
    written = set(re.findall(r"^def (test_\w+)", "\n".join(sources), re.MULTILINE))
    assert named <= written
    parts = {  # tests of parts, not of faults
        "test_every_row_has_its_test_and_every_test_a_row",
        "test_weights_are_looked_at_in_the_end",
        "test_an_error_of_numbers_that_are_not_finite_tells_them",
        "test_the_cause_among_the_errors_of_several_learners",
    }
    assert written - named == parts
