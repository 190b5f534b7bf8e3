"""``sdvlm pairs``: pictures into RGB-D pairs."""
