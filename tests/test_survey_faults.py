"""Whatever is killed on a dask cluster, and whenever: the result is that of an undisturbed run, to the last bit."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("distributed", reason="dask.distributed is not installed")

from survey_counts import Counts, save_recogniser, write_texts
from tallycell.errors import InputError
from tallycell.survey.cluster import Cluster
from tallycell.survey.plan import Opened
from tallycell.survey.run import Sizes, run_survey, survey_plan
from tallycell.survey.store import Store
from test_survey_run import require_equal

pytestmark = pytest.mark.filterwarnings("ignore")  # of dask, about what is killed
CLIENT = """
import sys
sys.path[:0] = sys.argv[4:]
from survey_counts import Counts
from tallycell.survey.cluster import Cluster
from tallycell.survey.run import run_survey
from tallycell.survey.store import Store
from pathlib import Path
if __name__ == "__main__":
    folder, trouble, address = sys.argv[1:4]
    told = lambda text: print(text, file=sys.stderr)
    run_survey(Store(Path(folder)).plan(), folder, Counts(trouble=trouble), do=Cluster(scheduler=address, told=told))
"""


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    model = save_recogniser(folder / "m.safetensors")
    texts = write_texts(folder / "texts", 12)
    return survey_plan(Opened(str(model)), [texts], Counts(), sizes=Sizes(block=4, steps=50, task=400))


@pytest.fixture(scope="module")
def undisturbed(plan, tmp_path_factory):
    return run_survey(plan, tmp_path_factory.mktemp("undisturbed"), Counts())


def start(*words, cwd, **more):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "PYTHONWARNINGS": "ignore"} | more
    with (cwd / "log").open("ab") as log:
        return subprocess.Popen([sys.executable, *map(str, words)], cwd=cwd, env=environment, stdout=log, stderr=log)


def scheduler(port, cwd):
    words = ["--host", "127.0.0.1", "--port", port, "--no-dashboard"]
    return start("-m", "distributed.cli.dask_scheduler", *words, cwd=cwd)


def worker(address, cwd):
    words = ["--nthreads", 1, "--no-nanny", "--no-dashboard", "--death-timeout", 60, "--local-directory", cwd]
    return start("-m", "distributed.cli.dask_worker", address, *words, cwd=cwd)


@pytest.fixture
def processes():
    """Processes that end with the test, whatever becomes of it."""
    started = []
    yield started
    for one in started:
        one.kill()
        one.wait()


def until(true, seconds=60.0):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "what was waited for did not happen"
        time.sleep(0.05)


def free_port():
    import socket

    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def done_in(folder):
    return len(list((folder / "sums").glob("0*.json")))


def test_a_worker_that_is_killed_in_the_middle_of_a_task_changes_no_bit(plan, undisturbed, tmp_path):
    """On a cluster of its own: the nanny starts another worker, and the task is done by whoever is there."""
    trouble, told = tmp_path / "trouble", []
    trouble.mkdir()
    (trouble / "die").touch()
    do = Cluster(workers=2, told=told.append)
    require_equal(run_survey(plan, tmp_path / "out", Counts(trouble=str(trouble)), do=do), undisturbed)
    assert (trouble / "die-done").exists()
    assert told[0].startswith("2 workers at tcp://127.0.0.1:")


def test_a_scheduler_and_a_client_that_are_killed_and_started_anew_change_no_bit(
    plan, undisturbed, tmp_path, processes
):  # fmt: skip
    """The scheduler forgets everything and the worker leaves; then the client is killed while a task runs."""
    port, trouble, out = free_port(), tmp_path / "trouble", tmp_path / "out"
    address = f"tcp://127.0.0.1:{port}"
    trouble.mkdir()
    (trouble / "wait").touch()
    Store(out).begin(plan)
    first = [scheduler(port, tmp_path), worker(address, tmp_path)]
    client = start("-c", CLIENT, out, trouble, address, *sys.path, cwd=tmp_path)
    processes += [*first, client]
    until((trouble / "wait-done").exists)
    for one in first:
        one.kill()
        one.wait()
    before = done_in(out)
    assert before < plan.tasks
    assert client.poll() is None  # it waits for another
    (trouble / "wait").touch()
    (trouble / "wait-done").unlink()
    processes += [scheduler(port, tmp_path), worker(address, tmp_path)]
    until((trouble / "wait-done").exists)
    client.kill()
    client.wait()
    assert before <= done_in(out) < plan.tasks
    processes[-1].kill()  # the one that still waits
    processes.append(worker(address, tmp_path))
    total = run_survey(plan, out, Counts(), do=Cluster(scheduler=address))
    require_equal(total, undisturbed)
    log = (tmp_path / "log").read_text()
    assert "no scheduler answers at" in log or "the scheduler is gone" in log


def test_an_error_of_ours_comes_through_the_cluster_and_what_was_done_is_kept(plan, undisturbed, tmp_path, processes):
    port = free_port()
    address = f"tcp://127.0.0.1:{port}"
    processes += [scheduler(port, tmp_path), worker(address, tmp_path)]
    file = Path(plan.place_of(int(plan.tested[-1]))[0].path)

    def do(orders):  # the file goes after all were looked at
        away = file.rename(file.with_suffix(".away"))
        try:
            yield from Cluster(scheduler=address)(orders)
        finally:
            away.rename(file)

    with pytest.raises(InputError, match=f"^/.*{file.name} cannot be opened: No such file"):
        run_survey(plan, tmp_path / "out", Counts(), do=do)
    require_equal(run_survey(plan, tmp_path / "out", Counts(), do=Cluster(scheduler=address)), undisturbed)


def test_a_worker_that_would_compute_other_bits_refuses_to_work(plan, tmp_path, monkeypatch):
    """The client takes itself for another processor, as its plan says; the worker is a process of its own."""
    for module in ("identity", "run"):
        monkeypatch.setattr(f"tallycell.survey.{module}.kernel_here", lambda: "kernel 0")
    other = survey_plan(plan.opened, [file.path for file in plan.files], Counts(), sizes=Sizes(block=4, steps=50))
    with pytest.raises(InputError, match=r"this process has kernel .* the plan was made with kernel 0: results would"):
        run_survey(other, tmp_path / "out", Counts(), do=Cluster(workers=1))
    assert done_in(tmp_path / "out") == 0


def test_two_clients_of_one_scheduler_do_not_get_each_others_receipts(plan, undisturbed, tmp_path, processes):
    """The second, with a folder of its own, does all of the same plan while tasks of the first are in flight."""
    port = free_port()
    address = f"tcp://127.0.0.1:{port}"
    processes += [scheduler(port, tmp_path), worker(address, tmp_path)]
    seconds = []

    def do(orders):
        for receipt in Cluster(scheduler=address)(orders):
            if not seconds:
                seconds.append(run_survey(plan, tmp_path / "second", Counts(), do=Cluster(scheduler=address)))
            yield receipt

    require_equal(run_survey(plan, tmp_path / "first", Counts(), do=do), undisturbed)
    require_equal(seconds[0], undisturbed)


def test_a_scheduler_that_does_not_answer_is_named(plan, tmp_path):
    told = []
    do = Cluster(scheduler=f"tcp://127.0.0.1:{free_port()}", told=told.append, patience=0.5)
    with pytest.raises(InputError, match=r"no scheduler answers at 'tcp://127.0.0.1:\d+' .*what is done is kept"):
        run_survey(plan, tmp_path, Counts(), do=do)
    with pytest.raises(InputError, match=r"'nonsense://x' is no address of a scheduler .* expected tcp://HOST:PORT"):
        run_survey(plan, tmp_path, Counts(), do=Cluster(scheduler="nonsense://x", patience=0.5))


def test_a_cluster_that_speaks_tls_gives_the_same_bits(plan, undisturbed, tmp_path, processes):
    import shutil

    import dask

    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed, which makes the certificate")
    certificate, key = tmp_path / "node.pem", tmp_path / "node.key"
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"]
    subprocess.run([*make, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    tls = {"ca-file": certificate, "client.cert": certificate, "client.key": key}
    prefix = "DASK_DISTRIBUTED__COMM__"
    named = {f"{prefix}REQUIRE_ENCRYPTION": "true", f"{prefix}TLS__CA_FILE": str(certificate)}
    for who in ("SCHEDULER", "WORKER"):
        named |= {f"{prefix}TLS__{who}__CERT": str(certificate), f"{prefix}TLS__{who}__KEY": str(key)}
    port = free_port()
    words = ["--protocol", "tls", "--host", "127.0.0.1", "--port", port, "--no-dashboard"]
    processes.append(start("-m", "distributed.cli.dask_scheduler", *words, cwd=tmp_path, **named))
    address = f"tls://127.0.0.1:{port}"
    words = ["--nthreads", 1, "--no-nanny", "--no-dashboard", "--death-timeout", 60, "--local-directory", tmp_path]
    processes.append(start("-m", "distributed.cli.dask_worker", address, *words, cwd=tmp_path, **named))
    ours = {f"distributed.comm.tls.{name}": str(path) for name, path in tls.items()}
    with dask.config.set(ours | {"distributed.comm.require-encryption": True}):
        total = run_survey(plan, tmp_path / "out", Counts(), do=Cluster(scheduler=address))
    require_equal(total, undisturbed)


@pytest.mark.parametrize("given", [{}, {"workers": 1, "scheduler": "tcp://x:1"}])
def test_a_cluster_is_of_workers_or_of_a_scheduler(given):
    with pytest.raises(InputError, match="got both workers and a scheduler, or neither; give one of the two"):
        Cluster(**given)
