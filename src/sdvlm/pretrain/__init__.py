"""Pre-training of a depth encoder on RGB-D pairs: objectives, measures, and the loop that joins them.

Objectives and measures are pure (tensors in, tensors or numbers out) and know nothing of files or of each other; the
loop (``run``) chooses among them.
"""
