#!/usr/bin/env python3
"""Write README.md from nbs/index.ipynb and its stored outputs.

    .venv/bin/python tools/make_readme.py            # write
    .venv/bin/python tools/make_readme.py --check    # exit 1 when README.md or one of its pictures is not current

Pictures of the notebook's outputs go to docs/images. Hidden cells, directive lines and the export cell are left
out; `#| echo: false` keeps a cell's output alone, `#| output: false` its code alone. Links that are right inside
nbs/ are made right for the top of the repository.
"""
import argparse
import copy
import re
import sys
from pathlib import Path

import nbformat
import yaml
from nbconvert import MarkdownExporter
from traitlets.config import Config

ROOT = Path(__file__).resolve().parent.parent
IMAGES = "docs/images"
NOTE = "<!-- Made from nbs/index.ipynb by tools/make_readme.py: change it there. -->\n\n"
DIRECTIVE = re.compile(r"^\s*#\s*\|\s*([\w-]+):?[ \t]*(.*?)[ \t]*(?:\n|$)", re.MULTILINE)
KINDS = ["text/markdown", "image/png", "image/jpeg", "text/latex", "text/plain"]


def front_matter(source: str) -> str:
    "A raw cell of YAML as the title and subtitle lines a notebook would open with."
    facts = yaml.safe_load(source.strip().strip("-")) or {}
    lines = [f"# {facts['title']}"] if "title" in facts else []
    return "\n\n".join(lines + ([f"> {facts['description']}"] if "description" in facts else []))


def shown(cell):
    "`cell` as the README shows it, or None."
    cell = copy.deepcopy(cell)
    if cell.cell_type == "raw":
        return nbformat.v4.new_markdown_cell(front_matter(cell.source)) if cell.source.startswith("---") else None
    if cell.cell_type == "markdown":
        cell.source = re.sub(r"(\]\(|src=\")(\d\d\w+\.ipynb)", r"\1nbs/\2", cell.source)
        cell.source = re.sub(r"(\]\(|src=\")\.\./", r"\1", cell.source)
        return cell
    said = dict(DIRECTIVE.findall(cell.source))
    if {"hide", "default_exp"} & said.keys() or said.get("include") == "false": return None
    if "nbdev_export(" in cell.source: return None
    cell.source = DIRECTIVE.sub("", cell.source).strip()
    if said.get("output") == "false": cell.outputs = []
    cell.outputs = [o for o in cell.outputs if o.get("name") != "stderr"]
    if said.get("echo") == "false" or "hide_input" in said: cell.source = ""
    return cell if cell.source or cell.outputs else None


def render(notebook: Path) -> tuple[str, dict[str, bytes]]:
    "The README's text, and its pictures by path from the top of the repository."
    nb = nbformat.read(notebook, as_version=4)
    nb.cells = [c for cell in nb.cells if (c := shown(cell)) is not None]
    nb.metadata.language_info = {"name": "python"}  # names the language of the fences
    config = Config(NbConvertBase={"display_data_priority": KINDS}, ExtractOutputPreprocessor={
        "output_filename_template": IMAGES + "/{unique_key}_{cell_index}_{index}{extension}"})
    text, resources = MarkdownExporter(config=config).from_notebook_node(
        nb, resources={"unique_key": notebook.stem})
    text = re.sub(r"```python\n\n```\n", "", text)  # the fence of a cell that shows its output alone
    text = re.sub(r"!\[(?:png|jpeg)\]\(", "![What the code above draws](", text)
    text = re.sub(r"[ \t]+\n", "\n", re.sub(r"\n{3,}", "\n\n", text)).strip() + "\n"
    return NOTE + text, {k.replace("\\", "/"): v for k, v in resources.get("outputs", {}).items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when something is not current")
    args = parser.parse_args()
    text, pictures = render(ROOT / "nbs" / "index.ipynb")
    wanted = {"README.md": text.encode(), **pictures}
    stale = [p for p in sorted((ROOT / IMAGES).glob("index_*")) if f"{IMAGES}/{p.name}" not in wanted]
    changed = [n for n, data in wanted.items() if not (ROOT / n).exists() or (ROOT / n).read_bytes() != data]
    if args.check:
        for name in changed: print(f"{name} is not what nbs/index.ipynb says: run make readme", file=sys.stderr)
        for path in stale: print(f"{path.name} belongs to nothing: run make readme", file=sys.stderr)
        return int(bool(changed or stale))
    for name in changed:
        (ROOT / name).parent.mkdir(parents=True, exist_ok=True)
        (ROOT / name).write_bytes(wanted[name])
    for path in stale: path.unlink()
    print(f"README.md and {len(pictures)} pictures: {len(changed)} written, {len(stale)} removed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
