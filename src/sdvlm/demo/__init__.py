"""The demonstration: one procedural room, looked at and asked about."""

__all__ = ["DEFAULT_SEED", "OTHER_SCALE"]

DEFAULT_SEED = 20
"""of a room that shows much and hides little; chosen by looking at thirty"""
OTHER_SCALE = 0.6
"""how large, against the first, the room is that looks the same and is asked about again"""
