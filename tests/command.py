"""The command line as a user meets it: a process of its own, with its exit status and both of its channels."""
import functools
import json
import os
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image

AFFECT = str(Path(sysconfig.get_path("scripts")) / "affect")


class Said(NamedTuple):
    "What a command left behind."
    status: int
    out: str
    err: str


def affect(*words) -> Said:
    "Run `affect` to its end in a fresh process."
    done = subprocess.run([AFFECT, *map(str, words)], capture_output=True, text=True, timeout=300)
    return Said(done.returncode, done.stdout, done.stderr)


# Importing torch and its friends takes longer than most commands. This process does it once; each command is then a child of its own.
READY = """
import gc, json, os, sys, traceback
import affect_nbdev.demo, affect_nbdev.photos
from affect_nbdev.cli import app
gc.freeze()
for line in sys.stdin:
    words, channels = json.loads(line)
    if not (child := os.fork()):
        for number, path in enumerate(channels, 1): os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), number)
        sys.argv = ["affect", *words]
        try: app()
        except SystemExit as end: status = end.code or 0
        except BaseException: traceback.print_exc(); status = 1
        sys.stdout.flush(); sys.stderr.flush()
        os._exit(status)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@functools.cache
def ready() -> subprocess.Popen:
    "The process that has imported everything; it ends with this one, which holds its standard input."
    return subprocess.Popen([sys.executable, "-c", READY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def quick(*words) -> Said:
    "As `affect`, without the wait for the imports."
    if not hasattr(os, "fork"): return affect(*words)
    with tempfile.TemporaryDirectory() as folder:
        channels = [f"{folder}/out", f"{folder}/err"]
        ready().stdin.write(json.dumps([list(map(str, words)), channels]) + "\n")
        ready().stdin.flush()
        return Said(int(ready().stdout.readline()), *(Path(path).read_text() for path in channels))


def refused(said: Said, *parts: str) -> str:
    "The one line of an error that names all these parts; exit status 2, no traceback, nothing on standard output."
    lines = [line for line in said.err.splitlines() if line.strip()]
    assert said.status == 2, said
    assert len(lines) == 1 and lines[0].startswith("affect: error: "), said.err
    assert all(part in lines[0] for part in parts), lines[0]
    assert said.out == "", said.out
    return lines[0]


def bars(folder: Path, n: int = 80) -> Path:
    "A folder with a labels.csv: grey pictures with a bar at the top for AU1 and one at the bottom for AU12."
    rng, rows = np.random.default_rng(0), ["image,split,subject,valence,arousal,expression,AU1,AU12"]
    (folder / "pictures").mkdir(parents=True)
    for i in range(n):
        au1, au12 = rng.integers(0, 2, 2)
        face = rng.integers(70, 150, (40, 40, 3), dtype=np.uint8)
        face[4:12] += np.uint8(60 * au1)
        face[28:36] += np.uint8(60 * au12)
        Image.fromarray(face).save(folder / "pictures" / f"{i:02}.png")
        split = ("train", "train", "validation", "test")[i % 4]
        expression = "happiness" if au12 else "neutral"
        rows.append(f"pictures/{i:02}.png,{split},{i},{.8 * au12 - .4},{.8 * au1 - .4},{expression},{au1},{au12}")
    (folder / "labels.csv").write_text("\n".join(rows) + "\n")
    return folder


def train_words(data: Path, out: Path, epochs: int = 6) -> list:
    "A training that takes a few seconds."
    return ["train", "--data", data, "--out", out, "--trunk", "tiny", "--size", 32, "--batch-size", 10, "--lr", .01, "--whole", "--epochs", epochs]


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    "A folder with 80 pictures and their labels."
    return bars(tmp_path_factory.mktemp("data") / "bars")


@pytest.fixture(scope="module")
def run(data, tmp_path_factory) -> Path:
    "A run that knows AU1 and AU12, trained once by the command itself."
    out = tmp_path_factory.mktemp("runs") / "run"
    said = quick(*train_words(data, out))
    assert said.status == 0, said.err
    return out
