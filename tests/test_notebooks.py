"""Every lesson runs as nbdev_test runs it, has the form a lesson has, and agrees with its module."""
import ast
import copy
import filecmp
import json
import os
import re
import shutil
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
from nbdev.clean import clean_nb
from nbdev.test import test_nb as run_notebook

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "affect_nbdev"
NOTEBOOKS = sorted((ROOT / "nbs").glob("[!_]*.ipynb"))
LESSONS = [p for p in NOTEBOOKS if re.match(r"\d\d[a-z]?_", p.name)]
MODULES = [p for p in sorted(PACKAGE.glob("*.py")) if p.name not in ("__init__.py", "_modidx.py")]
EXPORT_CELL = "#| hide\nimport nbdev; nbdev.nbdev_export()"
MACHINE_PATH = re.compile(r"(?<![\w.~/])/(?:root|home|Users|tmp|work|opt|mnt)/|\b[A-Z]:\\\\?Users")

each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
each_lesson = pytest.mark.parametrize("path", LESSONS, ids=lambda p: p.stem)
each_module = pytest.mark.parametrize("path", MODULES, ids=lambda p: p.stem)


def read(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def source(cell: dict) -> str:
    return "".join(cell["source"])


def texts(output: dict):
    "Every text in an output."
    yield "".join(output.get("text", ""))
    for kind, data in output.get("data", {}).items():
        if kind.startswith("text/"): yield "".join(data)


@each_notebook
def test_runs(path, settings):
    import matplotlib.pyplot as plt
    passed, _ = run_notebook(path, skip_flags=settings["tst_flags"].split(), basepath=ROOT)
    plt.close("all")
    assert passed, f"{path.name} stopped; its traceback is on standard error"


def test_there_are_lessons():
    assert len(LESSONS) >= 15
    numbers = [p.name.split("_")[0] for p in LESSONS]
    assert len(set(numbers)) == len(numbers), "two lessons with one number"
    assert (ROOT / "nbs" / "index.ipynb") in NOTEBOOKS


@each_notebook
def test_is_clean(path):
    nb = read(path)
    assert (nb["nbformat"], nb["nbformat_minor"]) == (4, 5)
    assert nb["metadata"] == {"kernelspec": {"display_name": "python3", "language": "python", "name": "python3"}}
    ids = [c["id"] for c in nb["cells"]]
    assert len(set(ids)) == len(ids), "cell ids repeat"
    cleaned = copy.deepcopy(nb)
    clean_nb(cleaned)
    assert cleaned == nb, "run nbdev_clean"


@each_notebook
def test_keeps_no_failure_and_no_machine(path):
    for cell in read(path)["cells"]:
        assert not MACHINE_PATH.search(source(cell)), f"cell {cell['id']} names a path of one machine"
        for output in cell.get("outputs", []):
            assert output["output_type"] != "error", f"cell {cell['id']} keeps an error"
            assert output.get("name") != "stderr", f"cell {cell['id']} keeps standard error"
            for text in texts(output):
                assert "Traceback (most recent call last)" not in text, f"cell {cell['id']} keeps a traceback"
                assert not MACHINE_PATH.search(text), f"cell {cell['id']} shows a path of one machine"


@each_notebook
def test_outputs_are_stored(path):
    assert any(c.get("outputs") for c in read(path)["cells"]), "run make notebooks"


@each_lesson
def test_has_the_form_of_a_lesson(path):
    cells = read(path)["cells"]
    assert re.match(r"# \S.*\n+> \S", source(cells[0])), "the first cell is a title and a one-line subtitle"
    assert source(cells[-1]) == EXPORT_CELL
    prose = [c for c in cells if c["cell_type"] == "markdown"]
    code = [c for c in cells if c["cell_type"] == "code"]
    assert len(prose) >= .6 * len(code), f"{len(prose)} prose cells to {len(code)} code cells"
    assert 20 <= len(cells) <= 75, f"{len(cells)} cells"
    headings = " ".join(line.lower() for c in prose for line in c["source"] if line.startswith("#"))
    assert "recap" in headings and "exercise" in headings


@each_lesson
def test_exports_short_cells_to_the_module_of_its_name(path):
    cells = [source(c) for c in read(path)["cells"] if c["cell_type"] == "code"]
    assert [c for c in cells if c.startswith("#| default_exp")] == [f"#| default_exp {path.stem.split('_', 1)[1]}"]
    for cell in cells:
        if re.match(r"#\s*\| *export", cell):
            lines = [line for line in cell.splitlines() if line.strip()]
            assert len(lines) <= 26, f"{len(lines) - 1} lines: {lines[1]}"  # the directive is one


def test_modules_are_what_the_notebooks_export(tmp_path):
    shutil.copytree(ROOT / "nbs", tmp_path / "nbs", ignore=shutil.ignore_patterns(".*"))
    shutil.copy(ROOT / "settings.ini", tmp_path)
    (tmp_path / "affect_nbdev").mkdir()
    shutil.copy(PACKAGE / "__init__.py", tmp_path / "affect_nbdev")
    subprocess.run([sys.executable, "-c", "import nbdev; nbdev.nbdev_export()"], cwd=tmp_path, check=True,
                   env={k: v for k, v in os.environ.items() if k != "IN_TEST"})
    made = {p.name for p in (tmp_path / "affect_nbdev").glob("*.py")}
    assert made == {p.name for p in PACKAGE.glob("*.py")}
    _, differ, errors = filecmp.cmpfiles(PACKAGE, tmp_path / "affect_nbdev", sorted(made), shallow=False)
    assert not differ and not errors, "run make export"


def imported(path: Path) -> set[str]:
    "Modules of this package that the module at `path` imports anywhere."
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            base = "affect_nbdev" if node.level else ""
            full = ".".join(x for x in (base, node.module) if x)
            if full == "affect_nbdev": found |= {a.name for a in node.names}
            elif full.startswith("affect_nbdev."): found.add(full.split(".")[1])
        elif isinstance(node, ast.Import):
            found |= {a.name.split(".")[1] for a in node.names if a.name.startswith("affect_nbdev.")}
    return found & {p.stem for p in MODULES}


def number(module: str) -> int:
    "The number of the lesson a module comes from."
    header = (PACKAGE / f"{module}.py").read_text(encoding="utf-8")
    return int(re.search(r"File to edit: \.\./nbs/(\d\d)[a-z]?_", header)[1])


@each_module
def test_imports_no_later_part(path):
    later = {m for m in imported(path) if number(m) // 10 > number(path.stem) // 10}
    assert not later, f"{path.stem} (part {number(path.stem) // 10}0) imports {sorted(later)}"


def test_imports_run_in_no_circle():
    TopologicalSorter({p.stem: imported(p) for p in MODULES}).prepare()  # raises CycleError


def test_readme_is_current():
    done = subprocess.run([sys.executable, "tools/make_readme.py", "--check"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_readme_names_every_lesson():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    missing = [p.name for p in LESSONS if p.stem not in readme]
    assert not missing
