"""Tiny random checkpoints of every depth class, saved to disk once a session with their real image processors."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

FOV_X_DEG = 60.0
"""what the tiny Depth Pro says of every picture"""

_DINO: dict[str, Any] = {
    "model_type": "dinov2",
    "hidden_size": 16,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
    "mlp_ratio": 2,
    "image_size": 28,
    "patch_size": 14,
    "out_indices": [1, 2, 3, 4],
    "reshape_hidden_states": False,
}
_NECK: dict[str, Any] = {"neck_hidden_sizes": [8, 8, 8, 8], "fusion_hidden_size": 8}
_ASPECT_14: dict[str, Any] = {"size": {"height": 28, "width": 28}, "keep_aspect_ratio": True, "ensure_multiple_of": 14}


def _depth_anything(kind: str, max_depth: int) -> Any:
    from transformers import DepthAnythingConfig, DepthAnythingForDepthEstimation

    config = DepthAnythingConfig(
        backbone_config=dict(_DINO),
        reassemble_hidden_size=16,
        head_hidden_size=4,
        depth_estimation_type=kind,
        max_depth=max_depth,
        **_NECK,
    )
    return DepthAnythingForDepthEstimation(config)


def _prompt_depth_anything() -> Any:
    from transformers import PromptDepthAnythingConfig, PromptDepthAnythingForDepthEstimation

    config = PromptDepthAnythingConfig(
        backbone_config=dict(_DINO),
        reassemble_hidden_size=16,
        head_hidden_size=4,
        depth_estimation_type="metric",
        **_NECK,
    )
    return PromptDepthAnythingForDepthEstimation(config)


def _dpt() -> Any:
    from transformers import DPTConfig, DPTForDepthEstimation

    config = DPTConfig(
        hidden_size=16,
        num_hidden_layers=4,
        num_attention_heads=2,
        intermediate_size=32,
        image_size=32,
        patch_size=16,
        backbone_out_indices=[0, 1, 2, 3],
        **_NECK,
    )
    return DPTForDepthEstimation(config)


def _dpt_dinov2() -> Any:
    from transformers import Dinov2Config, DPTConfig, DPTForDepthEstimation

    config = DPTConfig(
        backbone_config=Dinov2Config(**{k: v for k, v in _DINO.items() if k != "model_type"}),
        hidden_size=16,
        add_projection=True,  # its layer has 256 channels whatever the config says
        use_bias_in_fusion_residual=False,
        **_NECK | {"fusion_hidden_size": 256},
    )
    return DPTForDepthEstimation(config)


def _zoedepth() -> Any:
    from transformers import ZoeDepthConfig, ZoeDepthForDepthEstimation

    beit = {
        "model_type": "beit",
        "image_size": 32,
        "num_hidden_layers": 4,
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_attention_heads": 2,
        "patch_size": 16,
        "use_relative_position_bias": True,
        "reshape_hidden_states": False,
        "out_features": ["stage1", "stage2", "stage3", "stage4"],
    }
    config = ZoeDepthConfig(
        backbone_config=beit,
        num_relative_features=4,
        bottleneck_features=8,
        num_attractors=[4, 2, 2, 1],
        bin_embedding_dim=8,
        bin_configurations=[{"n_bins": 8, "min_depth": 0.001, "max_depth": 10.0}],
        **_NECK,
    )
    return ZoeDepthForDepthEstimation(config)


def _depth_pro(fov: bool) -> Any:
    from transformers import DepthProConfig, DepthProForDepthEstimation

    dino = _DINO | {"num_hidden_layers": 3, "image_size": 16, "patch_size": 4}
    dino = {key: value for key, value in dino.items() if key not in ("out_indices", "reshape_hidden_states")}
    config = DepthProConfig(
        patch_size=16,
        fusion_hidden_size=8,
        intermediate_hook_ids=[1, 0],
        intermediate_feature_dims=[8, 8],
        scaled_images_ratios=[0.25, 0.5, 1.0],
        scaled_images_overlap_ratios=[0.0, 0.5, 0.25],
        scaled_images_feature_dims=[8, 8, 8],
        merge_padding_value=1,
        use_fov_model=fov,
        num_fov_head_layers=1,
        image_model_config=dict(dino),
        patch_model_config=dict(dino),
        fov_model_config=dict(dino),
    )
    return DepthProForDepthEstimation(config)


def _glpn() -> Any:
    from transformers import GLPNConfig, GLPNForDepthEstimation

    config = GLPNConfig(
        depths=[1, 1, 1, 1],
        hidden_sizes=[8, 8, 8, 8],
        num_attention_heads=[1, 1, 1, 1],
        mlp_ratios=[2, 2, 2, 2],
        decoder_hidden_size=8,
    )
    return GLPNForDepthEstimation(config)


def _tipsv2() -> Any:
    from transformers import Tipsv2DptConfig, Tipsv2DptForDepthEstimation

    backbone = _DINO | {"model_type": "tipsv2_vision_model", "apply_layernorm": True}
    return Tipsv2DptForDepthEstimation(Tipsv2DptConfig(backbone_config=backbone, num_depth_bins=16, **_NECK))


# name: (how to make it, what its preprocessor_config.json holds, after the released checkpoints')
CHECKPOINTS: dict[str, tuple[Callable[[], Any], dict[str, Any]]] = {
    "depth_anything_relative": (
        lambda: _depth_anything("relative", 1),
        {"image_processor_type": "DPTImageProcessor", **_ASPECT_14},
    ),
    "depth_anything_metric": (
        lambda: _depth_anything("metric", 20),
        {"image_processor_type": "DPTImageProcessor", **_ASPECT_14},
    ),
    "prompt_depth_anything": (
        _prompt_depth_anything,
        {"image_processor_type": "PromptDepthAnythingImageProcessor", **_ASPECT_14},
    ),
    "dpt": (_dpt, {"image_processor_type": "DPTImageProcessor", "size": {"height": 32, "width": 32}}),
    "dpt_dinov2": (
        _dpt_dinov2,
        {"image_processor_type": "DPTImageProcessor", "do_resize": False, "do_pad": True, "size_divisor": 14},
    ),
    "zoedepth": (
        _zoedepth,
        {
            "image_processor_type": "ZoeDepthImageProcessor",
            "size": {"height": 32, "width": 48},
            "keep_aspect_ratio": True,
            "ensure_multiple_of": 16,
        },
    ),
    "depth_pro": (
        lambda: _depth_pro(True),
        {"image_processor_type": "DepthProImageProcessor", "size": {"height": 64, "width": 64}},
    ),
    "depth_pro_without_fov": (
        lambda: _depth_pro(False),
        {"image_processor_type": "DepthProImageProcessor", "size": {"height": 64, "width": 64}},
    ),
    "glpn": (_glpn, {"image_processor_type": "GLPNImageProcessor", "size_divisor": 32}),
    "tipsv2_dpt": (
        _tipsv2,
        {"image_processor_type": "Tipsv2DptImageProcessor", "size": {"height": 28, "width": 28}},
    ),
}


def _make_lively(model: Any) -> None:
    """Random weights that give maps with some relief, where default initialisation gives almost constants."""
    import torch

    kind = model.config.model_type
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1 and parameter.shape[0] < 256 and kind != "depth_pro":
                parameter.mul_(8.0)
        if kind == "dpt":
            model.head.head[-2].bias.fill_(0.6)  # before a ReLU: keep most of the map above zero
        if kind == "depth_pro":
            model.head.layers[-2].bias.fill_(0.5)
            model.head.layers[-2].weight.mul_(3e-4)
            if model.use_fov_model:  # a random head gives no angle
                model.fov_model.head.layers[-1].weight.zero_()
                model.fov_model.head.layers[-1].bias.fill_(FOV_X_DEG)


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Path]]:
    """Folder of a tiny checkpoint by its name in ``CHECKPOINTS``, made when first asked for."""
    import torch

    made: dict[str, Path] = {}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # these models are so small that threads only wait for each other

    def folder_of(name: str) -> Path:
        if name not in made:
            with torch.random.fork_rng():
                torch.manual_seed(7)
                build, preprocessor = CHECKPOINTS[name]
                model = build()
                _make_lively(model)
            folder = tmp_path_factory.mktemp("checkpoints") / name
            model.save_pretrained(folder)
            (folder / "preprocessor_config.json").write_text(json.dumps(preprocessor))
            made[name] = folder
        return made[name]

    yield folder_of
    torch.set_num_threads(threads)
