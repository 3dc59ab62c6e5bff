"""MTANet's own preset, through the command line, for two steps of optimisation at 112 pixels."""
import json

import numpy as np
from command import affect
from PIL import Image


def faces(folder, train=160, validation=8):
    "Noise with labels: what is asked is whether the network, its losses and its optimiser run at their real size."
    rng, rows = np.random.default_rng(0), ["image,split,subject,valence,arousal,expression,AU1,AU2"]
    for i in range(train + validation):
        Image.fromarray(rng.integers(0, 255, (112, 112, 3), dtype=np.uint8)).save(folder / f"{i}.png")
        split = "train" if i < train else "validation"
        valence, arousal = rng.uniform(-1, 1, 2).round(2)
        expression = "" if i % 5 == 0 else ("neutral", "happiness")[i % 2]
        rows.append(f"{i}.png,{split},{i},{valence},{arousal},{expression},{i % 2},{i // 2 % 2}")
    (folder / "labels.csv").write_text("\n".join(rows) + "\n")
    return folder


def test_two_steps_of_the_paper_preset_at_112_pixels(tmp_path_factory, record_property):
    data, run = faces(tmp_path_factory.mktemp("faces")), tmp_path_factory.mktemp("runs") / "paper"
    said = affect("train", "--model", "mtanet", "--preset", "paper", "--epochs", 1, "--data", data, "--whole", "--out", run)
    assert said.status == 0, said
    manifest = json.loads((run / "manifest.json").read_text())
    recipe, took = manifest["recipe"], manifest["training"]
    assert (recipe["size"], recipe["batch_size"], recipe["optimiser"], recipe["weighting"]) == (112, 80, "sgd", "learned")
    assert manifest["network"]["trunk"]["blocks"] == [3, 4, 6, 3] and took["steps"] == 2
    assert 0 < took["seconds_per_step"] < took["seconds"] and took["memory"] > 1
    assert f"2 steps of {took['seconds_per_step']:.2f} s, at most {took['memory']:.1f} GiB of memory" in said.out
    record_property("measured", f"paper preset: 2 steps of 80 faces at 112 pixels, {took['seconds_per_step']:.1f} s each, at most {took['memory']:.1f} GiB")
