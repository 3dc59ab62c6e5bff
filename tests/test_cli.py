"""The commands do what their help says, and speak on the right channel."""
import json
import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from command import AFFECT, affect, quick, refused, train_words
from matplotlib import cbook
from PIL import Image

COMMANDS = ("demo", "train", "evaluate", "predict", "explain")
MADE = {"report.html", "metrics.json", "manifest.json", "history.csv", "rows.csv.gz", "model.safetensors", "learning.png", "saliency.png"}


def start(*words, **options):
    "A command that goes on while the test does something else."
    return subprocess.Popen([AFFECT, *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


def until(condition, process, seconds=120):
    "Wait until something is true; fail when the process ends before."
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(.02)


# help

@pytest.mark.parametrize("command", COMMANDS)
def test_help_says_what_is_needed_and_shows_an_example(command):
    said = quick(command, "--help")
    assert said.status == 0 and said.err == ""
    assert "Needs" in said.out and re.search(rf"Example: affect {command}", said.out)


def test_help_names_every_command_and_does_not_wait_for_torch():
    said = affect("--help")
    assert said.status == 0 and all(re.search(rf"^  {command} ", said.out, re.M) for command in COMMANDS)
    heavy = "import sys, affect_nbdev.cli; print([m for m in ('torch', 'pandas', 'matplotlib', 'numpy') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", heavy], capture_output=True, text=True).stdout.strip() == "[]"


# demo

@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    "The quick demo, once: its folder, what it said, the seconds of both cores and the mebibytes it took."
    folder = tmp_path_factory.mktemp("demo")
    with open(folder / "out", "w+") as out, open(folder / "err", "w+") as err:
        process = subprocess.Popen([AFFECT, "demo", "--quick", "--out", folder / "made"], stdout=out, stderr=err)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    texts = [(folder / name).read_text() for name in ("out", "err")]
    assert process.returncode == 0, texts[1]
    return folder / "made", *texts, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def test_demo_writes_everything_and_ends_with_a_table_and_the_report(demo):
    folder, out, err, *_ = demo
    assert {p.name for p in folder.iterdir()} == MADE
    assert out.rstrip().endswith(f"report: {folder / 'report.html'}") and "constant" in out and len(out.splitlines()) < 12
    assert "epoch" in err and "epoch" not in out  # the bar is no result


def test_demo_costs_what_it_may(demo):
    *_, seconds, mebibytes = demo
    assert seconds < 120, f"{seconds:.0f} s of processor time is more than a minute on two cores"
    assert mebibytes < 2048


def test_demo_metrics_have_every_key_and_beat_the_constant(demo):
    metrics = json.loads((demo[0] / "metrics.json").read_text())
    for scores in (metrics, metrics["baseline"]):
        for head in ("valence", "arousal"): assert {"ccc", "rmse", "pcc", "sagr"} <= set(scores[head])
        assert {"f1_macro", "accuracy", "f1"} <= set(scores["expression"]) and len(scores["expression"]["f1"]) == 8
        assert len(scores["action_units"]["f1"]) == 12 and "AU12" in scores["action_units"]["f1"]
    assert metrics["split"] == "test" and metrics["n"] > 0
    assert metrics["valence"]["ccc"] >= .6
    assert metrics["action_units"]["f1_macro"] > metrics["baseline"]["action_units"]["f1_macro"] + .1


def test_demo_report_needs_nothing_else(demo):
    page = (demo[0] / "report.html").read_text(encoding="utf-8")
    bare = re.sub(r"data:image/png;base64,[A-Za-z0-9+/=]+", "", page)
    assert not re.search(r"https?:|src=\"(?!\")|url\(|<script|<link|@import", bare)
    assert "drawn by this package" in page and "human rating" in page and "affect demo --quick --seed 0" in page
    assert page.count("<img") >= 10 and str(demo[0].parent) not in page


def test_demo_manifest_repeats_the_run(demo):
    manifest = json.loads((demo[0] / "manifest.json").read_text())
    assert manifest["seed"] == 0 and manifest["command"] == "affect demo" and manifest["seconds"] > 0
    assert manifest["versions"]["torch"] and manifest["data"]["test"]["digest"] and manifest["label_space"]["expressions"]


def test_interrupted_second_demo_leaves_the_first(demo):
    folder = demo[0]
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    aside = folder.with_name(folder.name + ".unfinished")
    process = start("demo", "--quick", "--seed", 1, "--out", folder)
    until(lambda: (aside / "history.csv").exists(), process)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130 and "Traceback" not in err and out == ""
    assert err.splitlines()[-1].startswith("affect: interrupted: ") and str(aside) in err.splitlines()[-1]
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before
    assert quick("evaluate", aside, "--data", "drawn", "--split", "nowhere").status == 2


def test_demo_never_touches_what_is_not_a_demo(tmp_path, run):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.tex").write_text("Introduction")
    refused(quick("demo", "--out", tmp_path / "thesis"), "thesis", "chapter1.tex")
    refused(quick("demo", "--out", run), str(run), "a run that is no demo")
    assert [p.name for p in tmp_path.iterdir()] == ["thesis"] and (run / "model.safetensors").exists()


# train and evaluate

def test_train_leaves_a_run_that_learnt_something(run):
    assert {p.name for p in run.iterdir()} == {"model.safetensors", "manifest.json", "history.csv", "metrics.json", "rows.csv.gz"}
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["split"] == "test" and metrics["n"] == 20
    assert metrics["action_units"]["f1_macro"] > metrics["baseline"]["action_units"]["f1_macro"] + .1


def test_same_seed_same_weights(data, tmp_path):
    weights = {}
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        assert quick(*train_words(data, tmp_path / name, epochs=1), "--seed", seed).status == 0
        weights[name] = (tmp_path / name / "model.safetensors").read_bytes()
    assert weights["a"] == weights["b"] != weights["c"]


def test_evaluate_repeats_the_numbers_of_the_training(data, run):
    told = quick("evaluate", run, "--whole", "--data", data, "--json")
    again, first = json.loads(told.out), json.loads((run / "metrics.json").read_text())
    assert told.status == 0 and again["split"] == "test"
    for head in ("valence", "arousal"): assert again[head]["ccc"] == pytest.approx(first[head]["ccc"], abs=1e-4)
    assert again["baseline"]["valence"]["ccc"] == 0
    table = quick("evaluate", run, "--whole", "--data", data)
    assert f"{first['valence']['ccc']:.2f}" in table.out and "constant" in table.out and "AU12" in table.out


def test_two_level_goes_all_the_way(data, tmp_path):
    run = tmp_path / "run"
    words = ("--model", "two_level", "--switch", "neck=32", "--switch", "two_stages=both", "--category-epochs", 2, "--ccc-share", .5)
    said = quick(*train_words(data, run, epochs=6), *words)
    assert said.status == 0, said
    manifest = json.loads((run / "manifest.json").read_text())
    network, recipe = manifest["network"], manifest["recipe"]
    assert (network["kind"], network["neck"], network["two_stages"], network["position"]) == ("two_level", 32, "both", "residual")
    assert recipe["category_epochs"] == 2 and recipe["ccc_share"] == .5
    told, first = json.loads(quick("evaluate", run, "--whole", "--data", data, "--json").out), json.loads((run / "metrics.json").read_text())
    assert told["valence"]["ccc"] == pytest.approx(first["valence"]["ccc"], abs=1e-4)
    picture = next((data / "pictures").iterdir())
    assert {"AU1", "AU12"} == set(json.loads(quick("predict", run, picture, "--whole", "--json").out)["action_units"])
    for method in ("integrated_gradients", "grad_cam"):
        said = quick("explain", run, picture, "--whole", "--column", "valence", "--method", method, "--out", tmp_path / f"{method}.png")
        assert said.status == 0 and (tmp_path / f"{method}.png").stat().st_size > 1000, said
    refused(quick(*train_words(data, tmp_path / "other", epochs=1), "--model", "two_level", "--switch", "positions=mask"), "nearest: position")


# predict

def test_predict_json_is_one_object_a_line_in_the_order_given(run, data):
    pictures = sorted((data / "pictures").iterdir())
    said = quick("predict", run, "--json", "--whole", pictures[5], data / "pictures")
    told = [json.loads(line) for line in said.out.splitlines()]
    assert said.status == 0 and said.err == "" and [t["image"] for t in told] == [str(p) for p in [pictures[5], *pictures]]
    for t in told:
        assert list(t) == ["image", "box", "valence", "arousal", "expression", "action_units"] and t["box"] is None
        assert -1 <= t["valence"] <= 1 and sum(t["expression"].values()) == pytest.approx(1, abs=1e-5)
        assert list(t["action_units"]) == ["AU1", "AU12"] and all(0 <= p <= 1 for p in t["action_units"].values())
    assert told[0] == told[6]  # alone in its batch position or not


def test_predict_finds_the_face_of_a_photograph(run):
    hopper = cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)  # eyes near (215, 175), (290, 170), mouth (257, 245)
    said = quick("predict", run, hopper, "--json")
    box = json.loads(said.out)["box"]
    assert said.err == "" and box["x"] < 215 < 290 < box["x"] + box["width"] and box["y"] < 170 < 245 < box["y"] + box["height"]
    assert quick("predict", run, hopper).out.count("\n") == 2  # a header and a row


def test_predict_takes_a_box(run, data):
    picture = data / "pictures" / "00.png"
    told = json.loads(quick("predict", run, picture, "--json", "--box", "0,0,40,40").out)
    whole = json.loads(quick("predict", run, picture, "--json", "--whole").out)
    assert told["box"] == {"x": 0, "y": 0, "width": 40, "height": 40} and whole["box"] is None
    assert {**told, "box": None} == whole


def test_predict_into_a_pipe_that_closes_is_quiet(run, data):
    process = start("predict", run, *[data / "pictures"] * 30, "--json", "--whole")
    process.stdout.readline()
    process.stdout.close()
    err = process.stderr.read()
    assert process.wait(timeout=60) != 0 and err == ""


# explain

def test_explain_writes_a_figure(run, data, tmp_path):
    out = tmp_path / "why.png"
    said = quick("explain", run, data / "pictures" / "00.png", "--whole", "--column", "AU12", "--column", "valence", "--out", out)
    assert said == (0, f"{out}\n", "") and [p.name for p in tmp_path.iterdir()] == ["why.png"]
    with Image.open(out) as figure: assert min(figure.size) > 200 and np.asarray(figure).std() > 10
    said = quick("explain", run, data / "pictures" / "00.png", "--whole", "--method", "grad_cam", "--out", tmp_path / "all.svg")
    assert said.status == 0 and "happiness" in (tmp_path / "all.svg").read_text()
