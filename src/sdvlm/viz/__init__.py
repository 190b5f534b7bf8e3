"""Pictures of what the models see: coloured depth with a scale, 3D boxes, token boxes. uint8 arrays in and out."""

from sdvlm.viz.depth import color_depth, depth_figure, depth_range
from sdvlm.viz.overlay import draw_boxes, draw_boxes_3d, draw_token_boxes

__all__ = ["color_depth", "depth_figure", "depth_range", "draw_boxes", "draw_boxes_3d", "draw_token_boxes"]
