"""NumPy multiplies on one thread while any caller wants it, and on as many as before when the last has left."""

import json
import os
import subprocess
import sys

# In a process of its own: tests run NumPy on one thread.
OVERLAPPING = """
import json, threading
import numpy as np
import threadpoolctl
from tallycell.linear_algebra import on_one_thread

def threads():
    return [one["num_threads"] for one in threadpoolctl.threadpool_info() if one["user_api"] == "blas"]

found = {"before": threads()}
came, may_leave = threading.Event(), threading.Event()

def first():
    with on_one_thread():
        came.set()
        may_leave.wait(10)

other = threading.Thread(target=first)
other.start()
came.wait(10)
with on_one_thread():
    may_leave.set()
    other.join()
    found["when the first has left"] = threads()
found["when both have left"] = threads()
try:
    with on_one_thread(), on_one_thread():
        found["one within another"] = threads()
        raise ZeroDivisionError
except ZeroDivisionError:
    found["after an error"] = threads()
with threadpoolctl.threadpool_limits(1):
    found["limited by somebody else"] = threads()
print(json.dumps(found))
"""


def test_calls_that_overlap_give_the_threads_back():
    """The call that came first leaves first, and it is on another thread than the one that leaves last."""
    done = subprocess.run(
        [sys.executable, "-c", OVERLAPPING], capture_output=True, text=True, check=True, timeout=60,
        env=os.environ | {"OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2", "MKL_NUM_THREADS": "2"},
    )  # fmt: skip
    found = json.loads(done.stdout)
    many, one = found["before"], [1] * len(found["before"])
    assert found == {
        "before": many,
        "when the first has left": one,
        "when both have left": many,
        "one within another": one,
        "after an error": many,
        "limited by somebody else": one,
    }
