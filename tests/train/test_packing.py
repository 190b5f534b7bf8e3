"""Packing: what is learned from a packed row is what is learned from its dialogues alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sdvlm.models.conversation import Tokens
from sdvlm.train.config import TrainConfig
from sdvlm.train.encode import ExampleEncoder
from sdvlm.train.forward import answer_losses, attention_of
from sdvlm.train.packing import block_mask, flex_block_mask, pack, places, stack_rows

from .conftest import picture_example, text_example, with_fusion

IMAGE = 99


def tokens(shared, own, answer, learned=None):
    ids = (*shared, *own, *answer)
    return Tokens(ids, (False,) * (len(shared) + len(own)) + (True,) * len(answer) if learned is None else learned)


def losses_and_gradients(model, encoder, examples):
    model.zero_grad()
    batch = encoder(examples)
    losses, _ = answer_losses(model, model.vlm, batch)
    losses.sum().backward()
    gradients = {name: one.grad.clone() for name, one in model.named_parameters() if one.grad is not None}
    return losses.detach(), gradients, batch


def worst(found, wanted):
    """Largest relative error of any parameter's gradient.

    A hundred-thousandth of the whole gradient is rounding: so small is that of a key's bias, which changes no softmax.
    """
    least = 1e-5 * torch.cat([one.flatten() for one in wanted.values()]).norm()
    return max(float((found[name] - one).norm() / one.norm().clamp(min=least)) for name, one in wanted.items())


EXAMPLES = {
    "several pictures with as many questions": lambda: [picture_example(0, 4), picture_example(1, 3, size=(56, 90))],
    "one question": lambda: [picture_example(0, 1)],
    "a picture without depth beside one with it": lambda: [picture_example(0, 3), picture_example(2, 2, depth=False)],
    "a text beside a picture": lambda: [picture_example(0, 3), text_example(1)],
    "texts alone": lambda: [text_example(0), text_example(1)],
}


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("name", EXAMPLES)
def test_loss_and_every_gradient_equal_those_of_separate_rows(family, name, side):
    model, processor = with_fusion(family)
    examples = EXAMPLES[name]()
    packed, gradients, _ = losses_and_gradients(model, ExampleEncoder(processor, TrainConfig(), True, side), examples)
    alone, wanted, _ = losses_and_gradients(model, ExampleEncoder(processor, TrainConfig(), False, "right"), examples)
    assert len(packed) == len(alone) > 0
    assert packed.sort().values.tolist() == pytest.approx(alone.sort().values.tolist(), rel=1e-4)
    assert gradients.keys() == wanted.keys()
    assert worst(gradients, wanted) < 1e-4


@pytest.mark.parametrize("fusion", ["gated", "concat", "depth_token", "adapter"])
def test_so_they_do_where_the_fusion_learns_too(family, fusion):
    model, processor = with_fusion(family, fusion)
    with torch.no_grad():
        for parameter in model.fusion.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=torch.manual_seed(1)) * 0.05)
    examples = [picture_example(0, 3), picture_example(1, 2)]
    _, gradients, _ = losses_and_gradients(model, ExampleEncoder(processor, TrainConfig(), True), examples)
    _, wanted, _ = losses_and_gradients(model, ExampleEncoder(processor, TrainConfig(), False), examples)
    assert any(key.startswith("fusion.") for key in wanted)
    assert worst(gradients, wanted) < 1e-4


def test_a_picture_with_more_than_the_budget_takes_several_rows_with_the_same_loss(family):
    model, processor = with_fusion(family)
    examples = [picture_example(0, 5)]
    whole, wanted, one_row = losses_and_gradients(model, ExampleEncoder(processor, TrainConfig(), True), examples)
    budget = max(len(row.row.ids) for row in ExampleEncoder(processor, TrainConfig(), False).rows(examples[0])) + 20
    tight = TrainConfig(max_tokens=budget)
    cut, gradients, rows = losses_and_gradients(model, ExampleEncoder(processor, tight, True), examples)
    assert len(rows["labels"]) > len(one_row["labels"]) == 1
    assert rows["input_ids"].shape[1] <= budget
    assert cut.sort().values.tolist() == pytest.approx(whole.sort().values.tolist(), rel=1e-4)
    assert worst(gradients, wanted) < 1e-4


def test_the_mask_is_the_rule_written_out():
    segments = torch.tensor([[-1, 0, 0, 1, 1, 2, 2, 2], [0, 0, 0, 0, 1, 2, -1, -1]])
    found = block_mask(segments)[:, 0]
    for row, own in enumerate(segments.tolist()):
        for query, mine in enumerate(own):
            for key, theirs in enumerate(own):
                seen = theirs != -1 and key <= query and theirs in (0, mine)
                assert bool(found[row, query, key]) == (seen or query == key), (row, query, key)


def test_the_block_mask_of_flex_attention_says_the_same():
    segments = torch.tensor([[0] * 100 + [1] * 60 + [2] * 70 + [-1] * 26, [-1] * 20 + [0] * 200 + [1] * 36])
    mask = flex_block_mask(segments)
    rows, _, length, _ = mask.shape
    index = torch.arange(length)
    for row in range(rows):
        found = mask.mask_mod(torch.tensor(row), torch.tensor(0), index[:, None], index[None, :])
        assert torch.equal(found, block_mask(segments)[row, 0])


def test_flex_attention_gives_the_same_losses(tiny_families):
    model, processor = with_fusion(tiny_families["llava"])
    batch = ExampleEncoder(processor, TrainConfig(), True)([picture_example(0, 4), picture_example(1, 2)])
    with torch.no_grad():
        wanted, _ = answer_losses(model, model.vlm, batch)
        model.vlm.get_decoder().set_attn_implementation("flex_attention")
        assert type(attention_of(model.vlm, batch["segments"])).__name__ == "BlockMask"
        found, _ = answer_losses(model, model.vlm, batch)
    assert found.tolist() == pytest.approx(wanted.tolist(), rel=1e-4)


def test_eager_attention_gives_the_same_losses(family):
    model, processor = with_fusion(family)
    batch = ExampleEncoder(processor, TrainConfig(), True)([picture_example(0, 4), picture_example(1, 2)])
    with torch.no_grad():
        wanted, _ = answer_losses(model, model.vlm, batch)
        model.vlm.get_decoder().set_attn_implementation("eager")
        found, _ = answer_losses(model, model.vlm, batch)
    assert found.tolist() == pytest.approx(wanted.tolist(), rel=1e-4)


def test_places_go_on_where_the_prefix_ends():
    segments = torch.tensor([[-1, 0, 0, 0, 1, 1, 2, 3, 3]])
    assert places(segments).tolist() == [[0, 0, 1, 2, 3, 4, 3, 3, 4]]


def test_every_dialogue_is_in_one_row_and_rows_keep_to_the_budget():
    shared = (1, IMAGE, IMAGE, 2)
    dialogues = [tokens(shared, (10 + k, 5), (6,) * (k + 1)) for k in range(6)]
    rows = pack(dialogues, 16, IMAGE)
    assert sorted(index for row in rows for index in row.dialogues) == list(range(6))
    assert all(len(row.ids) <= 16 for row in rows)
    for row in rows:
        for number, index in enumerate(row.dialogues, start=1):
            own = [id for id, at in zip(row.ids, row.segments, strict=True) if at in (0, number)]
            assert tuple(own) == dialogues[index].ids


def test_what_is_learned_is_never_shared():
    same = tokens((1, IMAGE, 2), (3, 4), (7, 8))
    rows = pack([same, same], 100, IMAGE)
    learned = [sum(label != -100 for label in row.labels) for row in rows]
    assert sum(learned) == 4
    for row in rows:
        first = [at for at, label in enumerate(row.labels) if label != -100]
        assert all(row.segments[at] == row.segments[at - 1] for at in first)  # said by a token of its own dialogue


def test_dialogues_that_differ_before_their_picture_stay_apart():
    rows = pack([tokens((1, IMAGE), (3,), (4,)), tokens((2, IMAGE), (3,), (4,))], 100, IMAGE)
    assert [set(row.segments) for row in rows] == [{0}, {0}]


def test_padding_is_where_it_was_asked_for():
    rows = pack([tokens((1, IMAGE), (3,), (4,))], 100, IMAGE) + pack([tokens((1, IMAGE), (3, 3, 3), (4,))], 9, IMAGE)
    left, right = (stack_rows(rows, 0, side) for side in ("left", "right"))
    assert left["attention_mask"].tolist() == np.fliplr(right["attention_mask"].numpy()).tolist()
    assert left["segments"][0].tolist() == [-1, -1, 0, 0, 0, 0]
