"""Faithfulness: do the steps that the account names make the output? Beside what others use."""

import argparse
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np

HELP = "the account against gradients, occlusion and contextual decomposition: deletion, insertion, and ground truth"
DECISIONS, QUESTIONS = 20, 10  # of a model, and of a machine
QUICK_DECISIONS, QUICK_QUESTIONS = 4, 2
PARTS = ("curves", "truth")
SEED = 0
CHANCE = "random"
OURS, RIVAL = ("account", "counterfactual", "two runs (zeros)"), "integrated gradients (zeros)"
NOTHING_TO_TELL = "left out, since on every string that was drawn all symbols count, or none"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this benchmark."""
    parser.add_argument("--quick", action="store_true", help="few decisions: to see that it runs, not to quote")
    parser.add_argument("--decisions", type=int, metavar="N", help=f"of each model (default: {DECISIONS})")
    parser.add_argument("--questions", type=int, metavar="N", help=f"to each machine (default: {QUESTIONS})")
    parser.add_argument("--models", nargs="+", metavar="NAME", help="characters, tagger, hydrology, silero; else all")
    parser.add_argument("--machines", nargs="+", metavar="NAME", help="shipped machines; all if not given")
    parser.add_argument("--only", choices=PARTS, help="only the curves, or only the ground truth")
    parser.add_argument("--seed", type=int, default=SEED, help="of all that is drawn (default: %(default)s)")


def run(arguments: argparse.Namespace) -> dict[str, object]:
    """Explain decisions by every method, print the tables and who wins where, and give both."""
    if find_spec("captum") is None:
        raise SystemExit("captum is not installed; pip install --no-deps captum, beside torch and matplotlib")
    import torch

    from benchmarks.attributions import methods

    os.environ["TALLYCELL_NUM_THREADS"] = "1"
    torch.set_num_threads(1)

    chosen = methods(arguments.seed)
    rows: dict[str, dict[str, object]] = {name: {"method": name} for name in chosen}
    answers, machines = [], []
    if arguments.only != "truth":
        answers += run_curves(arguments, chosen, rows)
    if arguments.only != "curves":
        said, machines = run_truth(arguments, chosen, rows)
        answers += said
    print("\n" + "\n".join(answers))
    return {"threads": 1, "answers": answers, "rows": list(rows.values()), "machines": machines}


def run_curves(
    arguments: argparse.Namespace, chosen: Mapping[str, Any], rows: Mapping[str, dict[str, object]]
) -> list[str]:
    """Take steps out of the models' inputs and put them in; add a column a model and measure."""
    from benchmarks.curves import MEASURES, against, compare, verdicts
    from benchmarks.subjects import SUBJECTS, MissingError

    count = arguments.decisions or (QUICK_DECISIONS if arguments.quick else DECISIONS)
    compared, left_out = [], []
    for name in arguments.models or SUBJECTS:
        began = time.perf_counter()
        try:
            subject = SUBJECTS[name](count, np.random.default_rng(arguments.seed))
        except MissingError as missing:
            left_out.append(f"{name} is left out: {missing}")
            continue
        one = compare(subject, chosen)
        compared.append(one)
        for method in chosen:
            for measure in MEASURES:
                value = f"{one.mean(method, measure):.3g} ± {one.error(method, measure):.2g}"
                rows[method][f"{name}, {measure} ({subject.unit})"] = value
        took = f"{len(subject.decisions)} decisions, {time.perf_counter() - began:.0f} s"
        print(f"\n{name}: {subject.about} ({took})")
        print_table(["", *MEASURES], [[method, *cells(rows[method], name)] for method in chosen])
    pairs = [(ours, RIVAL) for ours in OURS if ours in chosen and RIVAL in chosen]
    return [*verdicts(compared), *(against(compared, *pair) for pair in pairs), *left_out]


def cells(row: Mapping[str, object], name: str) -> list[str]:
    return [str(value) for column, value in row.items() if column.startswith(f"{name}, ")]


def run_truth(
    arguments: argparse.Namespace, chosen: Mapping[str, Any], rows: Mapping[str, dict[str, object]]
) -> tuple[list[str], list[dict[str, object]]]:
    """Ask the methods for the steps that a machine's decision depends on; add columns, and give rows by machine."""
    from benchmarks.ground_truth import find
    from tallycell.machine.shipped import shipped_machines

    count = arguments.questions or (QUICK_QUESTIONS if arguments.quick else QUESTIONS)
    began, found, trivial = time.perf_counter(), [], []
    for name in arguments.machines or shipped_machines():
        one = find(name, chosen, count, arguments.seed)
        if one is None:
            trivial.append(name)
        else:
            found.append(one)
    questions = sum(one.questions for one in found)
    took = time.perf_counter() - began
    print(f"\nground truth: {len(found)} compiled machines, {questions} questions ({took:.0f} s)")
    machines: list[dict[str, object]] = [
        {"machine": one.machine, "true steps": f"{one.share:.0%}"}
        | {method: round(one.scores[method][1], 2) for method in chosen}
        for one in found
    ]
    if not found:
        return [f"{NOTHING_TO_TELL}: {', '.join(trivial)}"], machines
    means = {method: np.mean([one.scores[method] for one in found], axis=0) for method in chosen}
    for method, values in means.items():
        for column, value in zip(("precision", "average precision", "seen"), values.tolist(), strict=True):
            rows[method][f"machines, {column}"] = f"{value:.2f}"
    print_table(["", "precision = recall", "average precision", "true steps seen"],
                [[method, *cells(rows[method], "machines")] for method in chosen])  # fmt: skip
    print("\naverage precision by machine")
    short = [f"({chr(ord('a') + k)})" for k in range(len(chosen))]
    print("; ".join(f"{letter} {name}" for letter, name in zip(short, chosen, strict=True)))
    print_table(["", "true", *short], [[str(value) for value in one.values()] for one in machines])
    return truth_in_words({method: [one.scores[method][1] for one in found] for method in chosen}, trivial), machines


def truth_in_words(precision: Mapping[str, Sequence[float]], trivial: Sequence[str]) -> list[str]:
    """Say who finds the true steps, and who does better than chance, from the average precision by machine."""
    from benchmarks.curves import SURE, standard_error

    by_machine = {method: np.array(values) for method, values in precision.items()}
    order = sorted(by_machine, key=lambda one: by_machine[one].mean(), reverse=True)
    said = ", ".join(f"{one} {by_machine[one].mean():.2f}" for one in order)
    answers = [f"average precision, mean over machines, the best first: {said}"]
    if len(by_machine[order[0]]) > 1:
        more = {one: by_machine[one] - by_machine[CHANCE] for one in order}
        sure = [one for one, values in more.items() if values.mean() > SURE * standard_error(values) > 0]
        answers.append(f"better than chance, by two standard errors over machines: {', '.join(sure) or 'none'}")
    if trivial:
        answers.append(f"{NOTHING_TO_TELL}: {', '.join(trivial)}")
    return answers


def print_table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print columns side by side, the first to the left."""
    lines = [list(heads), *(list(row) for row in rows)]
    widths = [max(len(line[k]) for line in lines) for k in range(len(heads))]
    for first, *rest in lines:
        print("  ".join([first.ljust(widths[0]), *(one.rjust(w) for one, w in zip(rest, widths[1:], strict=True))]))
