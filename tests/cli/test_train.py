"""``sdvlm train``: what it prints, what it leaves, and the one line for everything that cannot be."""

from __future__ import annotations

import json
import resource

import numpy as np
import pytest
from PIL import Image
from tests.train.runs import config_of, save_models, weights, write_chat

from sdvlm.depth.io import write_depth
from sdvlm.models.load import load_from
from sdvlm.train.recipe import read_recipe, to_yaml
from sdvlm.train.summary import read_summary
from sdvlm.train.trainer import DepthTrainer, last_checkpoint
from sdvlm.types import DepthKind, DepthMap


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Tiny plain models on disk, by family."""
    return save_models(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Folder of messages about pictures with depth."""
    return write_chat(tmp_path_factory.mktemp("chat"))


@pytest.fixture(scope="module", autouse=True)
def own_cache(tmp_path_factory):
    """Stores of the data, made once for all tests here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SDVLM_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def recipe(models, data, tmp_path):
    """A recipe of two steps; the data's depth has to be named with ``--set``."""
    path = tmp_path / "mine.yaml"
    path.write_text(to_yaml(config_of(models["llava"], data, steps=2)), encoding="utf-8")
    return path


@pytest.fixture
def words(recipe, data, tmp_path):
    """A command line that works."""
    return ["train", data / "chat.jsonl", tmp_path / "out", "--recipe", recipe, "--set", f"data.depth={data / 'depth'}"]


def one_line(said, code, err):
    """Bad input: exit code 2, and one line that says this."""
    errors = [line for line in err.splitlines() if line.startswith("error")]
    assert (code, len(errors)) == (2, 1), err
    assert said in errors[0], err
    assert "Traceback" not in err


def test_a_run_prints_one_document_and_leaves_a_model(words, run, run_json, tmp_path):
    document = run_json(*words)
    assert document == {"out": str(tmp_path / "out"), "resumed": None} | json.loads(
        (tmp_path / "out" / "summary.json").read_text(encoding="utf-8")
    )
    assert document["steps"] == 2
    model, _ = load_from(str(tmp_path / "out"), "cpu")
    assert model.fusion is not None
    kept = read_recipe(tmp_path / "out" / "recipe.yaml")
    assert kept.data[0].path == str(words[1])

    code, out, err = run(*words)  # again: there is nothing left to do
    assert code == 0, err
    assert "going on from checkpoint-2" in err
    assert f"sdvlm ask IMAGE QUESTION --model {tmp_path / 'out'}" in out
    one_line("holds a run with other settings (lr in recipe.yaml)", *of(run(*words, "--set", "lr.fusion=1e-5")))
    one_line("is not empty", *of(run(*words, "--no-resume")))
    one_line("holds adapters of a run", *of(run(*other_folder(words, tmp_path), "--model", tmp_path / "out")))


def of(said):
    """Exit code and stderr, nothing having been printed to stdout."""
    code, out, err = said
    assert out == ""
    return code, err


def other_folder(words, tmp_path):
    return [*words[:2], tmp_path / "other", *words[3:]]


def test_a_dry_run_shows_everything_and_trains_nothing(words, run, run_json, tmp_path):
    code, out, _ = run(*words, "--dry-run")
    assert code == 0
    for shown in ("language_model", "projector", "fusion", "frozen", "rate", "packed: yes", "<image x ", "[["):
        assert shown in out
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["dry-run.png"]
    document = run_json(*words, "--dry-run")
    assert document["facts"]["packed"] == "yes"
    assert {row["name"] for row in document["groups"]} == {"language_model", "projector", "fusion", "frozen"}
    with Image.open(document["overlay"]) as picture:
        assert picture.width > 100


def test_a_mixture_is_a_word_more(words, data, tmp_path, run_json):
    talk = [
        {"id": str(n), "conversations": [{"from": "human", "value": "Table?"}, {"from": "gpt", "value": f"Yes, {n}."}]}
        for n in range(10)
    ]
    (tmp_path / "talk.json").write_text(json.dumps(talk), encoding="utf-8")
    alone = run_json(*words, "--dry-run")["facts"]["rows an epoch"]
    mixed = run_json(
        *words[:-2],
        "--set",
        f"data.0.depth={data / 'depth'}",
        "--mix",
        f"{tmp_path / 'talk.json'},weight=0.5",
        "--dry-run",
    )
    assert mixed["facts"]["rows an epoch"] == pytest.approx(alone + 5, abs=1)


def test_settings_reach_the_run_and_one_that_never_began_is_not_in_the_way(words, run, run_json, tmp_path):
    code, _, err = run(*words, "--set", "arguments.report_to=nowhere")
    one_line("transformers refuses the arguments", code, err)
    assert (tmp_path / "out" / "recipe.yaml").is_file()
    document = run_json(
        *words, "--fusion", "dpe", "--set", "arguments.max_steps=1", "--set", "heldout=0",
        "--set", "arguments.disable_tqdm=false",
    )  # fmt: skip
    assert document["steps"] == 1
    assert document["heldout"] == {}
    kept = read_recipe(tmp_path / "out" / "recipe.yaml")
    assert (kept.fusion, kept.heldout, kept.arguments["max_steps"]) == ("dpe", 0, 1)


def test_a_picture_alone_is_trained_on_without_evaluation(words, data, tmp_path, run_json):
    """Nothing can be held out of one picture."""
    lines = (data / "chat.jsonl").read_text(encoding="utf-8").splitlines()[:3]
    (data / "one.jsonl").write_text("\n".join(lines), encoding="utf-8")
    document = run_json("train", data / "one.jsonl", *words[2:], "--set", "arguments.max_steps=1")
    assert document["heldout"] == {}


def test_the_best_checkpoint_is_what_is_left_where_that_is_asked(words, run_json, tmp_path):
    """With a learning rate that ruins the model after the first evaluation."""
    best = ["arguments.load_best_model_at_end=true", "arguments.eval_steps=1", "arguments.save_steps=1"]
    run_json(*words, *(word for one in [*best, "lr.language_model=0.5", "lr.projector=0.5"] for word in ("--set", one)))
    state = json.loads((last_checkpoint(tmp_path / "out" / "checkpoints") / "trainer_state.json").read_bytes())
    left, first = (
        weights(tmp_path / "out"),
        weights(tmp_path / "out" / "checkpoints" / f"checkpoint-{state['best_global_step']}"),
    )
    assert all(left[name].equal(one) for name, one in first.items())
    assert read_summary(tmp_path / "out").steps == 2


def test_a_full_disk_while_saving_leaves_the_last_checkpoint_to_go_on_from(words, run, run_json, tmp_path, monkeypatch):
    save = DepthTrainer._save_checkpoint
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fuller(self, *args, **kwargs):
        if self.state.global_step == 2:
            resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))  # writing fails as on a full disk
        try:
            save(self, *args, **kwargs)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    each = [*words, "--set", "arguments.save_steps=1"]
    with monkeypatch.context() as patch:
        patch.setattr(DepthTrainer, "_save_checkpoint", fuller)
        code, out, err = run(*each)
    assert code != 0
    assert out == ""
    (line,) = [line for line in err.splitlines() if line.startswith("error")]
    assert f"cannot save checkpoint-2 in {tmp_path / 'out' / 'checkpoints'}" in line
    assert "checkpoint-1 is whole" in line
    assert last_checkpoint(tmp_path / "out" / "checkpoints").name == "checkpoint-1"
    assert run_json(*each)["resumed"] == 1


# ---- bad input ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--recipe", "nano-gpu"], "no recipe 'nano-gpu'; there are nano-cpu"),
        (["--set", "speed=3"], "no setting 'speed'"),
        (["--set", "speed"], "--set wants NAME=VALUE"),
        (["--set", "arguments.max_stpes=3"], "arguments.max_stpes is no field of transformers.TrainingArguments"),
        (["--set", "arguments.optim=adam9"], "transformers refuses the arguments"),
        (["--set", "global_batch=3"], "no multiple of 1 processes times per_device_train_batch_size 2"),
        (["--fusion", "mystery"], "no fusion 'mystery'"),
        (["--fusion", "keep"], "no fusion to keep"),
        (["--model", "/no/such/folder"], "/no/such/folder"),
        (["--mix", "chat.json,share=3"], "no setting 'share'"),
        (["--mix", "/no/such.json"], "/no/such.json"),
        (["--format", "csv"], "no data format 'csv'"),
        (["--format", "msmu"], "chat.jsonl"),
        (["--workers", "2"], "are for --engine ray"),
        (["--engine", "slurm"], "--engine"),
        (["--set", "max_tokens=5"], "longer than max_tokens 5"),
        (["--set", "max_tokens=5", "--set", "too_long=stop"], "more than max_tokens 5"),
        (["--set", "lr={language_model: 0, projector: 0, fusion: 0}"], "nothing would be trained"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(words, run, tmp_path, more, said):
    one_line(said, *of(run(*words, *more)))
    assert not (tmp_path / "out").exists()


def test_no_data_and_no_model_are_told(run, words, tmp_path):
    one_line("nothing.json", *of(run("train", tmp_path / "nothing.json", *words[2:])))
    one_line("no model to start from; give --model", *of(run("train", words[1], tmp_path / "out")))


@pytest.fixture
def spoiled(data, tmp_path):
    """The data with a row without an answer and a picture that does not decode."""
    lines = [json.loads(line) for line in (data / "chat.jsonl").read_text(encoding="utf-8").splitlines()]

    def write(what):
        folder = tmp_path / "spoiled"
        folder.mkdir()
        for row in lines:
            row["images"] = [str(data / name) for name in row.get("images", ())]
        if what == "row":
            lines[4]["messages"] = lines[4]["messages"][:1]
        else:
            (folder / "half.png").write_bytes((data / "p0.png").read_bytes()[:200])
            lines[4]["images"] = [str(folder / "half.png")]
        (folder / "chat.jsonl").write_text("\n".join(json.dumps(line) for line in lines), encoding="utf-8")
        return folder / "chat.jsonl", str(data)

    return write


@pytest.mark.parametrize(("what", "named"), [("row", "chat.jsonl"), ("picture", "half.png")])
def test_what_is_broken_is_told_and_left_out_or_stops(spoiled, run, words, tmp_path, what, named):
    path, images = spoiled(what)
    start = ["train", path, tmp_path / "out", "--recipe", words[4], "--set", f"data.images={images}", "--fusion", "dpe"]
    code, out, err = run(*start, "--dry-run", "--json")
    assert code == 0, err
    assert "1 rows left out" in err
    json.loads(out)
    one_line(named, *of(run(*start, "--set", "data.broken=stop")))


def test_depth_of_another_kind_than_the_fusion_takes_and_two_kinds_in_one_mixture(words, run, data, tmp_path):
    relative = tmp_path / "relative"
    relative.mkdir()
    for index in range(12):
        values = np.random.default_rng(index).random((50, 70), np.float32)
        write_depth(relative / f"p{index}.npz", DepthMap(values, DepthKind.RELATIVE))
    chat = words[1]
    one_line("relative", *of(run(*words[:-2], "--set", f"data.depth={relative}")))
    both = f"data=[{{path: {chat}, depth: {data / 'depth'}}}, {{path: {chat}, depth: {relative}, name: other}}]"
    one_line("other", *of(run(*words[:-2], "--set", both)))
    assert not (tmp_path / "out").exists()
