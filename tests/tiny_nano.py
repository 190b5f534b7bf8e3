"""The smallest model of the nano kind, without depth in its tower."""

from sdvlm.nano.config import NanoConfig

TINY = NanoConfig(
    early=False,
    image_size=32,
    patch_size=8,
    vision_width=16,
    vision_layers=1,
    text_width=16,
    text_layers=1,
    text_mlp=32,
    heads=2,
)
