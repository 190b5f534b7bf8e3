"""Steps are drawn the same way each time, and a batch's questions are about as long."""

from dataclasses import replace

import numpy as np
import torch
from tokenizers import Tokenizer

from sdvlm.nano.frames import NanoFrame
from sdvlm.nano.recipe import Recipe
from sdvlm.nano.sampler import Sampler, by_length


def test_a_step_is_the_same_whenever_it_is_drawn(frames: list[NanoFrame], tokenizer: Tokenizer) -> None:
    recipe = replace(Recipe(), pictures=3, questions=4, buckets=2)
    once, again = Sampler(frames, tokenizer, recipe, 2), Sampler(frames, tokenizer, recipe, 2)
    again.draw(0)
    first, second, other = once.draw(5), again.draw(5), once.draw(6)
    assert first.indices == second.indices
    assert torch.equal(first.planes, second.planes)
    assert all(torch.equal(a.ids, b.ids) for a, b in zip(first.batches, second.batches, strict=True))
    assert not all(
        a.ids.shape == b.ids.shape and torch.equal(a.ids, b.ids)
        for a, b in zip(first.batches, other.batches, strict=True)
    )


def test_every_batch_asks_as_many_questions_of_every_picture(frames: list[NanoFrame], tokenizer: Tokenizer) -> None:
    recipe = replace(Recipe(), pictures=3, questions=6, buckets=3)
    drawn = Sampler(frames, tokenizer, recipe, 2).draw(0)
    assert [len(rows.ids) for rows in drawn.batches] == [3 * 2] * 3


def test_questions_of_a_batch_are_about_as_long(frames: list[NanoFrame], tokenizer: Tokenizer) -> None:
    """The same questions dealt to batches at random would need more padding."""
    recipe = replace(Recipe(), pictures=4, questions=8, buckets=8, invented_names=0.0, scaled_depth=0.0)
    sampler, pad = Sampler(frames, tokenizer, recipe, 2), tokenizer.token_to_id("<pad>")
    rng = np.random.default_rng(0)
    ours = theirs = 0
    for step in range(8):
        batches = sampler.draw(step).batches
        lengths = np.concatenate([(rows.ids != pad).sum(1).numpy() for rows in batches])
        ours += sum(rows.ids.numel() for rows in batches)
        theirs += sum(part.max() * len(part) for part in np.split(rng.permutation(lengths), len(batches)))
    assert ours < 0.9 * theirs


def test_a_frames_questions_are_ordered_by_their_tokens(frames: list[NanoFrame], tokenizer: Tokenizer) -> None:
    for frame in frames:
        ordered = by_length(frame, tokenizer)
        counts = [len(tokenizer.encode(f"{one['question']} {one['answer']}").ids) for one in ordered]
        assert counts == sorted(counts)
        assert sorted(one["question"] for one in ordered) == sorted(one["question"] for one in frame.questions)


def test_a_picture_whose_questions_cannot_be_scaled_is_shown_as_it_is(
    frames: list[NanoFrame], tokenizer: Tokenizer
) -> None:
    asked = tuple({**one, "question": f"{one['question']} Is that half a meter?"} for one in frames[0].questions)
    still = [replace(frames[0], questions=asked)]
    recipe = replace(Recipe(), pictures=2, questions=4, buckets=2, depth_dropout=0.0, scaled_depth=1.0, noisy_depth=0.0)
    drawn = Sampler(still, tokenizer, recipe, 2).draw(0)
    assert [len(rows.ids) for rows in drawn.batches] == [2 * 2] * 2
    assert torch.equal(drawn.depth[0], torch.from_numpy(frames[0].depth))
