"""Recipes: small files that say what they are, and changes to them by name."""

from __future__ import annotations

import re
from dataclasses import fields, replace

import pytest
from transformers import TrainingArguments

from sdvlm.fusion.config import FusionConfig
from sdvlm.train.arguments import training_arguments
from sdvlm.train.config import DataSettings, LearningRates, LoraSettings, TrainConfig, VarySettings
from sdvlm.train.recipe import RECIPES, config_from, mixture_part, read_recipe, recipe_names, to_yaml, with_settings
from sdvlm.types import SdvlmError


def changed(text: str, config: TrainConfig | None = None) -> TrainConfig:
    name, _, value = text.partition("=")
    return with_settings(config or TrainConfig(data=(DataSettings("a"), DataSettings("b"))), {name: value})


# ---- those that come along ----------------------------------------------------------------------------------------


def test_the_recipes_asked_for_are_there():
    assert recipe_names() == sorted(["nano-cpu", "qwen2.5-vl-3b-24gb", "qwen2.5-vl-7b", "sd-vlm-llava-1.5-7b"])


@pytest.mark.parametrize("name", recipe_names())
def test_a_recipe_opens_with_the_command_that_runs_it(name):
    first = (RECIPES / f"{name}.yaml").read_text(encoding="utf-8").splitlines()[0]
    assert re.match(rf"# sdvlm train DATA OUT --recipe {re.escape(name)}( |$)", first)


@pytest.mark.parametrize("name", recipe_names())
def test_a_recipe_holds_real_arguments_and_makes_the_global_batch_for_one_to_eight_processes(name, tmp_path):
    config = read_recipe(name)
    assert set(config.arguments) <= {one.name for one in fields(TrainingArguments)}
    on_cpu = replace(config, arguments=config.arguments | {"use_cpu": True})
    for world in (1, 2, 4, 8):
        each = config.arguments["per_device_train_batch_size"]
        if config.global_batch % (each * world):
            continue
        args = training_arguments(on_cpu, tmp_path, world)
        assert args.gradient_accumulation_steps * each * world == config.global_batch
        assert (args.report_to, args.push_to_hub) == ([], False)


def test_the_published_recipe_is_as_published():
    """SD-VLM: rank 128, alpha 256, 2e-4 and 2e-5, cosine with 3 % of warm-up, one epoch of 32."""
    config = read_recipe("sd-vlm-llava-1.5-7b")
    assert (config.lora.r, config.lora.alpha, config.global_batch) == (128, 256, 32)
    assert (config.lr.language_model, config.lr.projector, config.lr.vision_tower) == (2e-4, 2e-5, 0)
    wanted = {"num_train_epochs": 1, "lr_scheduler_type": "cosine", "warmup_steps": 0.03}
    assert {name: config.arguments[name] for name in wanted} == wanted


def test_the_help_of_the_verb_names_every_recipe():
    from sdvlm.cli.main import _load

    (option,) = [one for one in _load("train").params if one.name == "recipe"]
    assert all(name in option.help for name in recipe_names())


@pytest.mark.parametrize("name", recipe_names())
def test_a_recipe_is_read_back_as_it_is_written(name, tmp_path):
    config = read_recipe(name)
    (tmp_path / "mine.yaml").write_text(to_yaml(config), encoding="utf-8")
    assert read_recipe(tmp_path / "mine.yaml") == config


def test_a_configuration_with_everything_in_it_is_read_back(tmp_path):
    config = TrainConfig(
        model="0123", revision="7", fusion=FusionConfig.preset("concat").to_dict(), depth_encoder="no", lora=None,
        data=(DataSettings("a,b.json", "llava", "1e5", weight=0.1), DataSettings("2024-01-01", broken="stop")),
        lr=LearningRates(1e-30, 0.1 + 0.2), vary=VarySettings(1 / 3), max_pixels=501760, max_tokens=10**6,
        arguments={"learning_rate": 1e-5, "report_to": "none", "fsdp_config": {"version": 2}, "seed": 3},
    )  # fmt: skip
    (tmp_path / "mine.yaml").write_text(to_yaml(config), encoding="utf-8")
    assert read_recipe(tmp_path / "mine.yaml") == config


# ---- changes ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("global_batch=7", lambda c: c.global_batch == 7),
        ("heldout=1e-2", lambda c: c.heldout == 0.01),
        ("lr.fusion=1e-4", lambda c: c.lr.fusion == 1e-4),
        ("lr.vision_tower=0", lambda c: c.lr.vision_tower == 0.0 and isinstance(c.lr.vision_tower, float)),
        ("pack=false", lambda c: c.pack is False),
        ("cache_features=yes", lambda c: c.cache_features is True),
        ("dtype=bfloat16", lambda c: c.dtype == "bfloat16"),
        ("model=7", lambda c: c.model == "7"),
        ("model=2024-01-01", lambda c: c.model == "2024-01-01"),
        ("revision=0123456", lambda c: c.revision == "0123456"),
        ("revision=1e5", lambda c: c.revision == "1e5"),
        ("revision=null", lambda c: c.revision is None),
        ("max_pixels=501760", lambda c: c.max_pixels == 501760),
        ("max_pixels=null", lambda c: c.max_pixels is None),
        ("fusion=gated", lambda c: c.fusion == "gated"),
        ("fusion=null", lambda c: c.fusion is None),
        ("fusion={name: dpe, scale: 10}", lambda c: c.fusion == {"name": "dpe", "scale": 10}),
        ("fusion.scale=10", lambda c: c.fusion == FusionConfig.preset("dpe").to_dict() | {"scale": 10}),
        ("lora=null", lambda c: c.lora is None),
        ("lora.r=8", lambda c: c.lora == LoraSettings(8)),
        ("lora={r: 8, alpha: 16}", lambda c: c.lora == LoraSettings(8, 16)),
        ("data.weight=1/2", None),
        ("data.broken=stop", lambda c: [one.broken for one in c.data] == ["stop", "stop"]),
        ("data.1.broken=stop", lambda c: [one.broken for one in c.data] == ["skip", "stop"]),
        ("data=[{path: c, weight: 2}]", lambda c: c.data == (DataSettings("c", weight=2.0),)),
        ("arguments.max_steps=100", lambda c: c.arguments == {"max_steps": 100}),
        ("arguments.bf16=true", lambda c: c.arguments == {"bf16": True}),
        ("arguments.optim=adafactor", lambda c: c.arguments == {"optim": "adafactor"}),
        ("arguments.fsdp_config.version=2", lambda c: c.arguments == {"fsdp_config": {"version": 2}}),
    ],
)  # fmt: skip
def test_a_setting_is_changed_by_its_name(text, found):
    if found is None:
        with pytest.raises(SdvlmError, match=r"data\.weight must be a number; got '1/2'"):
            changed(text)
    else:
        assert found(changed(text))


def test_adapters_that_were_switched_off_are_switched_on_by_one_of_their_settings():
    assert changed("lora.r=8", TrainConfig(lora=None)).lora == LoraSettings(8)


def test_what_is_not_named_stays():
    config = read_recipe("nano-cpu")
    assert with_settings(config, {"lr.fusion": "0.5"}) == replace(config, lr=replace(config.lr, fusion=0.5))
    assert config == read_recipe("nano-cpu")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("speed=3", "no setting 'speed'; there are model, "),
        ("lr.head=1e-3", "no setting 'lr.head'"),
        ("lora.rank=8", "no setting 'lora.rank'"),
        ("data.2.weight=1", "no setting 'data.2.weight'"),
        ("data.weigth=1", "no setting 'data.weigth'"),
        ("model.name=x", "no setting 'model.name'"),
        ("global_batch=many", "global_batch must be a whole number; got 'many'"),
        ("global_batch=1.5", "global_batch must be a whole number; got 1.5"),
        ("global_batch=true", "global_batch must be a whole number; got True"),
        ("global_batch=0", "global_batch must be at least 1"),
        ("lr.fusion=nan", "lr.fusion must be"),
        ("lr.fusion=.nan", "lr.fusion must be"),
        ("lr=3", "lr must be a group of settings; got 3"),
        ("data=[a]", "data must be a group of settings; got 'a'"),
        ("dtype=float8", "dtype is one of auto, float32"),
        ("dtype={a: 1}", "dtype is one of auto, float32"),
        ("pack=maybe", "pack must be true or false; got 'maybe'"),
        ("arguments=[1]", "arguments must be a group of settings; got [1]"),
        ("model={a: [", "is no YAML value"),
    ],
)
def test_what_cannot_be_set_is_one_line(text, said):
    with pytest.raises(SdvlmError) as told:
        changed(text)
    assert said in str(told.value)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- a\n- b", "must hold settings"),
        ("model: [", "is no YAML"),
        ("modle: x", "no setting 'modle'; there are "),
        ("lr: {heads: 1}", "no setting 'lr.heads'"),
        ("", "must hold settings"),
        ("!!python/object/apply:os.getcwd []", "is no YAML"),
    ],
)
def test_a_file_that_is_no_recipe_is_named(text, said, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SdvlmError) as told:
        read_recipe(path)
    assert said in str(told.value)
    assert str(path) in str(told.value)
    assert "\n" not in str(told.value)


def test_an_unknown_recipe_names_those_there_are(tmp_path):
    for name in ("nano", tmp_path / "none.yaml"):
        with pytest.raises(SdvlmError, match=r"no recipe .*; there are nano-cpu, qwen"):
            read_recipe(name)


# ---- parts of the mixture -----------------------------------------------------------------------------------------


def test_a_part_of_the_mixture_is_a_path_and_settings():
    found = mixture_part("chat.json,weight=0.2,images=pictures,name=7,turns=together")
    assert found == DataSettings("chat.json", weight=0.2, images="pictures", name="7", turns="together")
    assert mixture_part("2024") == DataSettings("2024")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("chat.json,0.2", "got '0.2' in"),
        ("chat.json,share=0.2", "no setting 'share'"),
        ("chat.json,weight=much", "weight must be a number; got 'much'"),
        ("chat.json,weight=0", "data.weight must be positive"),
        ("chat.json,weight=nan", "weight must be a number"),
        ("chat.json,format=csv", "no data format 'csv'"),
    ],
)
def test_a_part_that_cannot_be_is_one_line(text, said):
    with pytest.raises(SdvlmError, match=re.escape(said)):
        mixture_part(text)


def test_settings_of_another_kind_say_where_they_are():
    with pytest.raises(SdvlmError, match=r"here: lora\.r must be a whole number; got 'x'"):
        config_from({"lora": {"r": "x"}}, "here")
