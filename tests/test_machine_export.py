"""Machines as C and as Python: compiled, run, and compared step by step with the machine."""

import itertools
import shutil
import subprocess

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from machines import random_machine, random_machines
from tallycell.errors import ParameterError
from tallycell.machine.counter_machine import Configuration, CounterMachine
from tallycell.machine.running.export import to_c, to_python
from tallycell.machine.shipped import shipped_machine

LARGEST = 2**63 - 1
STRICT = ("-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic")
NAMES = (
    "int", "return", "a b", "*/", "//", '"', "'", "\\", "??/", "%d", "$about", "\n", "\0", "\0a", "\x01", "\x011", "1",
    "é", "\x7f1", "漢字", "\N{GRINNING FACE}", "accept", "None", "class", "{}", "fail", "go", "stop",
)  # fmt: skip

# Strings come as the number of their symbols (-1: no more), then for each its length and its bytes. After each symbol:
# what the step returned, the state, the counters, what is said, on one line.
DRIVER = """\
#include "machine.h"
#include <stdio.h>
static char symbol[65536];
int main(void)
{
    long count, length;
    while (scanf("%ld", &count) == 1 && count >= 0) {
        struct machine_configuration at;
        machine_init(&at);
        while (count-- > 0) {
            int status;
            if (scanf("%ld", &length) != 1 || getchar() != ' ')
                return 1;
            if (fread(symbol, 1, (size_t)length, stdin) != (size_t)length)
                return 2;
            status = machine_step(&at, machine_symbol(symbol, (size_t)length));
            printf("%d %ld", status, (long)at.state);
            for (int k = 0; k < MACHINE_COUNTERS; k++)
                printf(" %lld", (long long)at.counters[k]);
            printf(" :");
            for (int k = -1; k <= MACHINE_OUTPUTS; k++)
                if (machine_says(&at, k))
                    printf(" %d", k);
            printf("\\n");
        }
    }
    return 0;
}
"""


@pytest.fixture(scope="session")
def compiler():
    found = shutil.which("cc") or shutil.which("gcc")
    if found is None:
        pytest.skip("no C compiler (cc or gcc) on this machine")
    return found


def compile_c(compiler, folder, sources, *options):
    """Compile files given by name, and give the program."""
    for name, text in sources.items():
        (folder / name).write_text(text, encoding="utf-8")
    program = folder / "program"
    units = [name for name in sources if name.endswith(".c")]
    done = subprocess.run(
        [compiler, *STRICT, *options, *units, "-o", program], cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return program


def run_c(program, strings):
    """Lines of the driver for strings of symbols, (status, state, counters, said)."""
    sent = b""
    for symbols in strings:
        raw = [symbol.encode() for symbol in symbols]
        sent += b"%d " % len(raw) + b"".join(b"%d " % len(one) + one + b" " for one in raw)
    done = subprocess.run([program], input=sent + b"-1 ", capture_output=True, check=True)
    lines = []
    for line in done.stdout.decode().splitlines():
        left, right = line.split(":")
        status, state, *counters = map(int, left.split())
        lines.append((status, state, tuple(counters), tuple(map(int, right.split()))))
    return lines


def draw_strings(machine, rng, count=12, length=40):
    """Random strings in runs of one symbol, so that counters go far."""
    strings = []
    for _ in range(count):
        symbols = []
        while len(symbols) < length:
            symbols += [machine.alphabet[rng.integers(len(machine.alphabet))]] * int(rng.integers(1, 5))
        strings.append(symbols)
    return strings


def defined_lines(machine, strings):
    """What the driver must print."""
    return [
        (0, at.state, at.counters, tuple(machine.outputs.index(one) for one in machine.says(at)))
        for symbols in strings
        for at in list(machine.walk(symbols))[1:]
    ]


def renamed(machine, seed):
    """The machine with names that no language likes."""
    names = iter(np.random.default_rng(seed).permutation(np.array(NAMES, object)).tolist())
    states = tuple(f"{next(names)}!" for _ in machine.states)  # "fail" is taken
    parts = {part: tuple(itertools.islice(names, len(getattr(machine, part)))) for part in ("alphabet", "counters")}
    outputs = tuple(itertools.islice(names, len(machine.outputs)))
    return CounterMachine(
        parts["alphabet"], states, parts["counters"], machine.constants, machine.next_state, machine.reset,
        machine.step, outputs, machine.output, machine.decision,
    )  # fmt: skip


def one_counter(*steps, constants=(0,)):
    """A machine of one state and one counter; each symbol has its step."""
    shape = (1, len(steps), 2 * len(constants) + 1)
    return CounterMachine(
        tuple("abcdef"[: len(steps)]), ("start",), ("n",), (constants,), np.zeros(shape, int),
        np.zeros((*shape, 1), bool), np.broadcast_to(np.array(steps, np.int64)[None, :, None, None], (*shape, 1)),
        ("accept",), (np.arange(shape[-1]) % 2 == 1)[None, :, None],
    )  # fmt: skip


def python_module(machine):
    module = {}
    exec(compile(to_python(machine), "exported.py", "exec"), module)
    return module


# ---- Python ----------------------------------------------------------------------------------------------------------


@settings(max_examples=60)
@given(random_machines(largest_constant=2, largest_step=3), st.integers(0, 99))
def test_python_does_at_each_step_what_the_machine_does(machine, seed):
    machine = renamed(machine, seed)
    module = python_module(machine)
    for symbols in draw_strings(machine, np.random.default_rng(seed), count=3):
        configuration = module["START"]
        for expected, symbol in zip(list(machine.walk(symbols))[1:], symbols, strict=True):
            configuration = module["advance"](configuration, symbol)
            assert configuration == tuple(expected)
            assert module["says"](configuration) == machine.says(expected)
        assert module["run"](symbols) == configuration
    for part in ("alphabet", "states", "counters", "outputs"):
        assert module[part.upper()] == getattr(machine, part)


def test_python_needs_nothing_and_counts_beyond_int64():
    text = to_python(one_counter(LARGEST, constants=(0, 10**30)))
    assert "import" not in text.replace("importing", "")
    text.encode("ascii")
    module = python_module(one_counter(LARGEST, constants=(0, 2**63)))
    assert module["run"]("aaa") == (0, (3 * LARGEST,))
    assert [module["accepts"]("a" * n) for n in range(3)] == [True, False, False]
    assert python_module(one_counter(2**62, constants=(0, 2**63)))["accepts"]("aa")


def test_python_refuses_what_the_machine_refuses():
    module = python_module(shipped_machine("cycle-navigation"))
    with pytest.raises(ValueError, match="symbol 'x' is not in the alphabet"):
        module["run"]("0x")
    with pytest.raises(ValueError, match="never 'accept'; look at says"):
        module["accepts"]("0")


# ---- C ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(12))
def test_c_does_at_each_step_what_the_machine_does(compiler, tmp_path, seed):
    kind = {"largest_constant": seed % 3, "largest_step": 1 + seed % 4, "max_counters": 3}
    machine = renamed(random_machine(seed, **kind), seed)
    program = compile_c(compiler, tmp_path, {"machine.h": to_c(machine), "driver.c": DRIVER})
    strings = draw_strings(machine, np.random.default_rng(seed))
    assert run_c(program, strings) == defined_lines(machine, strings)


@pytest.mark.parametrize("name", ["anbncndn", "shuffle-6", "parity", "line-over-80", "cycle-navigation", "tomita-7"])
def test_shipped_machines_run_in_c(compiler, tmp_path, name):
    machine = shipped_machine(name)
    program = compile_c(compiler, tmp_path, {"machine.h": to_c(machine), "driver.c": DRIVER}, "-O2")
    strings = [[], *draw_strings(machine, np.random.default_rng(0), length=200)]
    assert run_c(program, strings) == defined_lines(machine, strings)


def test_c_with_twelve_counters_many_moves_and_all_the_names(compiler, tmp_path):
    rng, shape = np.random.default_rng(0), (40, len(NAMES), 3 * 3)
    constants = ((0,), (5,), *[()] * 10)
    machine = CounterMachine(
        NAMES, tuple(f"s{k}" for k in range(40)), tuple(f"n{k}" for k in range(12)), constants,
        rng.integers(0, 40, shape), rng.random((*shape, 12)) < 0.1, rng.integers(-9, 10, (*shape, 12)),
        ("accept", "x"), rng.random((40, 9, 2)) < 0.5,
    )  # fmt: skip
    text = to_c(machine)
    assert "static const uint16_t move_of[]" in text
    program = compile_c(compiler, tmp_path, {"machine.h": text, "driver.c": DRIVER})
    strings = draw_strings(machine, rng)
    assert run_c(program, strings) == defined_lines(machine, strings)


def test_c_reports_overflow_and_stays_where_it_was(compiler, tmp_path):
    machine = one_counter(2**62, 2**62 - 1, 1, -(2**63), -1, constants=(-(2**63), 0, LARGEST))
    program = compile_c(compiler, tmp_path, {"machine.h": to_c(machine), "driver.c": DRIVER}, "-ftrapv")
    up = run_c(program, ["abca"])
    assert [line[0] for line in up] == [0, 0, 2, 2]
    assert [line[2] for line in up] == [(2**62,), (LARGEST,), (LARGEST,), (LARGEST,)]
    assert up[1] == (0, *Configuration(0, (LARGEST,)), (0,))  # and it is seen to be at that constant
    down = run_c(program, ["dedc"])
    assert [line[0] for line in down] == [0, 2, 2, 0]
    assert [line[2] for line in down] == [(-(2**63),)] * 3 + [(-LARGEST,)]


def test_c_reports_a_symbol_outside_the_alphabet_in_fail_too(compiler, tmp_path):
    machine = shipped_machine("dyck-1")
    program = compile_c(compiler, tmp_path, {"machine.h": to_c(machine), "driver.c": DRIVER})
    assert [line[:2] for line in run_c(program, [["(", "x", "((", ""], [")", "x", "("]])] == [
        (0, 0), (1, 0), (1, 0), (1, 0), (0, -1), (1, -1), (0, -1),
    ]  # fmt: skip


def test_machines_with_other_prefixes_go_into_one_program_and_a_file_compiles_alone(compiler, tmp_path):
    driver = """
#include "machine.h"
#include "machine.h"
#include "int.h"
#include <string.h>
int main(void)
{
    struct machine_configuration depth;
    struct int_configuration parity;
    machine_init(&depth);
    int_init(&parity);
    machine_step(&depth, machine_symbol("(", 1));
    int_step(&parity, int_symbol("b", 1));
    return !(depth.counters[0] == 1 && parity.state == 1 && !strcmp(int_state_name(1), "odd") &&
             !strcmp(machine_counter_name(0), "depth") && !strcmp(int_state_name(INT_FAIL), "fail") &&
             !machine_says(&depth, machine_output("accept", 6)));
}
"""
    sources = {"machine.h": to_c(shipped_machine("dyck-1")), "int.h": to_c(shipped_machine("parity"), prefix="int")}
    program = compile_c(compiler, tmp_path, sources | {"driver.c": driver, "alone.c": sources["machine.h"]})
    assert subprocess.run([program]).returncode == 0


def test_the_same_machine_gives_the_same_text():
    first, second = (random_machine(5, largest_constant=2, largest_step=3) for _ in range(2))
    assert to_c(first) == to_c(second)
    assert to_python(first) == to_python(second)


@pytest.mark.parametrize("prefix", ["", "1a", "a-b", "_a", "é", "a\n"])
def test_a_prefix_that_begins_no_name_is_refused(prefix):
    with pytest.raises(ParameterError, match="it must begin with a letter and go on with letters, digits and _"):
        to_c(shipped_machine("parity"), prefix=prefix)


def test_what_c_cannot_hold_is_refused():
    with pytest.raises(
        ParameterError, match=r"counter 'n' is compared with \(0, 9223372036854775808\), which does not"
    ):
        to_c(one_counter(1, constants=(0, 2**63)))
    machine = shipped_machine("parity")
    long = CounterMachine(
        ("a" * 4096, "b"), machine.states, (), (), machine.next_state, machine.reset, machine.step, machine.outputs,
        machine.output,
    )  # fmt: skip
    with pytest.raises(ParameterError, match=r"a name of the machine, 'a{36}\.\.\. has 4096 bytes, in C at most 4095"):
        to_c(long)
