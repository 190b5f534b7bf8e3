"""What a ``DepthVLM`` checkpoint says about itself."""

from __future__ import annotations

import re
from typing import Any

from transformers import AutoConfig, PreTrainedConfig

from sdvlm.fusion.config import FusionConfig
from sdvlm.types import SdvlmError

__all__ = ["CONVERSATIONS", "DepthVLMConfig"]

CONVERSATIONS = ("vicuna_v1", "none")
"""prompt protocols beside the processor's own chat template: the released training template, and no template at all"""


class DepthVLMConfig(PreTrainedConfig):
    """Config of the vision-language model as it is, of the fusion, and of what else the checkpoint brings.

    Raises:
        SdvlmError: no such conversation, or an estimator that is not a plain folder name.
    """

    model_type = "sdvlm"
    sub_configs = {"vlm_config": AutoConfig}  # noqa: RUF012

    vlm_config: dict | PreTrainedConfig | None = None
    """config of the wrapped model"""
    fusion: dict | None = None
    """``FusionConfig.to_dict()``; None: the model has no way to take depth"""
    estimator: str | None = None
    """sub-folder of the checkpoint with its own depth network, a stock Hugging Face checkpoint; None: it has none"""
    conversation: str | None = None
    """one of ``CONVERSATIONS``; None: the chat template of the processor"""
    base: dict | None = None
    """of a run's folder: what its adapters belong to (``models.run_folder``); None: the weights are whole"""
    tie_word_embeddings: bool = False
    """of the wrapper itself, which ties nothing; the wrapped model keeps its own"""

    def __post_init__(self, **kwargs: Any) -> None:
        if isinstance(self.vlm_config, dict):
            self.vlm_config = AutoConfig.for_model(**self.vlm_config)
        if self.estimator is not None and not re.fullmatch(r"\w[\w.-]*", self.estimator):
            raise SdvlmError(
                f"estimator must name a sub-folder of the checkpoint, such as depth; got {self.estimator!r}"
            )
        if self.conversation is not None and self.conversation not in CONVERSATIONS:
            known = ", ".join(CONVERSATIONS)
            raise SdvlmError(f"no conversation {self.conversation!r}; choose one of {known}, or None for the template")
        super().__post_init__(**kwargs)

    @property
    def fusion_settings(self) -> FusionConfig | None:
        """The fusion's settings; None where there is no fusion."""
        return None if self.fusion is None else FusionConfig.from_dict(self.fusion)

    def get_text_config(self, *args: Any, **kwargs: Any) -> PreTrainedConfig:
        """The language model's config: what generation, loss and trainers ask for."""
        assert isinstance(self.vlm_config, PreTrainedConfig)
        text: PreTrainedConfig = self.vlm_config.get_text_config(*args, **kwargs)
        return text
