"""Settings of a run are checked where they are made, and named in the message."""

import json

import pytest

from sdvlm.pretrain.config import PretrainConfig
from sdvlm.types import SdvlmError


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"objective": "clip"}, "no objective 'clip'"),
        ({"false_negatives": "drop"}, "no false_negatives"),
        ({"dtype": "float16"}, "no dtype"),
        ({"batch": 1}, "batch"),
        ({"chunk": 0}, "chunk"),
        ({"share": 0.0}, "share"),
        ({"crop": 1.5}, "crop"),
        ({"temperature": 0.0}, "temperature"),
        ({"lr": float("nan")}, "lr"),
        ({"mask_ratio": 1.0}, "mask_ratio"),
        ({"steps": 0}, "steps"),
        ({"rotate_degrees": 90.0}, "rotate_degrees"),
        ({"contrast_weight": 0.0, "reconstruction_weight": 0.0}, "nothing to learn"),
    ],
)
def test_a_setting_out_of_range_is_named(settings, named):
    with pytest.raises(SdvlmError, match=named):
        PretrainConfig(**settings)


def test_text_becomes_the_type_of_the_field():
    config = PretrainConfig().with_settings(
        {
            "steps": "200", "lr": "1", "tower_lr": "null", "centre": "false", "extras": "valid,height",
            "objective": "infonce", "rgb": "folder/7",
        }
    )  # fmt: skip
    assert (config.steps, config.lr, config.tower_lr, config.centre) == (200, 1.0, None, False)
    assert type(config.lr) is float
    assert (config.extras, config.objective, config.rgb) == (("valid", "height"), "infonce", "folder/7")
    assert PretrainConfig().with_settings({"extras": "[]"}).extras == ()


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("speed", "1", "no setting 'speed'"),
        ("steps", "many", "whole number or null"),
        ("batch", "2.5", "whole number"),
        ("centre", "1", "true or false"),
        ("objective", "clip", "no objective"),
    ],
)
def test_text_that_a_field_does_not_take_is_refused(name, text, said):
    with pytest.raises(SdvlmError, match=said):
        PretrainConfig().with_settings({name: text})


def test_pure_infonce_has_no_other_loss_whatever_the_weights():
    config = PretrainConfig(objective="infonce", reconstruction_weight=2.0, patch_weight=1.0)
    assert (config.reconstructs, config.contrasts_patches) == (0.0, 0.0)
    assert (PretrainConfig().reconstructs, PretrainConfig(patch_weight=0.5).contrasts_patches) == (1.0, 0.5)


def test_features_of_changed_pictures_are_not_cached():
    assert PretrainConfig().uses_cache
    for changed in ({"flip": 0.5}, {"crop": 0.8}, {"rotate_degrees": 5.0}, {"objective": "comae"}, {"cache": False}):
        assert not PretrainConfig(**changed).uses_cache


def test_what_only_moves_time_and_memory_does_not_decide_a_run():
    a = PretrainConfig(workers=4, chunk=8, cache_gb=1.0, rgb="a").decisive()
    assert a == PretrainConfig(rgb="b").decisive()
    assert a != PretrainConfig(temperature=0.1).decisive()
    assert json.loads(json.dumps(a)) == a
