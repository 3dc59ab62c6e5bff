"""Files that are whole or not there, with real processes that are really killed."""
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from affect_nbdev.files import locked, write_json, written_aside


def started(program: str, folder: Path, **options) -> subprocess.Popen:
    "Another Python that runs `program` in `folder` and has printed its first line."
    process = subprocess.Popen([sys.executable, "-c", program], cwd=folder, stdout=subprocess.PIPE, text=True, **options)
    assert process.stdout.readline() == "ready\n", "it never got ready"
    return process


def kill(process: subprocess.Popen, how: int = signal.SIGKILL) -> None:
    "As a power button would: nothing can be caught."
    process.send_signal(how)
    process.wait(timeout=30)
    process.stdout.close()


FILE = """
import time
from affect_nbdev.files import written_aside
with written_aside("out.json") as aside, open(aside, "w") as out:
    out.write('{"half":'); out.flush(); print("ready", flush=True); time.sleep(60)
"""
FOLDER = """
import time
from affect_nbdev.files import written_aside
with written_aside("run") as aside:
    aside.mkdir(); (aside/"a.txt").write_text("half"); print("ready", flush=True); time.sleep(60)
"""


def test_killed_leaves_nothing_or_the_old(tmp_path):
    for process in [started(FILE, tmp_path), started(FOLDER, tmp_path)]: kill(process)
    left = list(tmp_path.iterdir())
    assert len(left) == 2 and all(path.name.startswith(".") for path in left)  # nothing under the names asked for

    write_json(tmp_path / "out.json", {"old": 1})
    with written_aside(tmp_path / "run") as aside:
        aside.mkdir()
        (aside / "a.txt").write_text("old")
    assert all(path.exists() for path in left), "a writer at work may have been swept"
    for process in [started(FILE, tmp_path), started(FOLDER, tmp_path)]: kill(process)
    assert json.loads((tmp_path / "out.json").read_text()) == {"old": 1}
    assert (tmp_path / "run" / "a.txt").read_text() == "old"

    for path in tmp_path.glob(".*"): os.utime(path, (time.time() - 2 * 86400,) * 2)
    write_json(tmp_path / "out.json", 2)
    with written_aside(tmp_path / "run") as aside: aside.mkdir()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.json", "run"]  # old leftovers are swept


@pytest.mark.parametrize(("stop", "moment"), [(signal.SIGKILL, .03), (signal.SIGKILL, .11), (signal.SIGINT, .07)])
def test_stopped_at_any_moment(tmp_path, stop, moment):
    "A writer that replaces a file again and again is stopped at some moment: what is there is whole."
    process = started("""
import itertools, numpy as np
from affect_nbdev.files import written_aside
for i in itertools.count():
    with written_aside("a.npy") as aside: np.save(aside, np.full(200_000, i))
    if i == 0: print("ready", flush=True)
""", tmp_path, stderr=subprocess.DEVNULL)
    time.sleep(moment)
    kill(process, stop)
    array = np.load(tmp_path / "a.npy", allow_pickle=False)
    assert array.shape == (200_000,) and (array == array[0]).all()


def test_a_killed_holder_frees_its_lock(tmp_path):
    holder = started("""
import time
from affect_nbdev.files import locked
with locked("cache"): print("ready", flush=True); time.sleep(60)
""", tmp_path)
    waiter = subprocess.Popen([sys.executable, "-c", """
from affect_nbdev.files import locked
with locked("cache"): print("mine")
"""], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert "waiting for another process" in waiter.stderr.readline() and waiter.poll() is None
    kill(holder)
    out, err = waiter.communicate(timeout=30)
    assert out == "mine\n" and err == "" and waiter.returncode == 0


def test_two_builders_build_once(tmp_path):
    "What the cache of drawn faces does: under the lock, look again, build if it is not there."
    program = """
import os, time
from pathlib import Path
from affect_nbdev.files import locked, written_aside
with locked("cache"):
    if not Path("cache").exists():
        with written_aside("cache") as aside: time.sleep(.5); aside.write_text(str(os.getpid()))
        print("built")
"""
    builders = [subprocess.Popen([sys.executable, "-c", program], cwd=tmp_path, stdout=subprocess.PIPE, text=True)
                for _ in range(2)]
    said = [builder.communicate(timeout=60)[0] for builder in builders]
    assert sorted(said) == ["", "built\n"] and (tmp_path / "cache").read_text().isdigit()
    with locked(tmp_path / "cache"): pass
