"""Before training: the table of groups, the sample with its loss mask, and every way a batch can be wrong unsaid."""

import copy
import re

import pytest
import torch
from tests.models.llama_llava import tiny_llama_llava
from tests.train.conftest import picture_example, text_example

from sdvlm.fusion.depth_grid import CHANNELS, kind_code
from sdvlm.models.processor import DepthProcessor
from sdvlm.models.seam import check_positions
from sdvlm.models.wrapper import DepthVLM
from sdvlm.train.config import LearningRates, TrainConfig
from sdvlm.train.encode import ExampleEncoder
from sdvlm.train.example import Dialogue, Example
from sdvlm.train.group_table import module_paths
from sdvlm.train.packing import IGNORED
from sdvlm.train.preflight import FROZEN, check_batch, decoded_sample, describe_groups, marked, preflight
from sdvlm.train.trainable import prepare_groups, trained_groups
from sdvlm.types import DepthKind, SdvlmError


@pytest.fixture(params=[True, False], ids=["packed", "plain"])
def packed(request):
    return request.param


def encoded(trainee, *examples, pack=True, **others):
    return ExampleEncoder(trainee.processor, TrainConfig(), pack, **others)(examples)


def test_good_batches_pass(trainee, packed):
    for examples in ([picture_example()], [picture_example(1), picture_example(2, depth=False), text_example()]):
        check_batch(encoded(trainee, *examples, pack=packed), trainee.processor)
    check_batch(encoded(trainee, picture_example(3), picture_example(4), side="left"), trainee.processor)
    check_batch(encoded(trainee, text_example(), always_vision=True), trainee.processor)


def test_a_depth_picture_behind_each_picture_is_counted(make_trainee, packed):
    for family in ("llava", "qwen2.5-vl"):
        trainee = make_trainee(family, "concat")
        check_batch(
            encoded(trainee, picture_example(), picture_example(1, depth=False), pack=packed), trainee.processor
        )


def test_the_sample_reads_as_the_conversation_with_its_answers_marked(trainee, packed):
    example = picture_example(dialogues=2)
    batch = encoded(trainee, example, pack=packed)
    boxes = len(trainee.processor.grid.boxes((70, 50)))
    learned = []
    for row in range(len(batch["input_ids"])):
        runs = decoded_sample(batch, trainee.processor.tokenizer, row)
        text = "".join(piece for piece, _ in runs)
        assert text.count(f"<image x {boxes}>") == 1
        learned += [piece for piece, learn in runs if learn]
    eos = trainee.processor.tokenizer.eos_token
    wanted = [text for one in example.dialogues for role, text in one.turns if role == "assistant"]
    assert [one.removesuffix(eos).strip() for one in learned] == wanted
    assert all(one.endswith(eos) for one in learned)


def test_dialogues_of_a_packed_row_follow_the_prefix_each_with_its_number(trainee):
    runs = decoded_sample(encoded(trainee, picture_example(dialogues=3)), trainee.processor.tokenizer)
    text = marked(runs)
    assert re.findall(r"-- dialogue (\d) --", text) == ["1", "2", "3"]
    assert text.index("<image x") < text.index("-- dialogue 1")
    assert re.search(r"-- dialogue 3 --.*\[\[\s?2\.25 m away", text, re.S)


def test_padding_is_not_shown(trainee):
    batch = encoded(trainee, picture_example(dialogues=1), text_example(), pack=False)
    pad = trainee.processor.tokenizer.pad_token
    assert pad in trainee.processor.tokenizer.decode(batch["input_ids"][1])
    assert pad not in marked(decoded_sample(batch, trainee.processor.tokenizer, 1))


def test_an_answer_that_is_not_learned_is_refused_and_says_where(trainee, packed):
    batch = encoded(trainee, picture_example(dialogues=2), pack=packed)
    if packed:
        batch["labels"][batch["segments"] == 2] = IGNORED
        where = "dialogue 2 of row 0"
    else:
        batch["labels"][1] = IGNORED
        where = "row 1"
    with pytest.raises(SdvlmError, match=rf"nothing of {where} is learned.*1 such of 2"):
        check_batch(batch, trainee.processor)
    batch["keys"] = ["scene 3", "scene 3"]
    with pytest.raises(SdvlmError, match="scene 3 is learned"):
        check_batch(batch, trainee.processor)


def test_image_tokens_cut_by_truncation_are_counted(trainee):
    batch = encoded(trainee, picture_example(dialogues=1), pack=False)
    at = (batch["input_ids"][0] == trainee.processor.processor.image_token_id).nonzero()[0, 0]
    for name in ("input_ids", "labels", "attention_mask", "segments"):
        batch[name] = torch.cat([batch[name][:, :at], batch[name][:, at + 3 :]], dim=1)
    with pytest.raises(SdvlmError, match="3 were cut off"):
        check_batch(batch, trainee.processor)


def test_image_tokens_without_a_picture_are_refused(trainee):
    batch = encoded(trainee, picture_example(dialogues=1), pack=False)
    for name in ("pixel_values", "image_grid_thw", "depth_grid"):
        batch.pop(name, None)
    with pytest.raises(SdvlmError, match="have no picture"):
        check_batch(batch, trainee.processor)


def test_depth_of_another_number_of_tokens_is_refused(trainee):
    batch = encoded(trainee, picture_example())
    batch["depth_grid"] = batch["depth_grid"][1:]
    with pytest.raises(SdvlmError, match="depth grid has"):
        check_batch(batch, trainee.processor)


@pytest.mark.parametrize("name", ["image_grid_thw", "mm_token_type_ids"])
def test_three_axis_positions_without_what_they_are_made_from_are_refused(make_trainee, name):
    trainee = make_trainee("qwen2.5-vl")
    batch = encoded(trainee, picture_example(), pack=False)
    del batch[name]
    with pytest.raises(SdvlmError, match=f"no {name}: the model's three-axis positions"):
        check_batch(batch, trainee.processor)
    with pytest.raises(SdvlmError, match=name):  # as the model itself would say
        check_positions(trainee.model.vlm, batch)


def test_a_learned_part_of_the_prompt_is_refused(trainee, packed):
    batch = encoded(trainee, picture_example(dialogues=1), pack=packed)
    first = int((batch["labels"][0] != IGNORED).nonzero()[0, 0])
    asked = slice(first - 6, first - 4)
    batch["labels"][0, asked] = batch["input_ids"][0, asked]
    with pytest.raises(SdvlmError, match=r"the assistant is not to speak.*does not round-trip"):
        check_batch(batch, trainee.processor)


def test_shifted_labels_and_learned_pictures_are_refused(trainee):
    batch = encoded(trainee, picture_example())
    shifted = batch | {"labels": torch.roll(batch["labels"], -1, dims=1)}
    with pytest.raises(SdvlmError, match="labels are not to be shifted"):
        check_batch(shifted, trainee.processor)
    image = batch["input_ids"] == trainee.processor.processor.image_token_id
    with pytest.raises(SdvlmError, match="image tokens are learned"):
        check_batch(batch | {"labels": torch.where(image, batch["input_ids"], batch["labels"])}, trainee.processor)


def test_relative_depth_in_a_metric_fusion_is_refused(trainee):
    batch = encoded(trainee, picture_example())
    batch["depth_grid"][:, CHANNELS.index("kind")] = kind_code(DepthKind.RELATIVE)
    with pytest.raises(SdvlmError, match="relative depth but the fusion 'gated' takes metric depth"):
        check_batch(batch, trainee.processor)


def test_halved_metres_are_refused(trainee):
    batch = encoded(trainee, picture_example())
    with pytest.raises(SdvlmError, match="float32"):
        check_batch(batch | {"depth_grid": batch["depth_grid"].half()}, trainee.processor)


def test_the_table_counts_every_parameter_once(make_trainee):
    trainee = make_trainee("llava")
    config = TrainConfig(lora=None, lr=LearningRates(language_model=0.0, projector=2e-5, fusion=1e-3))
    prepare_groups(trainee.model, config)
    groups = trained_groups(trainee.model, config.lr)
    rows = {row.name: row for row in describe_groups(trainee.model, groups)}
    assert set(rows) == {"projector", "fusion", FROZEN}
    assert sum(row.parameters for row in rows.values()) == sum(p.numel() for p in trainee.model.parameters())
    projector = trainee.model.vlm.base_model.multi_modal_projector
    assert rows["projector"].parameters == sum(p.numel() for p in projector.parameters())
    assert rows["projector"].paths == ("vlm.model.multi_modal_projector.linear_{1,2}",)
    assert (rows["projector"].lr, rows["fusion"].lr, rows[FROZEN].lr) == (2e-5, 1e-3, 0.0)


def test_paths_join_layers_and_siblings_and_tell_adapters_with_their_layer():
    names = [
        f"vlm.model.layers.{layer}.{part}.lora_{side}.default.weight"
        for layer in range(3)
        for part in ("self_attn.q_proj", "self_attn.v_proj", "mlp.up_proj")
        for side in "AB"
    ]
    names += ["vlm.model.projector.modules_to_save.default.linear_1.weight", "fusion.gate"]
    assert set(module_paths(names)) == {
        "vlm.model.layers.*.self_attn.{q,v}_proj",
        "vlm.model.layers.*.mlp.up_proj",
        "vlm.model.projector.linear_1",
        "fusion",
    }


def test_all_of_it_together(trainee):
    groups = trained_groups(trainee.model, LearningRates())
    seen = preflight(trainee.model, groups, encoded(trainee, picture_example()), trainee.processor)
    assert seen.problems == ()
    assert 0 < seen.share <= 1
    assert len({line.index(line.split()[-1]) for line in seen.table()[1:2]}) == 1
    assert [line.split()[0] for line in seen.table()] == ["group", *(row.name for row in seen.groups)]
    empty = encoded(trainee, picture_example())
    empty["labels"].fill_(IGNORED)
    assert "loss mask is empty" in preflight(trainee.model, groups, empty, trainee.processor).problems[0]


def test_answers_of_every_turn_are_found_behind_the_assistants_mark(trainee):
    turns = (("user", "Table?"), ("assistant", "Yes."), ("user", "How far?"), ("assistant", "1.25 m"))
    example = Example("two turns", "made", (Dialogue(turns),), picture_example().images)
    batch = encoded(trainee, example)
    check_batch(batch, trainee.processor)
    learned = [text for text, learn in decoded_sample(batch, trainee.processor.tokenizer) if learn]
    assert len(learned) == 2


def test_the_released_prompts_with_their_own_mask_pass_and_a_wrong_mask_does_not(packed):
    tiny = tiny_llama_llava()
    model = DepthVLM.from_vlm(copy.deepcopy(tiny.model), "dpe")
    model.config.conversation = "vicuna_v1"
    processor = DepthProcessor.for_model(model, tiny.processor)
    batch = ExampleEncoder(processor, TrainConfig(), packed)([picture_example(0, 3)])
    check_batch(batch, processor)
    learned = [text for text, learn in decoded_sample(batch, processor.tokenizer) if learn]
    assert all(text.endswith("</s>") for text in learned)
    first = int((batch["labels"][0] != IGNORED).nonzero()[0, 0])
    batch["labels"][0, first - 3 : first] = batch["input_ids"][0, first - 3 : first]
    with pytest.raises(SdvlmError, match="does not round-trip"):
        check_batch(batch, processor)
