import torch
from tokenizers import Tokenizer

from sdvlm.fusion.build import build_fusion
from sdvlm.fusion.depth_grid import DepthGrid
from sdvlm.nano.config import NanoConfig
from sdvlm.nano.frames import NanoFrame
from sdvlm.nano.start import TOKEN_RMS, start_tokens


def rms(values: torch.Tensor) -> float:
    return float(values.square().mean().sqrt())


def test_depth_starts_as_large_as_the_picture_whatever_the_size_of_the_features(
    vlm: torch.nn.Module, config: NanoConfig, tokenizer: Tokenizer, frames: list[NanoFrame]
) -> None:
    torch.manual_seed(0)
    fusion = build_fusion(config.fusion, config.text_width)
    features = torch.randn(len(frames), config.image_tokens, config.vision_width)
    features[..., 0] = 1000 + 300 * features[..., 0]  # one channel drowns the others
    depth = torch.stack([torch.from_numpy(frame.depth) for frame in frames])
    start_tokens(vlm, fusion, features, depth)
    with torch.no_grad():
        tokens = vlm.model.multi_modal_projector(features)
        flat, index = tokens.flatten(0, 1), torch.arange(len(frames)).repeat_interleave(config.image_tokens)
        update = fusion(flat, DepthGrid.unpack(depth.flatten(0, 1), index)) - flat
        other = features.clone()
        other[..., 1:] = torch.randn_like(other[..., 1:])
        moved = vlm.model.multi_modal_projector(other) - tokens
    assert abs(rms(tokens) / TOKEN_RMS - 1) < 0.05
    assert abs(rms(update) / TOKEN_RMS - 1) < 0.05
    assert rms(moved) > 0.5 * TOKEN_RMS  # the small channels are heard
