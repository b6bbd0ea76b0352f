"""Jobs for processes that are to end: in a module of its own, as a process of its own has to import it."""

import os
import signal
import sys
import time

import learning_fakes as fakes
from tallycell.errors import InputError, MissingExtraError


class OddError(Exception):
    """One that cannot be made anew from its text, as pickle does."""

    def __init__(self, first, second):
        super().__init__(first + second)


def double(job):
    what, value = job
    if what == "sleep":
        time.sleep(value)
    if what == "interrupt":
        os.kill(os.getpid(), signal.SIGINT)  # as Ctrl-C in a terminal, which goes to all
    if what == "odd":
        raise OddError("odd", value)
    if what == "input":
        raise InputError(value)
    if what == "extra":
        raise MissingExtraError("matplotlib", "plot")
    if what == "exit":
        sys.exit(value)
    return 2 * value


def train_only_the_first(row, seed):
    if seed > 0:
        raise InputError(f"seed {seed} cannot be trained")
    return fakes.train_exact(row, seed)
