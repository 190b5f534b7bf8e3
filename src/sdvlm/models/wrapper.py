"""``DepthVLM``: any Hugging Face vision-language model with a sense of depth.

Depth enters between the model's own ``get_image_features`` and its own ``forward``, through ``mm_encoder_outputs``
(transformers >= 5.20): see ``models.seam``. Without depth the model is called as if the wrapper were not there.
"""

from __future__ import annotations

import inspect
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from transformers import AutoModelForImageTextToText, GenerationConfig, GenerationMixin, PreTrainedModel
from transformers.utils.generic import ModelOutput

from sdvlm.fusion.build import build_fusion
from sdvlm.fusion.config import DRAWN_OR_WORDED, ENCODED, FusionConfig
from sdvlm.models import checkpoint, seam
from sdvlm.models.adapters import check_whole
from sdvlm.models.config import DepthVLMConfig
from sdvlm.models.families import token_width
from sdvlm.types import SdvlmError

if TYPE_CHECKING:
    from sdvlm.fusion.encoder import DepthEncoder

__all__ = ["DepthVLM", "DepthVLMConfig"]


class DepthVLM(PreTrainedModel, GenerationMixin):
    """A vision-language model and a fusion, composed.

    ``vlm`` is the untouched Hugging Face model, ``fusion`` the module that brings depth to its image tokens; None where
    there is no fusion, or where depth enters by the prompt alone. Works under ``transformers.Trainer`` and
    ``peft.get_peft_model``; module paths start with ``vlm.`` or ``fusion.``.

    Args:
        config: what to build. Weights are random; see :meth:`from_vlm` and :meth:`from_pretrained`.
        vlm: a model to take as it is, in place of building one from ``config.vlm_config``.
    """

    config_class = DepthVLMConfig
    base_model_prefix = ""
    main_input_name = "input_ids"
    input_modalities = ["image", "text"]  # noqa: RUF012
    supports_gradient_checkpointing = True
    _supports_sdpa = _supports_flash_attn = _supports_flex_attn = _supports_attention_backend = True

    def __init__(self, config: DepthVLMConfig, vlm: PreTrainedModel | None = None) -> None:
        super().__init__(config)
        self.vlm: Any = vlm if vlm is not None else AutoModelForImageTextToText.from_config(config.vlm_config)
        config.vlm_config = self.vlm.config
        settings = config.fusion_settings
        self.fusion: nn.Module | None = (
            None
            if settings is None or settings.name in DRAWN_OR_WORDED
            else build_fusion(settings, token_width(self.vlm.config), self.vlm.base_model)
        )
        if hasattr(self.vlm, "accepts_loss_kwargs"):
            self.accepts_loss_kwargs = self.vlm.accepts_loss_kwargs
        self.post_init()

    @classmethod
    def from_vlm(
        cls,
        vlm: PreTrainedModel | str | PathLike[str],
        fusion: FusionConfig | str | None = "gated",
        dtype: torch.dtype | str | None = None,
        depth_encoder: DepthEncoder | str | PathLike[str] | None = None,
        **load: Any,
    ) -> DepthVLM:
        """Give a vision-language model a fusion with fresh weights.

        Args:
            vlm: a loaded model (taken, not copied), a folder or a hub id.
            fusion: settings, the name of a preset (``FusionConfig.preset``), or None for no fusion.
            dtype: of the loaded weights; the checkpoint's own if None.
            depth_encoder: a pre-trained one, or its folder, for fusions made with an encoder; None: the model's own
                tower, reading depth.
            load: further arguments of ``AutoModelForImageTextToText.from_pretrained``: device_map, revision, ...

        Raises:
            SdvlmError: the model cannot be loaded, or lacks the seam that depth enters through.
        """
        if not isinstance(vlm, PreTrainedModel):
            vlm = checkpoint.load_vlm(vlm, dtype=dtype, **load)
        elif dtype is not None or load:
            raise SdvlmError("dtype and loading options are for folders and hub ids; this model is loaded already")
        ways = ((vlm.base_model, "get_image_features", None), (vlm, "forward", "mm_encoder_outputs"))
        for part, method, argument in ways:
            found = getattr(part, method, None)
            if found is None or (argument and argument not in inspect.signature(found).parameters):
                raise SdvlmError(
                    f"{type(vlm).__name__} has no {argument or method}: depth has no way in; "
                    "a vision-language model of transformers >= 5.20 is wanted"
                )
        settings = FusionConfig.preset(fusion) if isinstance(fusion, str) else fusion
        encoder: Any = None
        if depth_encoder is not None:
            from sdvlm.fusion.encoder import DepthEncoder

            if settings is None or settings.name not in ENCODED:
                raise SdvlmError(f"only the fusions {' and '.join(ENCODED)} have a depth encoder; leave it out")
            encoder = depth_encoder
            if isinstance(depth_encoder, str | PathLike):
                encoder = DepthEncoder.from_pretrained(depth_encoder)
            settings = replace(settings, channels=encoder.channels.to_dict())
        config = DepthVLMConfig(fusion=None if settings is None else settings.to_dict())
        config.vlm_config = vlm.config  # afterwards: a config made around another resets its attention implementation
        model = cls(config, vlm=vlm)
        if encoder is not None:
            model.fusion.load_encoder(encoder)  # type: ignore[operator, union-attr]
        if model.fusion is not None:
            model.fusion.to(device=vlm.device, dtype=vlm.dtype)
        model.train(vlm.training)
        return model

    def init_weights(self) -> None:
        """Nothing: the model and the fusion have set their own weights, and a fusion's zeros must stay zeros."""

    def _init_weights(self, module: nn.Module) -> None:
        """Nothing, for the same reason; the wrapped model still refills the buffers it does not save."""

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        pixel_values: Tensor | None = None,
        image_grid_thw: Tensor | None = None,
        image_sizes: Tensor | None = None,
        mm_token_type_ids: Tensor | None = None,
        depth_grid: Tensor | None = None,
        depth_pixels: Tensor | None = None,
        depth_pictures: Tensor | None = None,
        image_keep: Tensor | None = None,
        depth_grid_videos: Tensor | None = None,
        labels: Tensor | None = None,
        **kwargs: Any,
    ) -> Any:
        """One pass, as the wrapped model's own: logits, ``loss`` where there are ``labels``, its output class.

        Args:
            depth_grid: (T, C) float32, ``DepthGrid.pack`` for all image tokens of the batch in order; None is the
                wrapped model, bit for bit.
            depth_pixels: the depth maps as the vision tower reads them, for fusions that do.
            depth_pictures: (P,) bool, picture slots of the prompts that are for depth, where the fusion fills such.
            image_keep: (T,) bool, False for image tokens whose picture content is hidden, in training.
            depth_grid_videos: (V, C) float32, the same as ``depth_grid`` for all video tokens of the batch.
            kwargs: and the named ones: handed to the wrapped model.

        Raises:
            SdvlmError: depth without pictures or videos, a depth grid of the wrong length, or a missing image grid.
        """
        named = {
            "input_ids": input_ids,
            "attention_mask": attention_mask,
            "pixel_values": pixel_values,
            "image_grid_thw": image_grid_thw,
            "image_sizes": image_sizes,
            "mm_token_type_ids": mm_token_type_ids,
            "labels": labels,
        }
        inputs = kwargs | {name: value for name, value in named.items() if value is not None}
        return self.vlm(**self.seam(inputs, depth_grid, depth_pixels, depth_pictures, image_keep, depth_grid_videos))

    @torch.no_grad()
    def generate(  # type: ignore[override]
        self,
        inputs: Tensor | None = None,
        depth_grid: Tensor | None = None,
        depth_pixels: Tensor | None = None,
        depth_pictures: Tensor | None = None,
        depth_grid_videos: Tensor | None = None,
        **kwargs: Any,
    ) -> Any:
        """The wrapped model's ``generate``, with depth. Arguments as there; for those of depth see :meth:`forward`."""
        if inputs is not None:
            kwargs["input_ids"] = inputs
        depth = {"depth_pixels": depth_pixels, "depth_pictures": depth_pictures, "depth_grid_videos": depth_grid_videos}
        return self.vlm.generate(**self.seam(kwargs, depth_grid, **depth))

    def seam(
        self,
        inputs: dict[str, Any],
        depth_grid: Tensor | None,
        depth_pixels: Tensor | None = None,
        depth_pictures: Tensor | None = None,
        image_keep: Tensor | None = None,
        depth_grid_videos: Tensor | None = None,
    ) -> dict[str, Any]:
        """The wrapped model's inputs with pixels and depth replaced by fused features of pictures and videos.

        Args:
            inputs: of the wrapped model.
            depth_grid, depth_pixels, depth_pictures, image_keep, depth_grid_videos: see :meth:`forward`; ``inputs``
                stay as they are without a grid.

        Raises:
            SdvlmError: see :meth:`forward`.
        """
        seam.check_positions(self.vlm, inputs)
        if depth_grid is None and depth_grid_videos is None:
            return inputs
        fusion, settings = self._fusion()
        depth = seam.DepthInputs(depth_grid, depth_pixels, depth_pictures, image_keep, depth_grid_videos)
        return seam.fused_inputs(self.vlm, fusion, settings, inputs, depth)

    def fuse(self, features: ModelOutput, depth_grid: Tensor) -> ModelOutput:
        """Depth into the output of ``get_image_features``, for fusions of pooled depth: ``seam.fuse``."""
        fusion, settings = self._fusion()
        return seam.fuse(self.vlm.base_model, fusion, settings, features, seam.DepthInputs(depth_grid))

    def _fusion(self) -> tuple[nn.Module, FusionConfig]:
        """The fusion and its settings.

        Raises:
            SdvlmError: there is none that takes depth here.
        """
        settings = self.config.fusion_settings
        if settings is None:
            raise SdvlmError("this model has no fusion, so it cannot take depth; make one with DepthVLM.from_vlm(...)")
        if self.fusion is None:
            raise SdvlmError(
                f"the fusion '{settings.name}' puts depth into the prompt, so the model takes no depth_grid"
            )
        return self.fusion, settings

    @property
    def generation_config(self) -> GenerationConfig:
        """The wrapped model's: there is one, and it is saved and loaded with the model."""
        config: GenerationConfig = self.vlm.generation_config
        return config

    @generation_config.setter
    def generation_config(self, value: GenerationConfig) -> None:
        if "vlm" in self._modules:  # the base class sets a default before there is a model
            self.vlm.generation_config = value

    def get_input_embeddings(self) -> nn.Module:
        """The wrapped model's."""
        embeddings: nn.Module = self.vlm.get_input_embeddings()
        return embeddings

    def set_input_embeddings(self, value: nn.Module) -> None:
        """The wrapped model's."""
        self.vlm.set_input_embeddings(value)

    def get_output_embeddings(self) -> nn.Module:
        """The wrapped model's."""
        embeddings: nn.Module = self.vlm.get_output_embeddings()
        return embeddings

    def set_output_embeddings(self, value: nn.Module) -> None:
        """The wrapped model's."""
        self.vlm.set_output_embeddings(value)

    def prepare_inputs_for_generation(self, *args: Any, **kwargs: Any) -> Any:
        """The wrapped model's; only libraries that look for it call it, as :meth:`generate` hands everything over."""
        return self.vlm.prepare_inputs_for_generation(*args, **kwargs)

    def save_pretrained(self, save_directory: str | PathLike[str], *args: Any, **kwargs: Any) -> None:
        """Config, generation config and safetensors weights into one folder, whole or not at all.

        Arguments as in transformers. What :meth:`from_pretrained` loads.
        """
        if kwargs.get("push_to_hub"):
            kwargs.setdefault("repo_id", Path(save_directory).name)
        check_whole(self)
        with checkpoint.written_whole(save_directory) as folder:
            super().save_pretrained(folder, *args, **kwargs)

    @classmethod
    def from_pretrained(  # type: ignore[override]
        cls, folder_or_id: str | PathLike[str], *args: Any, **kwargs: Any
    ) -> DepthVLM:
        """Load what :meth:`save_pretrained` wrote, from a folder or hub id. Arguments as in transformers.

        A released SD-VLM checkpoint loads too, by ``models.official.load_official``, and what a fine-tuning run leaves,
        by ``models.run_folder.load_run``, whose arguments then hold.

        Raises:
            SdvlmError: no such folder, no config, another kind of checkpoint, a damaged file, or any weight that is
                missing, left over or of another shape.
        """
        from sdvlm.models.official import is_official, load_official
        from sdvlm.models.run_folder import is_run, load_run

        hub = {name: kwargs[name] for name in checkpoint.HUB if name in kwargs}
        if is_official(folder_or_id, **hub):
            return load_official(folder_or_id, *args, **kwargs)
        if is_run(folder_or_id, **hub):
            return load_run(folder_or_id, *args, **kwargs)
        checkpoint.check_kind(folder_or_id, DepthVLMConfig.model_type, **kwargs)
        return checkpoint.load_strictly(super().from_pretrained, folder_or_id, *args, **kwargs)  # type: ignore[no-any-return]
