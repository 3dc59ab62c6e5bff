#!/usr/bin/env python3
"""Write constraints.txt: the versions installed here of everything settings.ini leads to.

    .venv/bin/python tools/make_constraints.py

A pin whose package wants a newer Python than ours carries a marker, so that pip falls back on the ranges
of settings.ini there. CUDA's own packages are left out: torch pins them itself, and other platforms have none.
"""
from configparser import ConfigParser
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

HERE = Path(__file__).resolve().parent.parent
LEFT_OUT = ("nvidia-", "cuda-", "triton", "setuptools")
MINORS = range(10, 15)


def closure(requirements: list[str]) -> dict[str, str]:
    "Name -> version of every installed package that `requirements` lead to."
    found, todo = {}, [(Requirement(r), "") for r in requirements]
    seen = set()
    while todo:
        req, extra = todo.pop()
        name = canonicalize_name(req.name)
        if (req.marker and not req.marker.evaluate({"extra": extra})) or name.startswith(LEFT_OUT): continue
        try: dist = distribution(name)
        except PackageNotFoundError: continue
        found[name] = dist.version
        for ex in ("", *req.extras):
            if (name, ex) not in seen:
                seen.add((name, ex))
                todo += [(Requirement(r), ex) for r in dist.requires or []]
    return found


def pin(name: str, version: str, minors: range) -> str:
    "`name==version`, with a marker when the package leaves out some of our Pythons."
    wants = SpecifierSet(distribution(name).metadata.get("Requires-Python") or "")
    fits = [m for m in minors if f"3.{m}.99" in wants]
    marker = f' ; python_version >= "3.{fits[0]}"' if fits[0] > minors[0] else ""
    return f"{name}=={version}{marker}"


if __name__ == "__main__":
    settings = ConfigParser(delimiters=["="])
    settings.read(HERE / "settings.ini", encoding="utf-8")
    cfg = settings["DEFAULT"]
    found = closure(cfg["requirements"].split() + cfg["dev_requirements"].split())
    minors = range(int(cfg["min_python"].split(".")[1]), MINORS[-1] + 1)
    lines = ["# Versions known to work together; written by tools/make_constraints.py.", "# pip install -c constraints.txt -e '.[dev]'"]
    lines += [pin(name, found[name], minors) for name in sorted(found)]
    (HERE / "constraints.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"constraints.txt: {len(found)} pins")
