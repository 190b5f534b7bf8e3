import re

import numpy as np
import torch
from tokenizers import Tokenizer

from sdvlm.fusion.depth_grid import CHANNELS
from sdvlm.nano.depth_changes import drop_depth, scale_depth, scale_lengths, worsen_depth
from sdvlm.nano.encode import encode_frame
from sdvlm.nano.frames import NanoFrame
from sdvlm.nano.numbers import NumberTokens


def test_every_length_in_question_and_answer_is_scaled_and_nothing_else(
    tokenizer: Tokenizer, frames: list[NanoFrame]
) -> None:
    numbers, lengths = NumberTokens(tokenizer), 0
    for frame in frames:
        for question in encode_frame(frame, tokenizer)[0]:
            scaled = scale_lengths(question, 1.25, numbers)
            text = tokenizer.decode(question.ids, skip_special_tokens=False)
            wanted = re.sub(r"(\d\.\d\d)(?= m)", lambda found: f"{round(float(found[1]) * 100 * 1.25) / 100:.2f}", text)
            if re.search(r"\d\d\.\d\d m", wanted):
                assert scaled is None
                continue
            assert tokenizer.decode(scaled.ids, skip_special_tokens=False) == wanted
            assert len(scaled.ids) == len(question.ids)
            assert scaled.mentions == question.mentions
            lengths += wanted != text
    assert lengths > 5


def test_a_scaled_grid_keeps_its_rays_and_shares(frames: list[NanoFrame]) -> None:
    packed = torch.from_numpy(frames[0].depth)
    scaled = scale_depth(packed, 2.0)
    for index, name in enumerate(CHANNELS):
        factor = 2.0 if name in ("z", "z_min", "z_max", "z_std", "x", "y") else 1.0
        torch.testing.assert_close(scaled[:, index], packed[:, index] * factor, equal_nan=True)
    x, z, ray = (scaled[:, CHANNELS.index(name)] for name in ("x", "z", "ray_x"))
    assert torch.nanquantile((x / z - ray).abs(), 0.5) < 0.05  # still the same directions


def test_dropped_depth_is_unknown_and_worse_depth_is_partly_unknown(frames: list[NanoFrame]) -> None:
    packed, valid = torch.from_numpy(frames[0].depth), CHANNELS.index("valid")
    dropped = drop_depth(packed)
    assert dropped[:, CHANNELS.index("z")].isnan().all()
    assert (dropped[:, valid] == 0).all()
    worse = worsen_depth(packed, np.random.default_rng(0))
    lost = (worse[:, valid] == 0) & (packed[:, valid] > 0)
    assert 0 < int(lost.sum()) < len(packed)
    kept = ~lost & (packed[:, valid] > 0)
    ratio = worse[kept, CHANNELS.index("z")] / packed[kept, CHANNELS.index("z")]
    assert 0.7 < float(ratio.min()) < 1 < float(ratio.max()) < 1.3
