"""What a checkpoint says of its depth network and prompts comes back, and nothing else is taken."""

from pathlib import Path

import pytest

from sdvlm.fusion.config import FusionConfig
from sdvlm.models.config import DepthVLMConfig
from sdvlm.models.wrapper import DepthVLM
from sdvlm.types import SdvlmError


def test_the_fields_survive_saving_and_stay_unset_where_they_are(tmp_path: Path, tiny) -> None:
    model = DepthVLM.from_vlm(tiny.model, FusionConfig.preset("sdvlm_official"))
    assert (model.config.estimator, model.config.conversation) == (None, None)
    model.config.estimator, model.config.conversation = "depth", "none"
    model.config.save_pretrained(tmp_path)
    found = DepthVLMConfig.from_pretrained(tmp_path)
    assert (found.estimator, found.conversation) == ("depth", "none")
    assert found.fusion_settings == FusionConfig.preset("sdvlm_official")


@pytest.mark.parametrize("place", ["../other", "/somewhere", "a/b", "", ".hidden"])
def test_a_depth_network_lies_within_its_checkpoint(place: str) -> None:
    with pytest.raises(SdvlmError, match="estimator must name a sub-folder of the checkpoint"):
        DepthVLMConfig(estimator=place)


def test_a_conversation_that_is_not_known_is_refused() -> None:
    with pytest.raises(SdvlmError, match="no conversation 'llama_3'; choose one of vicuna_v1, none"):
        DepthVLMConfig(conversation="llama_3")
