#!/usr/bin/env python3
"""Execute the lessons in a real kernel and keep their outputs.

    .venv/bin/python tools/run_notebooks.py                      # all of nbs/
    .venv/bin/python tools/run_notebooks.py 10_squeeze_excitation 20_losses
    .venv/bin/python tools/run_notebooks.py --check              # execute, write nothing, fail when outputs would change

Cells that nbdev_test skips are skipped and lose their outputs. Live widgets (progress bars) and everything on
standard error are left out, since neither repeats; warnings are shown on the terminal instead. What is kept is
cleaned as nbdev_clean does, so that a second run gives the same bytes. A notebook is written only when every
cell passed, beside its place first and then renamed.
"""
import argparse
import json
import os
import re
import sys
import time
from pathlib import Path

import nbformat
from execnb.nbio import nb2str
from fastcore.basics import str2bool
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbdev.clean import clean_nb
from nbdev.config import get_config
from nbdev.frontmatter import FrontmatterProc
from nbdev.process import NBProcessor

ROOT = Path(__file__).resolve().parent.parent
NBS = ROOT / "nbs"
WIDGET = "application/vnd.jupyter.widget-view+json"
PROGRESS = re.compile(r"\r|\d+%\||it/s|s/it")


def skipped_cells(path: Path) -> set[str] | None:
    "Ids of the code cells nbdev_test skips in the notebook at `path`; None when it skips the whole notebook."
    flags = set(get_config(path=ROOT).tst_flags.split())
    nb = NBProcessor(path, procs=FrontmatterProc, process=True).nb
    if str2bool(getattr(nb, "frontmatter_", {}).get("skip_exec", False)): return None

    def skipped(cell):
        directives = getattr(cell, "directives_", {}) or {}
        return ("nbdev_export(" in cell.source or directives.get("eval:", [""])[0].lower() == "false"
                or bool(flags & directives.keys()))
    return {c.id for c in nb.cells if c.cell_type == "code" and skipped(c)}


class Lesson(NotebookClient):
    "A client that leaves out some cells."
    skip: set[str] = set()

    async def async_execute_cell(self, cell, cell_index, **kwargs):
        if cell.get("id") in self.skip: return cell
        return await super().async_execute_cell(cell, cell_index, **kwargs)


def kept_outputs(cell, name: str) -> list:
    "The outputs of `cell` that repeat; what is dropped and is no progress bar is shown."
    kept = []
    for out in cell.outputs:
        if out.output_type == "stream" and out.name == "stderr":
            if not PROGRESS.search(out.text): print(f"{name} {cell.id} on stderr: {out.text.strip()}", file=sys.stderr)
        elif WIDGET not in out.get("data", {}): kept.append(out)
    return kept


def execute(path: Path, timeout: int) -> str:
    "The notebook at `path` as text, executed and cleaned."
    nb = nbformat.read(path, as_version=4)
    skip = skipped_cells(path)
    for cell in nb.cells:
        if cell.cell_type == "code": cell.outputs, cell.execution_count = [], None
    if skip is not None:
        client = Lesson(nb, timeout=timeout, kernel_name="python3", resources={"metadata": {"path": str(path.parent)}},
                        store_widget_state=False, record_timing=False, coalesce_streams=True,
                        extra_arguments=["--log-level=ERROR"])
        client.skip = skip
        client.execute(env={**os.environ, "PYTHONHASHSEED": "0"})
    for cell in nb.cells:
        if cell.cell_type == "code": cell.outputs = kept_outputs(cell, path.name)
    out = json.loads(nbformat.writes(nb))
    cfg = get_config(path=ROOT)
    clean_nb(out, cfg.clear_all, cfg.get("allowed_metadata_keys").split(),
             cfg.get("allowed_cell_metadata_keys").split(), cfg.clean_ids)
    out["metadata"].pop("widgets", None)
    return nb2str(out)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="notebooks, with or without folder and .ipynb; default all")
    parser.add_argument("--timeout", type=int, default=900, help="seconds one cell may take")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when an output would change")
    args = parser.parse_args()
    paths = [NBS / (Path(n).name.removesuffix(".ipynb") + ".ipynb") for n in args.names] or sorted(NBS.glob("[!_]*.ipynb"))
    if missing := [str(p) for p in paths if not p.exists()]: parser.error(f"no such notebook: {', '.join(missing)}")
    bad = []
    for path in paths:
        start = time.time()
        try: text = execute(path, args.timeout)
        except CellExecutionError as error:
            print(f"{path.name}: failed\n{error}", file=sys.stderr)
            bad.append(path.name)
            continue
        changed = text != path.read_text(encoding="utf-8")
        if changed and args.check: bad.append(path.name)
        elif changed:
            aside = path.with_name(f".{path.name}.{os.getpid()}")
            aside.write_text(text, encoding="utf-8")
            os.replace(aside, path)
        print(f"{path.name}: {'changed' if changed else 'unchanged'}, {time.time() - start:.0f} s", flush=True)
    if bad: print(f"{len(bad)} of {len(paths)}: {', '.join(bad)}", file=sys.stderr)
    return int(bool(bad))


if __name__ == "__main__":
    sys.exit(main())
