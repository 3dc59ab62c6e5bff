"""A wheel built from the repository works in an environment that does not know the repository."""
import json
import os
import re
import subprocess
import sys
import sysconfig
import zipfile
from email.parser import Parser
from pathlib import Path
from shutil import copytree, ignore_patterns

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent
REPORT = ("report.html", "metrics.json", "manifest.json", "history.csv", "model.safetensors", "learning.png", "saliency.png")


def run(*command, **options):
    "The command's output; its errors are shown when it fails."
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, **options)
    assert done.returncode == 0, f"{command[:3]} exited {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    "A wheel made from a source distribution made from a copy of the repository, without the network."
    folder = tmp_path_factory.mktemp("build")
    copytree(ROOT, folder / "repo", ignore=ignore_patterns(
        ".git", ".venv*", "venv", "build", "dist", "*.egg-info", "__pycache__", ".*_cache", ".ipynb_checkpoints", "affect-*"))
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder / "dist", folder / "repo")
    (made,) = (folder / "dist").glob("*.whl")
    return made


@pytest.fixture(scope="module")
def python(wheel, tmp_path_factory) -> Path:
    "An environment that holds the wheel; torch and the others are lent by this one."
    venv = tmp_path_factory.mktemp("installed") / "venv"
    run(sys.executable, "-m", "venv", "--without-pip", venv)
    python = venv / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    run(sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", wheel)
    site = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip()
    lent = dict.fromkeys(sysconfig.get_path(p) for p in ("purelib", "platlib"))
    (Path(site) / "lent.pth").write_text("\n".join(lent) + "\n")  # .pth files inside a lent folder are not read
    return python


def test_wheel_holds_the_package_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as z: names = set(z.namelist())
    assets = {f"affect_nbdev/assets/{p.name}" for p in (ROOT / "affect_nbdev" / "assets").iterdir()}
    modules = {f"affect_nbdev/{p.name}" for p in (ROOT / "affect_nbdev").glob("*.py")}
    rest = names - assets - modules
    assert assets | modules <= names
    assert all(".dist-info/" in n for n in rest), sorted(rest)
    assert any(n.endswith("licenses/LICENSE") for n in rest)


def test_metadata_says_what_settings_say(wheel, settings):
    with zipfile.ZipFile(wheel) as z:
        (name,) = [n for n in z.namelist() if n.endswith(".dist-info/METADATA")]
        facts = Parser().parsestr(z.read(name).decode())
        (points,) = [z.read(n).decode() for n in z.namelist() if n.endswith("entry_points.txt")]
    assert facts["Name"] == settings["lib_name"]
    assert facts["Version"] == settings["version"]
    assert facts["Requires-Python"] == f">={settings['min_python']}"
    assert "Apache-2.0" in (facts["License-Expression"] or facts["License"])
    assert facts["Description-Content-Type"] == "text/markdown"

    def names(requirements): return {re.split(r"[<>=!~\[; ]", r)[0].lower() for r in requirements}
    plain = [r for r in facts.get_all("Requires-Dist") if "extra ==" not in r]
    extra = [r for r in facts.get_all("Requires-Dist") if "extra ==" in r]
    assert names(plain) == names(settings["requirements"].split())
    assert names(extra) == names(settings["dev_requirements"].split())
    assert "affect = affect_nbdev.cli:app" in points


def test_wheel_is_what_is_imported(python, tmp_path, settings):
    code = ("import affect_nbdev, importlib.resources as r; print(affect_nbdev.__file__); print(affect_nbdev.__version__);"
            "print(r.files('affect_nbdev') / 'assets' / 'head_cc0.npz')")
    file, version, asset = run(python, "-c", code, cwd=tmp_path).splitlines()
    assert Path(file).is_relative_to(python.parent.parent)
    assert version == settings["version"]
    with np.load(asset, allow_pickle=False) as npz: assert npz["v"].shape == (5174, 3)


def test_demo_runs_from_the_wheel(python, tmp_path):
    out = tmp_path / "report of a demo"
    env = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "IN_TEST")}
    env["AFFECT_CACHE"] = str(tmp_path / "cache")
    said = run(python.parent / "affect", "demo", "--quick", "--out", out, cwd=tmp_path, env=env, timeout=540)
    assert not [name for name in REPORT if not (out / name).is_file()]
    assert "report.html" in said
    metrics = json.loads((out / "metrics.json").read_text(encoding="utf-8"))
    assert {"valence", "arousal", "expression", "action_units", "n", "split", "baseline"} <= metrics.keys()
    assert metrics["valence"]["ccc"] > metrics["baseline"]["valence"]["ccc"] + .2
