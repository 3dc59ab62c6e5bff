"""Every reader meets every kind of bad input that can occur in it.

A pair of reader and kind is a list of cases, or a sentence that says why the one cannot meet the other. A case spoils the
third of six good faces. Then either the report counts it, with a reason, the file and the line, and the other five come
through untouched; or the face stays with the labels that other sets or tasks give it, and a note says reason, file and line;
or nothing is different; or the whole is refused in one line that names the file.
"""
import io
import os
import pickle
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
from command import quick, refused
from PIL import Image

from affect_nbdev.affectnet import FLAT, LISTS, read_affectnet
from affect_nbdev.affwild2 import read_affwild2
from affect_nbdev.labels import ABAW2020, ABAW2022, AffectError
from affect_nbdev.loaders import decoded
from affect_nbdev.submissions import read_submission
from affect_nbdev.tables import read_folder

KINDS = ("path that leaves", "absolute path", "link out", "missing column", "number of fields", "word", "not finite", "out of range",
         "repeated", "crlf and mark", "utf-16", "latin-1", "empty file", "zero bytes", "cut short", "huge", "pickle")
VICTIM = 3  # of the faces 1 to 6; in a list with a header it is line 4
AU8, AU12 = "AU1,AU2,AU4,AU6,AU12,AU15,AU20,AU25", "AU1,AU2,AU4,AU6,AU7,AU10,AU12,AU15,AU23,AU24,AU25,AU26"
EXPR7 = "Neutral,Anger,Disgust,Fear,Happiness,Sadness,Surprise"
POINTS = ";".join(str(k / 8) for k in range(136))


class Dropped(NamedTuple):
    "The report counts the victim (or what was added) under this reason, and its example names these."
    reason: str
    where: tuple[str, ...] = ()
    lost: bool = True  # the victim is gone; else a row was added and all six faces stay


class Unusable(NamedTuple):
    "The reader takes it; whoever opens the picture counts it, and names it."
    says: str


class Stopped(NamedTuple):
    "The whole is refused in one line with these words."
    words: tuple[str, ...]


class Missing(NamedTuple):
    "The victim stays and has lost this label."
    column: str


class Spared(NamedTuple):
    "The victim stays and has lost all labels of this task, and only these; a note says why and names these."
    reason: str
    task: str
    where: tuple[str, ...]


SAME = "nothing is different"


# ---------------------------------------------------------------- six good faces in each form

def noise(kind: str = "PNG") -> bytes:
    "A picture."
    out = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (48, 48, 3), dtype=np.uint8)).save(out, kind)
    return out.getvalue()


def npy(value, **how) -> bytes:
    "What np.save writes."
    out = io.BytesIO()
    np.save(out, value, **how)
    return out.getvalue()


def put(path: Path, data: bytes | str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data if isinstance(data, bytes) else data.encode())


class Form:
    "Six faces in a form that a reader reads; `header` and `cells` of face k make the list."
    file = picture = header = ""  # the list and the picture of a face, below the folder
    fields: tuple[str, ...] = ()  # what to call the cells of a row
    def cells(self, k: int) -> list[str]: raise NotImplementedError
    def text(self, **changed) -> str:
        "The list, with some cells of the victim changed."
        rows = [dict(zip(self.fields, self.cells(k))) for k in range(1, 7)]
        rows[VICTIM - 1] |= changed
        return "\n".join([self.header, *(",".join(row.values()) for row in rows)]) + "\n"

    def write(self, root: Path) -> None:
        put(root / self.file, self.text())
        if self.picture:
            for k in range(1, 7): put(root / self.picture.format(k), noise("PNG" if self.picture.endswith("png") else "JPEG"))

    def read(self, root: Path): raise NotImplementedError


class Folder(Form):
    file, picture, fields = "labels.csv", "pictures/{}.png", ("image", "valence", "arousal", "expression", "AU1", "x", "y", "width", "height")
    header = ",".join(fields)
    def cells(self, k): return [f"pictures/{k}.png", f".{k}", f"-.{k}", "happy", "1", "2", "3", "20", "20"]
    def read(self, root): return read_folder(root)


class Lists(Form):
    file, picture, fields = "Manually_Annotated_file_lists/training.csv", "Manually_Annotated_Images/1/{}.png", tuple(LISTS)
    header = ",".join(LISTS.values())
    def cells(self, k): return [f"1/{k}.png", "2", "3", "20", "20", POINTS, str(k), f".{k}", f"-.{k}"]
    def read(self, root): return read_affectnet(root)


class Flat(Form):
    file, picture, fields, header = "train.csv", "train_set/images/{}.jpg", tuple(FLAT), ",".join(FLAT.values())
    def cells(self, k): return [str(k), str(k), f".{k}", f"-.{k}"]
    def read(self, root): return read_affectnet(root)


class Npy(Form):
    file, picture = "train_set/annotations/3_val.npy", "train_set/images/{}.jpg"
    def write(self, root):
        for k in range(1, 7):
            values = dict(exp=np.array(str(k)), val=np.float64(k / 10), aro=np.array(f"-.{k}"), lnd=np.arange(136.))
            for name, value in values.items(): put(root / f"train_set/annotations/{k}_{name}.npy", npy(value))
            put(root / self.picture.format(k), noise("JPEG"))
    def read(self, root): return read_affectnet(root)


class Sheet(Form):
    "One of three sets of ABAW 2020; the other two stay good."
    picture, part, task = "crops/a/{:05}.jpg", "Training_Set", "VA"
    headers = {"VA": "valence,arousal", "EXPR": EXPR7, "AU": AU8}
    def __init__(self, task):
        self.task, self.header, self.file = task, self.headers[task], f"annotations/{task}_Set/Training_Set/a.txt"
        self.fields = ("expression",) if task == "EXPR" else tuple(self.header.split(","))
    def cells(self, k): return {"VA": [f".{k}", f"-.{k}"], "EXPR": [str(k)], "AU": list("10100101")}[self.task]
    def write(self, root):
        for task in self.headers: Form.write(Sheet(task), root)
    def read(self, root): return read_affwild2(root / "annotations", root / "crops", cache=False)


class Mtl(Form):
    file, picture, header = "annotations/training_set_annotations.txt", "crops/a/{:05}.jpg", "image,valence,arousal,expression,aus"
    fields = ("image", "valence", "arousal", "expression", *AU12.split(","))
    def cells(self, k): return [f"a/{k:05}.jpg", f".{k}", f"-.{k}", str(k), *"101001010011"]
    def read(self, root): return read_affwild2(root / "annotations", root / "crops", cache=False)


class Submission(Form):
    "Answers; a jury would refuse any fault, and so does the reader."
    def __init__(self, task): self.task, self.form = task, Mtl() if task == "MTL" else Sheet(task)
    file = "a.txt"
    def text(self, **changed): return self.form.text(**changed)
    def read(self, root): return read_submission(root, self.task, ABAW2022 if self.task == "MTL" else ABAW2020), None


FORMS = {"folder": Folder(), "lists": Lists(), "flat": Flat(), "npy": Npy(), "VA": Sheet("VA"), "EXPR": Sheet("EXPR"), "AU": Sheet("AU"), "mtl": Mtl(),
         "VA answers": Submission("VA"), "EXPR answers": Submission("EXPR"), "AU answers": Submission("AU"), "mtl answers": Submission("MTL")}
SHEETS, ANSWERS = ("VA", "EXPR", "AU"), ("VA answers", "EXPR answers", "AU answers", "mtl answers")
LISTED = ("folder", "lists", "flat", *SHEETS, "mtl", *ANSWERS)  # all that have a text file
OPENED = ("folder", "lists", "flat", "npy", *SHEETS, "mtl")  # all that have pictures
VALUE = {name: {"EXPR": "expression", "AU": "AU4"}.get(name.split()[0], "valence") for name in LISTED}  # a cell to spoil


# ---------------------------------------------------------------- ways to spoil them

def cell(**changed): return lambda root, form: put(root / form.file, form.text(**changed))
def row(change): return lambda root, form: put(root / form.file, changed_line(form.text(), change))
def head(line): return lambda root, form: put(root / form.file, line + form.text()[form.text().index("\n"):])
def whole(change): return lambda root, form: put(root / form.file, change(form.text()))
def picture(data): return lambda root, form: put(root / form.picture.format(VICTIM), data)
def array(value, name="val", **how): return lambda root, form: put(root / f"train_set/annotations/3_{name}.npy", value if isinstance(value, bytes) else npy(value, **how))


def changed_line(text: str, change) -> str:
    lines = text.split("\n")
    lines[VICTIM] = change(lines[VICTIM])
    return "\n".join(lines)


def link(place):
    "A file of the data becomes a link to the same content outside."
    def spoil(root, form):
        path = root / place(form)
        outside = root.parent / f"outside{path.suffix}"
        outside.write_bytes(path.read_bytes())
        path.unlink()
        path.symlink_to(outside)
    return spoil


def again(root, form):
    "The second row once more, at the end."
    text = form.text()
    put(root / form.file, text + text.split("\n")[2] + "\n")


def spelt_otherwise(root, form):
    "The second row once more, its picture by another path."
    text = form.text()
    put(root / form.file, text + ".//" + text.split("\n")[2] + "\n")


def contradicted(root, form):
    "The second row once more, with another last label."
    text = form.text()
    put(root / form.file, text + text.split("\n")[2].rpartition(",")[0] + ",.875\n")


def beside(place, data=None):
    "A further file."
    return lambda root, form: put(root / place, form.text() if data is None else data)


class Trap:
    "What a pickle can do when it is opened."
    def __init__(self, path): self.path = path
    def __reduce__(self): return os.mkdir, (str(self.path),)


def trapped(name, as_npy):
    "A pickle that makes a folder `sprung` beside the data when it is opened, alone or inside an array."
    def spoil(root, form):
        trap = Trap(root.parent / "sprung")
        put(root / (name or form.file), npy(np.array([trap], object), allow_pickle=True) if as_npy else pickle.dumps(trap))
    return spoil


def large(kind: str) -> bytes:
    "A small picture whose header claims 50,000 x 50,000 pixels."
    data, side = noise(kind), (50_000).to_bytes(4, "big")
    if kind == "PNG":
        import zlib
        head = data[12:16] + side * 2 + data[24:29]
        return data[:12] + head + zlib.crc32(head).to_bytes(4, "big") + data[33:]
    at = data.index(b"\xff\xc0") + 5  # the frame header of a JPEG: marker, length, precision, then height and width
    return data[:at] + side[2:] * 2 + data[at + 4:]


# ---------------------------------------------------------------- the table

def line(form: str) -> tuple[str, ...]: return ("line 4", Path(FORMS[form].file).name) if form != "folder" else ("line 4",)


def cases() -> dict[tuple[str, str], list | str]:
    "What becomes of each pair."
    table = {}
    def all_of(forms, kind, *pairs):
        for form in forms: table[form, kind] = [(spoil, outcome(form) if callable(outcome) else outcome) for spoil, outcome in pairs]
    def dropped(reason): return lambda form: Stopped((Path(FORMS[form].file).name, "line 4", reason)) if form in ANSWERS else Dropped(reason, line(form))
    def faulty(reason, task=None):  # a line with a fault costs the labels of its set (mtl: of one task), and the face when that is all
        def outcome(form):
            whose = form if form in SHEETS else task if form == "mtl" else None
            return Spared(reason, whose, line(form)) if whose else dropped(reason)(form)
        return outcome
    def stopped(*words): return lambda form: Stopped((Path(FORMS[form].file).name, *words))
    def victim(form): return Path(FORMS[form].picture.format(VICTIM)).name

    no_file = "no cell of it names a file"
    for kind, names, reasons in (("path that leaves", ("../secret.png", "pictures/../../secret.png", "1/../../../../secret.png"), "path with .."),
                                 ("absolute path", ("/etc/passwd.png", "C:\\secret.png", "\\\\server\\x.png"), "absolute path")):
        table["folder", kind] = [(cell(image=name), Dropped("picture outside the folder", line("folder"))) for name in names]
        table["lists", kind] = [(cell(image=name), Dropped(reasons, line("lists"))) for name in names]
        table["flat", kind] = [(cell(image=name), Dropped(reasons, line("flat"))) for name in names]
        table["mtl", kind] = [(cell(image=name.replace(".png", "/00003.jpg")), Dropped("not <video>/<number>.jpg", line("mtl"))) for name in names]
        table["mtl answers", kind] = "the names of the pictures are compared and never opened"
        table["npy", kind] = "its names come from the listing of its own folders"
        for form in (*SHEETS, *ANSWERS[:3]): table[form, kind] = no_file

    crop = link(lambda form: form.picture.format(VICTIM))
    all_of(("folder", "lists", "flat"), "link out", (crop, lambda form: Dropped("picture outside the folder", line(form))),
           (link(lambda form: form.file), lambda form: Stopped((Path(FORMS[form].file).name, "leads out"))))
    table["npy", "link out"] = [(crop, Dropped("picture outside the folder", ("number 3",))),
                                *[(link(lambda form, kind=kind: f"train_set/annotations/3_{kind}.npy"), Dropped("annotation outside the folder", ("number 3",)))
                                  for kind in ("exp", "val", "aro", "lnd")]]
    all_of((*SHEETS, "mtl"), "link out", (crop, dropped("no crop of this frame")), (link(lambda form: form.file), stopped("leads out")))
    all_of(ANSWERS, "link out", (link(lambda form: form.file), stopped("leads out")))

    table["folder", "missing column"] = [(head("name,valence,arousal,expression,AU1,x,y,width,height"), Stopped(("labels.csv", "no column 'image'")))]
    for form in ("lists", "flat"):
        named = FORMS[form].header.split(",")
        table[form, "missing column"] = [(head(FORMS[form].header.replace(name, "other")), Stopped((Path(FORMS[form].file).name, "line 1", f"lacks the column {name}"))) for name in named]
        unknown, quoted = ",".join(f"a{k}" for k in range(len(named))), ",".join(f'"{name}"' for name in named)
        table[form, "missing column"] += [(head(words), Stopped((Path(FORMS[form].file).name, "line 1", why))) for words, why in ((unknown, "neither a known header nor data"), (quoted, "quotation marks"))]
    table["npy", "missing column"] = [(lambda root, form: (root / form.file).unlink(), Missing("valence"))]
    all_of((*SHEETS, *ANSWERS[:3]), "missing column", (lambda root, form: put(root / form.file, form.text().partition(",")[2]), stopped("line 1", "is no header")))
    all_of(("mtl", "mtl answers"), "missing column", (head("image,valence,arousal,expression"), stopped("line 1", "is no header of MTL")))

    few = tuple(form for form in LISTED if not form.startswith("EXPR"))
    all_of(few, "number of fields", (row(lambda text: text.rpartition(",")[0]), faulty("wrong number of fields")), (row(lambda text: text + ",0"), faulty("wrong number of fields")))
    all_of(("EXPR", "EXPR answers"), "number of fields", *[(row(change), faulty("wrong number of fields")) for change in (lambda text: text + ",0", lambda text: "", lambda text: " ")])
    table["npy", "number of fields"] = [(array(np.arange(135.), "lnd"), Dropped("landmarks are not 68 points", ("number 3",))),
                                        (array(np.array([.1, .2])), Dropped("valence is no number", ("number 3",)))]

    for kind, words in (("word", ("high", "0x1", "1_0", "\u0663", "1,5", "--1")), ("not finite", ("nan", "inf", "-Infinity", "1e999")), ("out of range", ("1.5", "-5.5", "-1.001"))):
        for form in LISTED:
            name, pairs = VALUE[form], []
            for word in words:
                reason = {"word": f"{name} is no number", "not finite": f"{name} is not finite", "out of range": f"{name} outside [-1, 1]"}[kind]
                if form.split()[0] in (*SHEETS, "mtl"):
                    wrong = {"expression": "no class of expression", "AU4": "AU neither 0 nor 1", "valence": "VA outside [-1, 1]"}[name]
                    reason = {"word": "a word where a number belongs", "not finite": "not a finite number", "out of range": wrong}[kind]
                if word == "1,5": reason = "wrong number of fields"
                outcome = faulty(reason, None if word == "1,5" else "VA")(form)
                if form == "folder" and kind == "not finite": outcome = Missing("valence") if word == "nan" else Dropped("valence outside [-1, 1]", line(form))
                pairs.append((cell(**{name: word}), outcome))
            table[form, kind] = pairs
    for form, changes in {"folder": {"expression": ("hapiness", "unknown expression"), "AU1": ("2", "AU1 outside [0, 1]"), "width": ("-3", "box without a size"), "height": ("inf", "box without a size"), "x": ("", "box without a size")},
                          "lists": {"expression": ("11", "unknown expression code"), "arousal": ("-5", "arousal outside [-1, 1]"), "width": ("0", "box without a size"), "landmarks": ("1;2", "landmarks are not 68 points")},
                          "flat": {"expression": ("-1", "unknown expression code"), "arousal": ("2", "arousal outside [-1, 1]")},
                          "mtl": {"expression": ("8", "no class of expression"), "AU26": ("2", "AU neither 0 nor 1"), "arousal": ("-1.5", "VA outside [-1, 1]")}}.items():
        task = {"expression": "EXPR", "AU26": "AU", "arousal": "VA"}
        table[form, "out of range"] += [(cell(**{name: value}), faulty(reason, task.get(name))(form)) for name, (value, reason) in changes.items()]
    for form, task in zip(ANSWERS, ("VA", "EXPR", "AU", "VA")):
        code = "-5" if task == "VA" else "-1"  # "no label" is no answer
        table[form, "out of range"] += [(cell(**{VALUE[form]: code}), Stopped(("a.txt", "line 4")))]
    table["npy", "word"] = [(array(np.array(word)), Dropped("valence is no number", ("number 3",))) for word in ("high", "1,5", "0x1")]
    table["npy", "word"] += [(array(np.array("happy"), "exp"), Dropped("expression is no number", ("number 3",))), (array(np.array(True)), Dropped("annotation cannot be read", ("number 3",)))]
    table["npy", "not finite"] = [(array(value), Dropped("valence is not finite", ("number 3",))) for value in (np.float64("nan"), np.float32("-inf"), np.array("inf"))]
    table["npy", "not finite"] += [(array(np.full(136, np.nan), "lnd"), Dropped("landmarks are not all numbers", ("number 3",)))]
    table["npy", "out of range"] = [(array(np.float64(1.5)), Dropped("valence outside [-1, 1]", ("number 3",))), (array(np.int64(11), "exp"), Dropped("unknown expression code", ("number 3",)))]

    table["folder", "repeated"] = [(again, Dropped("the same picture again", ("line 8",), lost=False))]
    table["folder", "repeated"] += [(spelt_otherwise, table["folder", "repeated"][0][1])]
    all_of(("lists", "flat"), "repeated", *[(spoil, lambda form, reason=reason: Dropped(reason, ("line 8", Path(FORMS[form].file).name), lost=False))
                                            for spoil, reason in ((again, "the same face again"), (spelt_otherwise, "the same face again"), (contradicted, "the same face again, with other labels"))])
    table["npy", "repeated"] = [(beside("train_set/images/3.png", noise()), SAME)]
    all_of(SHEETS, "repeated", (lambda root, form: put(root / form.file.replace("Training", "Validation"), form.text()), stopped("the same name is in the other split")))
    table["mtl", "repeated"] = [(again, Dropped("the same frame again", ("line 8", "training_set_annotations.txt"), lost=False)),
                                (beside("annotations/validation_set_annotations.txt"), Stopped(("validation_set_annotations.txt", "in the training and the validation file: a")))]
    table["mtl answers", "repeated"] = [(again, Stopped(("a.txt", "line 8", "again")))]
    for form in ANSWERS[:3]: table[form, "repeated"] = "a line is a frame, so none can come twice"

    for form in LISTED:
        name = Path(FORMS[form].file).name
        table[form, "crlf and mark"] = [(whole(lambda text: b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode()), SAME), (whole(lambda text: text.rstrip("\n").encode()), SAME)]
        table[form, "utf-16"] = [(whole(lambda text, code=code: text.encode(code)), Stopped((name,))) for code in ("utf-16", "utf-16-le", "utf-16-be")]
        table[form, "empty file"] = [(whole(lambda text, content=content: content), Stopped((name, "empty"))) for content in (b"", b"\n", b"\r\n\r\n")]
    def latin(root, form): put(root / form.file, changed_line(form.text(), lambda text: text + "\xe9").encode("latin-1"))
    all_of(("folder", "lists", "flat"), "latin-1", (latin, stopped("line 4", "is no text in UTF-8")))
    all_of((*SHEETS, "mtl", *ANSWERS), "latin-1", (latin, faulty("a word where a number belongs", "AU")))
    for kind in ("crlf and mark", "utf-16", "latin-1"): table["npy", kind] = "its files are no text"
    table["npy", "latin-1"] = [(array(np.array("-.5\xe9".encode("latin-1"))), Dropped("valence is no number", ("number 3",)))]
    table["npy", "empty file"] = [(array(b"", kind), Dropped("annotation cannot be read", ("number 3",))) for kind in ("exp", "val", "aro", "lnd")]

    for form in OPENED:
        suffix = "PNG" if FORMS[form].picture.endswith("png") else "JPEG"
        where = ("number 3",) if form == "npy" else line(form)
        table[form, "zero bytes"] = [(picture(b""), Unusable(victim(form)) if form in (*SHEETS, "mtl") else Dropped("picture of zero bytes", where))]
        table[form, "cut short"] = [(picture(noise(suffix)[:share]), Unusable(victim(form))) for share in (3, 100, 700)]
        table[form, "huge"] = [(picture(large(kind)), Unusable(victim(form))) for kind in ("PNG", "JPEG")]
    for kind in ("zero bytes", "cut short", "huge"):
        for form in ANSWERS: table[form, kind] = "it has no pictures"
    table["npy", "pickle"] = [(trapped(f"train_set/annotations/3_{kind}.npy", as_npy), Dropped("annotation cannot be read", ("number 3",)))
                              for kind in ("exp", "val", "lnd") for as_npy in (True, False)]
    for form in LISTED: table[form, "pickle"] = [(trapped(None, as_npy), Stopped((Path(FORMS[form].file).name,))) for as_npy in (True, False)]
    return table


TABLE = cases()
FLATTENED = [pytest.param(form, spoil, outcome, id=f"{form}-{kind}-{k}") for (form, kind), pairs in TABLE.items() if not isinstance(pairs, str)
             for k, (spoil, outcome) in enumerate(pairs)]


# ---------------------------------------------------------------- the tests

@pytest.mark.parametrize("form", FORMS)
def test_every_pair_is_in_the_table(form):
    "A reader and a kind: cases, or why there are none."
    for kind in KINDS: assert TABLE[form, kind], (form, kind)
    assert len(TABLE) == len(FORMS) * len(KINDS)


def labels(frame: pd.DataFrame) -> pd.DataFrame:
    "What a reader says of each face, by its name."
    frame = frame.set_index("image" if "image" in frame else "number")
    frame.index = frame.index.map(lambda name: int("".join(c for c in str(name).rsplit("/")[-1] if c.isdigit())))
    return frame[[c for c in frame if c in ("valence", "arousal", "expression", "x", "width") or c.startswith("AU")]].astype(object)


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    "What each reader makes of six good faces."
    found = {}
    for name, form in FORMS.items():
        root = tmp_path_factory.mktemp("good") / "data"
        form.write(root)
        table, report = form.read(root)
        found[name] = labels(table if report is None else table.frame)
        assert list(found[name].index) == [1, 2, 3, 4, 5, 6] and (report is None or (report.read, report.kept, report.dropped) == (6, 6, {})), (name, report)
    return found


def no_loss(report) -> None:
    assert report.read == report.kept + sum(report.dropped.values()), report
    assert all(report.examples[reason] for reason in report.dropped), report


@pytest.mark.parametrize("name, spoil, outcome", FLATTENED)
def test_bad_input(name, spoil, outcome, good, tmp_path):
    form, root, started = FORMS[name], tmp_path / "data", time.monotonic()
    form.write(root)
    spoil(root, form)
    try: table, report = form.read(root)
    except AffectError as error:
        assert isinstance(outcome, Stopped) and "\n" not in str(error), (outcome, error)
        assert all(word in str(error) for word in outcome.words), (outcome, error)
    else:
        assert not isinstance(outcome, Stopped), (outcome, report)
        if isinstance(outcome, Unusable):
            assert report.kept == 6, report
            table, report = decoded(table, 16, look=False, progress=False)
            (reason,) = report.dropped
            assert outcome.says in report.examples[reason][0], report
            outcome = Dropped(reason)
        expected = good[name]
        found = labels(table if report is None else table.frame)[list(expected)]
        if isinstance(outcome, Missing):
            assert pd.isna(found.loc[VICTIM, outcome.column]) and pd.notna(expected.loc[VICTIM, outcome.column])
            found, expected = found.drop(VICTIM), expected.drop(VICTIM)
        if isinstance(outcome, Spared):
            assert any(all(word in note for word in (outcome.reason, *outcome.where)) for note in report.notes), report
            tasks, expected = {"valence": "VA", "arousal": "VA", "expression": "EXPR"}, expected.copy()
            expected.loc[VICTIM, [column for column in expected if tasks.get(column, "AU") == outcome.task]] = np.nan
        if isinstance(outcome, Dropped):
            no_loss(report)
            assert {reason: count for reason, count in report.dropped.items()} == {outcome.reason: 1}, report
            assert all(word in report.examples[outcome.reason][0] for word in outcome.where), report
            if outcome.lost: expected = expected.drop(VICTIM)
        elif report is not None: assert not report.dropped, report
        pd.testing.assert_frame_equal(found, expected)
    assert not (tmp_path / "sprung").exists(), "code from the data has run"
    assert time.monotonic() - started < 30


@pytest.mark.parametrize("name, spoil, outcome", [case for case in FLATTENED if case.values[0] in SHEETS and isinstance(case.values[2], Spared)])
def test_the_only_labels(name, spoil, outcome, tmp_path):
    "A line with a fault and no other set: nothing is left of the face, and the fault is the reason."
    form, root = FORMS[name], tmp_path / "data"
    form.write(root)
    for task in SHEETS:
        if task != name: (root / FORMS[task].file).unlink()
    spoil(root, form)
    table, report = form.read(root)
    no_loss(report)
    assert report.dropped == {outcome.reason: 1} and all(word in report.examples[outcome.reason][0] for word in outcome.where), report
    assert not any(outcome.reason in note for note in report.notes) and VICTIM not in set(labels(table.frame).index), report


def test_the_trap_works(tmp_path):
    "Else nothing was shown by its not springing."
    trapped("a.npy", True)(tmp_path / "data", None)
    np.load(tmp_path / "data/a.npy", allow_pickle=True)
    assert (tmp_path / "sprung").is_dir()


def test_a_cache_that_is_a_pickle_is_made_anew(tmp_path, monkeypatch):
    monkeypatch.setenv("AFFECT_CACHE", str(tmp_path / "cache"))
    FORMS["VA"].write(tmp_path / "data")
    def read(): return read_affwild2(tmp_path / "data/annotations", tmp_path / "data/crops")
    table, report = read()
    (kept,) = (tmp_path / "cache").rglob("*.feather")
    whole = kept.read_bytes()
    kept.write_bytes(pickle.dumps(Trap(tmp_path / "sprung")))
    again, same = read()
    pd.testing.assert_frame_equal(again.frame, table.frame)
    assert same == report and kept.read_bytes()[:6] == whole[:6] and not (tmp_path / "sprung").exists()


def test_a_huge_picture_costs_no_memory(tmp_path):
    "50,000 x 50,000 pixels are 7.5 GB."
    FORMS["folder"].write(tmp_path / "data")
    for k, kind in ((2, "PNG"), (3, "PNG"), (4, "JPEG")): put(tmp_path / f"data/pictures/{k}.png", large(kind))
    code = """if True:
        import re, sys
        from affect_nbdev.loaders import decoded
        from affect_nbdev.tables import read_folder
        def peak(): return int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) // 1024
        table, before = read_folder(sys.argv[1])[0], peak()
        report = decoded(table, 16, look=False, progress=False)[1]
        print(report.dropped, peak() - before)"""
    if not Path("/proc/self/status").exists(): pytest.skip("no /proc")
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "data")], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    said, more = done.stdout.rsplit(None, 1)
    assert said == "{'unusable picture': 3}" and int(more) < 300, done.stdout


def test_a_link_in_a_circle_hides_no_other_picture(tmp_path):
    for name in ("folder", "lists", "npy", "VA"):
        form, root = FORMS[name], tmp_path / name
        form.write(root)
        circle = root / form.picture.format(VICTIM)
        circle.unlink()
        circle.symlink_to(circle)
        _, report = form.read(root)
        assert report.kept == 5 and sum(report.dropped.values()) == 1, (name, report)


@pytest.mark.parametrize("name, kind", [(name, kind) for name in ("folder", "lists", "flat") for kind in ("missing column", "utf-16", "latin-1", "empty file", "pickle")])
def test_at_the_command_line(name, kind, tmp_path):
    "One line, exit status 2, nothing written."
    spoil, outcome = TABLE[name, kind][0]
    FORMS[name].write(tmp_path / "data")
    spoil(tmp_path / "data", FORMS[name])
    refused(quick("train", "--data", tmp_path / "data", "--out", tmp_path / "run", "--whole"), *outcome.words)
    assert not (tmp_path / "run").exists() and not (tmp_path / "sprung").exists()
