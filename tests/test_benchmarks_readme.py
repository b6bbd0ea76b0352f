"""``benchmarks/README.md`` lists what ``python -m benchmarks`` runs."""

import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))  # benchmarks are not installed; they run from the repository

from benchmarks import report  # noqa: E402
from benchmarks.__main__ import BENCHMARKS  # noqa: E402

PAGE = report.README.read_text(encoding="utf-8")


def test_every_benchmark_is_in_the_table_of_questions():
    asked = [line.split("`")[1] for line in PAGE.splitlines() if line.startswith("| `")]
    assert sorted(asked) == sorted(BENCHMARKS)


def test_every_benchmark_is_named_where_the_first_is_run():
    _, _, others = PAGE.partition("python -m benchmarks forward            # also: ")
    assert sorted(["forward", *others.partition("\n")[0].split()]) == sorted(BENCHMARKS)
