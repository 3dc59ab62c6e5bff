"""What a user can mend ends as one line that names the file and the reason, exit status 2, and nothing half-written."""
import json
import shutil
import signal
import struct
import subprocess
import time
import zlib

import numpy as np
import pandas as pd
import pytest
from command import AFFECT, affect, quick, refused, train_words
from PIL import Image


def bomb() -> bytes:
    "A PNG of a few bytes whose header promises 100,000 x 100,000 pixels."
    def chunk(kind: bytes, body: bytes) -> bytes: return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)) + chunk(b"IEND", b"")


@pytest.fixture(scope="module")
def face(data) -> Image.Image:
    return Image.open(data / "pictures" / "00.png").convert("RGB")


@pytest.fixture(scope="module")
def bad(tmp_path_factory, face):
    "Pictures that cannot be read, with a part of what must be said."
    folder = tmp_path_factory.mktemp("bad")
    (folder / "empty.jpg").touch()
    (folder / "text.jpg").write_text("a shopping list")
    face.save(folder / "true.png")
    (folder / "false.jpg").write_bytes((folder / "true.png").read_bytes())
    (folder / "half.png").write_bytes((folder / "true.png").read_bytes()[:700])
    (folder / "bomb.png").write_bytes(bomb())
    (folder / "true.png").unlink()
    return {folder / "missing.jpg": "no such file", folder / "empty.jpg": "zero bytes", folder / "text.jpg": "not a picture",
            folder / "false.jpg": "false extension", folder / "half.png": "cannot be read", folder / "bomb.png": "too large"}


def test_bad_pictures_among_good_ones(run, data, bad):
    good = sorted((data / "pictures").iterdir())[:2]
    started = time.monotonic()
    said = affect("predict", run, good[0], *bad, good[1], "--json", "--whole")
    lines = said.err.splitlines()
    assert said.status == 2 and [json.loads(line)["image"] for line in said.out.splitlines()] == [str(p) for p in good]
    assert len(lines) == len(bad)
    for line, (path, reason) in zip(lines, bad.items()):
        assert line.startswith(f"affect: error: {path}: ") and reason in line, line
    assert time.monotonic() - started < 60


def test_a_bad_picture_alone(run, bad, tmp_path):
    for path, reason in list(bad.items())[:2]: refused(quick("predict", run, path), str(path), reason)
    refused(quick("explain", run, next(iter(bad)), "--out", tmp_path / "a.png"), "no such file")
    assert not list(tmp_path.iterdir())


def test_all_kinds_of_pixels_are_taken(run, face, tmp_path):
    face.save(tmp_path / "0.png")
    face.convert("L").save(tmp_path / "1_grey.png")
    Image.fromarray(np.asarray(face.convert("L")).astype(np.uint16) * 257).save(tmp_path / "2_sixteen.png")
    face.convert("CMYK").save(tmp_path / "3_cmyk.tif")
    face.convert("RGBA").save(tmp_path / "4_alpha.png")
    face.convert("P", palette=Image.Palette.ADAPTIVE).save(tmp_path / "5_palette.png")
    said = quick("predict", run, tmp_path, "--json", "--whole")
    told = [json.loads(line) for line in said.out.splitlines()]
    assert said.status == 0 and said.err == "" and len(told) == 6
    answers = [[t["valence"], t["action_units"]["AU12"]] for t in told]
    np.testing.assert_allclose(answers[2], answers[1], atol=1e-4)  # 16 bits of grey are the grey
    np.testing.assert_allclose(answers[3], answers[0], atol=.1)  # CMYK gives the colours back, nearly
    np.testing.assert_allclose(answers[4], answers[0], atol=1e-6)  # an opaque alpha channel changes nothing


def test_exif_rotation_is_honoured(run, data, tmp_path):
    upright = np.asarray(Image.open(data / "pictures" / "01.png"))
    exif = Image.Exif()
    exif[274] = 6  # the camera was held so that the stored picture has to be turned clockwise
    Image.fromarray(upright).save(tmp_path / "a.png")
    Image.fromarray(np.ascontiguousarray(np.rot90(upright))).save(tmp_path / "b.png", exif=exif)
    Image.fromarray(np.ascontiguousarray(np.rot90(upright))).save(tmp_path / "c.png")
    a, b, c = [json.loads(line) for line in quick("predict", run, tmp_path, "--json", "--whole").out.splitlines()]
    assert {**a, "image": ""} == {**b, "image": ""} and a["valence"] != c["valence"]


def test_folder_without_pictures(run, tmp_path):
    (tmp_path / "notes.txt").write_text("no picture")
    refused(quick("predict", run, tmp_path), str(tmp_path), "without pictures")
    refused(quick("train", "--data", tmp_path, "--out", tmp_path / "run"), str(tmp_path), "no pictures")
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]


def test_a_folder_that_is_no_run(data, tmp_path):
    picture = data / "pictures" / "00.png"
    refused(quick("predict", data, picture), str(data), "is no run")
    refused(quick("evaluate", tmp_path / "nowhere", "--data", data), "nowhere", "no such run folder")
    refused(quick("explain", picture, picture, "--out", tmp_path / "a.png"), str(picture), "is no folder")
    assert not list(tmp_path.iterdir())


def damaged(run, tmp_path, change):
    "A copy of the run with something done to it."
    shutil.rmtree(tmp_path / "copy", ignore_errors=True)
    copy = shutil.copytree(run, tmp_path / "copy")
    change(copy)
    return copy


def test_weights_that_do_not_fit(run, data, tmp_path):
    def other_trunk(copy):
        manifest = json.loads((copy / "manifest.json").read_text())
        manifest["network"]["trunk"]["widths"][-1] *= 2
        (copy / "manifest.json").write_text(json.dumps(manifest))
    def cut(copy): (copy / "model.safetensors").write_bytes((copy / "model.safetensors").read_bytes()[:5000])
    def gone(copy): (copy / "model.safetensors").unlink()
    def no_json(copy): (copy / "manifest.json").write_text("{")
    def no_size(copy): (copy / "manifest.json").write_text(json.dumps({**json.loads((copy / "manifest.json").read_text()), "recipe": {}}))
    cases = {other_trunk: "weights are of another network", cut: "damaged", gone: "no such file", no_json: "JSON", no_size: "size"}
    for change, reason in cases.items():
        said = quick("predict", damaged(run, tmp_path, change), data / "pictures" / "00.png", "--json", "--whole")
        refused(said, reason)


def test_unknown_names_get_their_neighbours(run, data, tmp_path):
    picture = data / "pictures" / "00.png"
    refused(quick("explain", run, picture, "--column", "AU13", "--out", tmp_path / "a.png"), "AU13", "AU12")
    refused(quick("explain", run, picture, "--column", "hapiness", "--out", tmp_path / "a.png"), "happiness")
    refused(quick("evaluate", run, "--whole", "--data", data, "--split", "tset"), "tset", "test")
    refused(quick("explain", run, picture, "--method", "grad_cams", "--out", tmp_path / "a.png"), "grad_cam")
    assert not list(tmp_path.iterdir())


def test_output_that_cannot_be_written_is_told_before_the_work(run, data, tmp_path):
    (tmp_path / "file").write_text("in the way")
    below, picture = tmp_path / "file" / "below", data / "pictures" / "00.png"
    started = time.monotonic()
    refused(affect("demo", "--out", below), str(below), "cannot be written")
    refused(quick("demo", "--out", tmp_path / "file"), "file")
    refused(quick(*train_words(data, below, epochs=10_000)), str(below), "cannot be written")
    refused(quick("explain", run, picture, "--whole", "--out", below / "a.png"), str(below), "cannot be written")
    refused(quick("explain", run, picture, "--whole", "--out", tmp_path / "a.docx"), "a.docx", "png")
    refused(quick("explain", run, picture, "--whole", "--out", tmp_path), "is a folder")
    assert time.monotonic() - started < 120
    assert [p.name for p in tmp_path.iterdir()] == ["file"] and (tmp_path / "file").read_text() == "in the way"


def test_a_run_is_never_overwritten(run, data):
    before = (run / "model.safetensors").read_bytes()
    refused(quick(*train_words(data, run)), str(run), "not empty")
    assert (run / "model.safetensors").read_bytes() == before


@pytest.mark.parametrize("words", [["--model", "mtanett"], ["--preset", "papre"], ["--trunk", "tinny"], ["--weighting", "learnt"], ["--precision", "half"], ["--lr", "-1"]])
def test_choices_that_make_no_sense(data, tmp_path, words):
    refused(quick("train", "--data", data, "--out", tmp_path / "run", *words), words[0].strip("-"))
    assert not list(tmp_path.iterdir())


def test_folders_whose_table_cannot_be_used(data, tmp_path):
    lines = (data / "labels.csv").read_text().splitlines()
    folder = shutil.copytree(data, tmp_path / "folder")
    for name, table in {"no image": ["picture,split", "a.png,train"], "split": [line.replace(",validation,", ",train,") for line in lines],
                        "none of its": [line.replace("pictures/", "nowhere/") for line in lines]}.items():
        (folder / "labels.csv").write_text("\n".join(table) + "\n")
        said = quick(*train_words(folder, tmp_path / "run"))
        assert said.status == 2 and said.err.splitlines()[-1].startswith("affect: error: ") and "Traceback" not in said.err, said
        assert not (tmp_path / "run").exists(), name


def broken_off(data, out, how):
    "A long training, stopped after its second epoch: its exit status and standard error."
    words = [AFFECT, *map(str, train_words(data, out, epochs=10_000))]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not (out / "history.csv").exists() or len((out / "history.csv").read_text().splitlines()) < 3:
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()
        time.sleep(.02)
    process.send_signal(how)
    _, err = process.communicate(timeout=60)
    return process.returncode, err


def test_ctrl_c_keeps_what_was_finished(data, tmp_path):
    status, err = broken_off(data, tmp_path / "run", signal.SIGINT)
    last = err.splitlines()[-1]
    assert status == 130 and "Traceback" not in err and last.startswith("affect: interrupted: ") and str(tmp_path / "run") in last
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    history = pd.read_csv(tmp_path / "run" / "history.csv")
    assert manifest["training"]["interrupted"] and len(history) == manifest["training"]["epochs"] >= 2
    assert quick("evaluate", tmp_path / "run", "--whole", "--data", data, "--json").status == 0
    assert sorted(p.name for p in (tmp_path / "run").iterdir()) == ["history.csv", "manifest.json", "model.safetensors", "rows.csv.gz"]


def test_a_kill_leaves_a_readable_run(data, tmp_path):
    status, _ = broken_off(data, tmp_path / "run", signal.SIGKILL)
    assert status == -signal.SIGKILL and len(pd.read_csv(tmp_path / "run" / "history.csv")) >= 2
    said = quick("predict", tmp_path / "run", data / "pictures" / "00.png", "--json", "--whole")
    assert said.status == 0 and json.loads(said.out)["box"] is None
