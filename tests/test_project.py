"""The files around the package agree with one another."""
import os
import re
import shutil
import subprocess
from importlib.metadata import metadata
from pathlib import Path

import pytest
import yaml
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
TEXT = {".py", ".md", ".txt", ".ini", ".yml", ".cff", ".toml", ".in", ".sh", ".ipynb", ""}


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def committed() -> list[Path]:
    "Files git knows, or would add."
    out = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True)
    if out.returncode: pytest.skip("not a git repository")
    return [ROOT / line for line in out.stdout.splitlines() if (ROOT / line).is_file()]


def pins(python: str = "3.11") -> dict[str, Requirement]:
    "The pins of constraints.txt that hold for a Python."
    env = {**default_environment(), "python_version": python, "python_full_version": f"{python}.9"}
    lines = [Requirement(line) for line in read("constraints.txt").splitlines() if line and line[0] != "#"]
    return {canonicalize_name(r.name): r for r in lines if not r.marker or r.marker.evaluate(env)}


def wanted(settings) -> list[Requirement]:
    return [Requirement(r) for r in settings["requirements"].split() + settings["dev_requirements"].split()]


def test_constraints_pin_every_requirement_inside_its_range(settings):
    pinned = pins()
    for req in wanted(settings):
        (version,) = [s.version for s in pinned[canonicalize_name(req.name)].specifier if s.operator == "=="]
        assert req.specifier.contains(version), f"{req} and {version}"


def test_constraints_leave_the_oldest_python_free_where_they_must(settings):
    old = pins(settings["min_python"])
    assert "numpy" not in old and "pandas" not in old  # their pinned releases want a newer Python
    assert {"torch", "torchvision", "captum", "nbdev"} <= old.keys()


def test_requirements_are_named_once(settings):
    names = [canonicalize_name(r.name) for r in wanted(settings)]
    assert len(set(names)) == len(names)


def test_extras_are_spelled_as_their_packages_spell_them(settings):
    "Older pips take no other spelling, and then leave out in silence what the extra would bring."
    for requirement in wanted(settings):
        for extra in requirement.extras: assert extra in metadata(requirement.name).get_all("Provides-Extra"), requirement


def test_imports_of_the_package_are_required(settings):
    found = set()
    for path in (ROOT / "affect_nbdev").glob("*.py"):
        found |= set(re.findall(r"^\s*(?:from|import) (\w+)", path.read_text(encoding="utf-8"), re.MULTILINE))
    import sys
    rename = {"PIL": "pillow", "cv2": "opencv-python-headless", "sklearn": "scikit-learn"}
    outside = {rename.get(m, m) for m in found - sys.stdlib_module_names - {"affect_nbdev", "nbdev"}}
    assert outside <= {r.split("[")[0].split(">")[0].split("=")[0].split("<")[0] for r in settings["requirements"].split()}


def test_conda_environment_installs_what_settings_name(settings):
    env = yaml.safe_load(read("environment.yml"))
    assert env["name"] == settings["lib_name"]
    assert env["channels"][0] == "conda-forge"
    python = next(d for d in env["dependencies"] if str(d).startswith("python="))
    assert tuple(map(int, python.split("=")[1].split("."))) >= tuple(map(int, settings["min_python"].split(".")))
    assert "pip" in env["dependencies"]
    (pip,) = [d["pip"] for d in env["dependencies"] if isinstance(d, dict)]
    assert "-c constraints.txt" in pip  # the pins
    assert "-e .[dev]" in pip           # requirements and dev_requirements of settings.ini, through setup.py


def test_versions_agree(settings):
    citation = yaml.safe_load(read("CITATION.cff"))
    assert citation["version"] == settings["version"]
    assert f"## {settings['version']}" in read("CHANGELOG.md")
    assert f'__version__ = "{settings["version"]}"' in read("affect_nbdev/__init__.py")
    assert citation["license"] == "Apache-2.0" and "Apache License" in read("LICENSE")


def test_ci_runs_what_the_readme_says():
    workflow = yaml.safe_load(read(".github/workflows/test.yml"))
    steps = [s.get("run", "") for s in workflow["jobs"]["test"]["steps"]]
    assert "bash .ci/run" in steps
    ci = read(".ci/run")
    assert ci.rstrip().endswith("make test") and "make check" in ci and "make install" in ci
    readme = read("README.md")
    for command in ("make demo", "make test", "make lab", "make notebooks"): assert command in readme
    assert "git config --local include.path ../.gitconfig" in readme
    assert "conda env create" in readme and "pip install -c constraints.txt" in readme


def test_make_targets_expand():
    if not shutil.which("make"): pytest.skip("no make on this machine")
    for target in ("install", "demo", "test", "lab", "notebooks", "export", "readme", "check"):
        done = subprocess.run(["make", "-n", target, "VENV=a folder"], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert 'tools/make_venv.sh "a folder"' in done.stdout


@pytest.mark.skipif(os.name == "nt", reason="the script is for a POSIX shell")
def test_old_python_is_refused_in_one_line(tmp_path):
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("bash", "dirname"): (tools / name).symlink_to(shutil.which(name))
    (tools / "python3").write_text('#!/bin/sh\n[ "$1" = --version ] && echo Python 3.8.1\nexit 1\n')
    (tools / "python3").chmod(0o755)
    done = subprocess.run([tools / "bash", ROOT / "tools" / "make_venv.sh", tmp_path / "venv"],
                          env={"PATH": str(tools)}, capture_output=True, text=True)
    assert done.returncode == 1
    assert "needs Python 3.10 or newer; found: Python 3.8.1" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1 and not (tmp_path / "venv").exists()


def test_files_name_no_machine_and_no_registry():
    machine = re.compile(r"(?<![\w.~/*])/(?:" + "|".join(["root", "home", "Users", "work", "mnt"]) + r")/\w")
    registry = re.compile("|".join(["pypi" + r"\.org", "python" + "hosted", "anaconda" + r"\.org", r"npmjs\."]))
    for path in committed():
        if path.suffix not in TEXT or path.name == "LICENSE": continue
        text = path.read_text(encoding="utf-8")
        assert not machine.search(text), f"{path.name}: {machine.search(text)[0]}"
        assert not registry.search(text), f"{path.name}: {registry.search(text)[0]}"


def test_nothing_large_is_committed():
    large = [p.name for p in committed() if p.stat().st_size > 3_000_000]
    assert not large
