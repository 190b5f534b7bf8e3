"""Depth from files and from estimators. Importing this loads neither torch nor transformers."""

from sdvlm.depth.cache import DepthCache, estimate_cached
from sdvlm.depth.camera_file import check_camera, read_camera
from sdvlm.depth.estimator import (
    DEFAULT_ESTIMATOR,
    ESTIMATORS,
    DepthEstimate,
    DepthEstimator,
    EstimatorSpec,
    load_estimator,
)
from sdvlm.depth.frame import load_image, load_rgbd
from sdvlm.depth.io import CODECS, read_depth, write_depth
from sdvlm.depth.sparse import rasterize_points, read_points

__all__ = [
    "CODECS",
    "DEFAULT_ESTIMATOR",
    "ESTIMATORS",
    "DepthCache",
    "DepthEstimate",
    "DepthEstimator",
    "EstimatorSpec",
    "check_camera",
    "estimate_cached",
    "load_estimator",
    "load_image",
    "load_rgbd",
    "rasterize_points",
    "read_camera",
    "read_depth",
    "read_points",
    "write_depth",
]
