"""Shape of the embedded model: a LLaVA of a few million parameters, in stock transformers classes.

The picture is stretched to a square (no borders, no cropped edges: every token sees something); token boxes undo that.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from sdvlm.fusion.config import FusionConfig
from sdvlm.fusion.depth_channels import DepthChannels
from sdvlm.nano.tokenizer import special_id

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import LlavaForConditionalGeneration, LlavaProcessor

__all__ = ["CHAT_TEMPLATE", "PLANES", "NanoConfig", "build_processor", "build_vlm"]

CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if message['content'] is string %}{% set parts = [{'type': 'text', 'text': message['content']}] %}"
    "{% else %}{% set parts = message['content'] %}{% endif %}"
    "{% for part in parts %}{% if part['type'] == 'image' %}<image>{% endif %}{% endfor %}"
    "{{ '<' + message['role'] + '>' }}{% if message['role'] == 'assistant' %}{{ ' ' }}{% endif %}"
    "{% for part in parts %}{% if part['type'] == 'text' %}{{ part['text'] }}{% endif %}{% endfor %}"
    "{% if message['role'] == 'assistant' %}{{ eos_token }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
)
"""``<bos><image><user>question<assistant> answer<eos>``; role marks are tokens of their own, the blank before an
answer is part of what is said (``encode.ANSWER_START``)."""


PLANES = DepthChannels()
"""what the tower is shown of a depth map: log-metres and validity"""


@dataclass(frozen=True)
class NanoConfig:
    """Sizes of the embedded model."""

    image_size: int = 192
    """side of the square the picture is stretched to, in pixels"""
    patch_size: int = 16
    """side of a patch, in pixels; (image_size / patch_size) squared image tokens"""
    vision_width: int = 192
    """width of the vision tower"""
    vision_layers: int = 6
    """depth of the vision tower"""
    text_width: int = 192
    """width of the language model"""
    text_layers: int = 5
    """depth of the language model"""
    text_mlp: int = 512
    """hidden width of the language model's gated MLP"""
    heads: int = 6
    """attention heads, tower and language model alike"""
    max_positions: int = 2048
    """longest sequence in tokens"""
    fusion_name: str = "pointmap"
    """how depth enters, a preset of ``FusionConfig``: the point map, as pictures differ in focal length"""

    coordinate: str | None = None
    """what the fusion makes of metres, where it is not the preset's own"""

    early: bool = True
    """whether depth enters the tower's patch embeddings too (``fusion.early``)"""

    @property
    def grid_side(self) -> int:
        """Image tokens per row and column."""
        return self.image_size // self.patch_size

    @property
    def image_tokens(self) -> int:
        """Image tokens a picture."""
        return self.grid_side**2

    @property
    def fusion(self) -> FusionConfig:
        """Settings of the fusion."""
        preset = FusionConfig.preset(self.fusion_name)
        if self.coordinate is not None:
            preset = replace(preset, coordinate=self.coordinate)
        return preset.with_early(PLANES) if self.early else preset

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for the model card."""
        return asdict(self)


def build_vlm(config: NanoConfig, tokenizer: Tokenizer) -> LlavaForConditionalGeneration:
    """A freshly initialised LLaVA of these sizes (CLIP tower, Llama language model), float32."""
    from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

    special = {name: special_id(tokenizer, f"<{name}>") for name in ("bos", "eos", "pad", "image")}
    vision = CLIPVisionConfig(
        hidden_size=config.vision_width,
        intermediate_size=4 * config.vision_width,
        num_hidden_layers=config.vision_layers,
        num_attention_heads=config.heads,
        image_size=config.image_size,
        patch_size=config.patch_size,
        projection_dim=config.vision_width,
        hidden_act="gelu",
    )
    text = LlamaConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=config.text_width,
        intermediate_size=config.text_mlp,
        num_hidden_layers=config.text_layers,
        num_attention_heads=config.heads,
        num_key_value_heads=config.heads,
        max_position_embeddings=config.max_positions,
        tie_word_embeddings=True,
        bos_token_id=special["bos"],
        eos_token_id=special["eos"],
        pad_token_id=special["pad"],
    )
    ends: dict[str, Any] = {f"{name}_token_id": special[name] for name in ("bos", "eos", "pad")}
    llava = LlavaConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=special["image"],
        vision_feature_layer=-1,
        vision_feature_select_strategy="default",
        image_seq_length=config.image_tokens,
        tie_word_embeddings=True,
        **ends,
    )
    return LlavaForConditionalGeneration(llava)


def build_processor(config: NanoConfig, tokenizer: Tokenizer) -> LlavaProcessor:
    """The stock LLaVA processor for these sizes: stretch to the square, no crop, the nano chat template."""
    from transformers import CLIPImageProcessorPil, LlavaProcessor, PreTrainedTokenizerFast

    side = {"height": config.image_size, "width": config.image_size}
    images = CLIPImageProcessorPil(size=side, do_center_crop=False, do_convert_rgb=True)
    text = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<bos>",
        eos_token="<eos>",
        pad_token="<pad>",
        additional_special_tokens=["<image>", "<user>", "<assistant>"],
        model_max_length=config.max_positions,
        padding_side="left",
    )
    return LlavaProcessor(
        image_processor=images,
        tokenizer=text,
        patch_size=config.patch_size,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=CHAT_TEMPLATE,
    )
