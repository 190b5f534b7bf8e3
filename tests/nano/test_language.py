"""The shared prefix is a way to compute, not another model: losses and gradients are those of separate samples."""

import torch
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional as F

from sdvlm.fusion.build import build_fusion
from sdvlm.fusion.depth_grid import DepthGrid
from sdvlm.nano.config import NanoConfig
from sdvlm.nano.encode import FAMILIES, encode_frame
from sdvlm.nano.facts import BetweenHead, FactsHead
from sdvlm.nano.frames import NanoFrame
from sdvlm.nano.language import FETCHING_LAYER, GROUNDING_LAYER, image_token_losses, naming_losses
from sdvlm.nano.numbers import ValuesHead
from sdvlm.nano.prefix_attention import register
from sdvlm.nano.rows import collate_rows


def separate_losses(vlm: torch.nn.Module, fusion: torch.nn.Module, features: Tensor, depth: Tensor, rows, per_picture):
    """Every question as a sequence of its own, eager attention, weights read from the model's own output."""
    answers, grounding, fetching = [], [], []
    for row in range(len(rows.ids)):
        picture = row // per_picture
        image = vlm.model.multi_modal_projector(features[picture])
        image = fusion(image, DepthGrid.unpack(depth[picture], torch.zeros(len(image), dtype=torch.long)))
        embed = vlm.model.language_model.get_input_embeddings()
        first = embed(torch.tensor([vlm.config.text_config.bos_token_id]))
        sequence = torch.cat([first, image, embed(rows.ids[row])])[None]
        out = vlm.model.language_model(inputs_embeds=sequence, output_attentions=True, use_cache=False)
        logits = vlm.lm_head(out.last_hidden_state[0, len(image) + 1 :])
        labels = rows.labels[row]
        answers.append(F.cross_entropy(logits[labels >= 0], labels[labels >= 0]))
        for index in (rows.rows == row).nonzero().flatten():
            column = 1 + len(image) + rows.columns[index]
            attention = out.attentions[GROUNDING_LAYER][0, :5, column, : 1 + len(image)]
            grounding.append(-(rows.targets[index] * attention.log()).sum(-1).mean())
        for index in (rows.fetch_rows == row).nonzero().flatten():
            column = 1 + len(image) + rows.fetch_columns[index]
            attention = out.attentions[FETCHING_LAYER][0, :3, column, 1 + len(image) :]
            fetching.append(-attention[[0, 1, 2], rows.fetch_of[index]].log().mean())
    return torch.stack(answers).mean(), torch.stack(grounding).mean(), torch.stack(fetching).mean()


def read_outs(config: NanoConfig) -> tuple[FactsHead, ValuesHead, BetweenHead]:
    return FactsHead(config.text_width), ValuesHead(config.text_width), BetweenHead(config.text_width)


def test_losses_and_gradients_equal_those_of_separate_samples(
    vlm: torch.nn.Module, config: NanoConfig, tokenizer: Tokenizer, frames: list[NanoFrame]
) -> None:
    fusion = build_fusion(config.fusion, config.text_width)
    torch.nn.init.normal_(fusion.mlp.last.weight, std=0.1)
    questions, targets = [], []
    for frame in frames[:2]:
        encoded, of_picture = encode_frame(frame, tokenizer)
        questions += encoded[:4]
        targets += [of_picture] * 4
    rows = collate_rows(questions, targets, tokenizer.token_to_id("<pad>"))
    depth = torch.stack([torch.from_numpy(frame.depth) for frame in frames[:2]])
    features = torch.randn(2, config.image_tokens, config.vision_width)
    parameters = [*vlm.model.language_model.parameters(), *vlm.model.multi_modal_projector.parameters()]
    parameters += list(fusion.parameters())

    vlm.model.language_model.set_attn_implementation(register())
    losses = image_token_losses(vlm, fusion, features, depth, [rows], *read_outs(config))
    fast = losses.answer, losses.grounding, losses.fetching
    fast_grads = torch.autograd.grad(sum(fast), parameters)
    vlm.model.language_model.set_attn_implementation("eager")
    slow = separate_losses(vlm, fusion, features, depth, rows, 4)
    slow_grads = torch.autograd.grad(sum(slow), parameters)

    for one, other in zip(fast, slow, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)
    for one, other in zip(fast_grads, slow_grads, strict=True):
        assert float((one - other).norm()) <= 1e-4 * float(other.norm()) + 1e-7


def test_mentions_stand_where_the_name_ends(tokenizer: Tokenizer, frames: list[NanoFrame]) -> None:
    encoded, targets = encode_frame(frames[0], tokenizer)
    found = 0
    for question, tokens in zip(frames[0].questions, encoded, strict=True):
        for column, target in tokens.mentions:
            said = tokenizer.decode(tokens.ids[1 : column + 1]).lower()
            assert said.endswith((")", "s", *(name.lower() for name in question["names"])))
            assert 0 <= target < len(targets.attention) == len(targets.facts)
            found += 1
    assert found >= len(encoded)


def test_the_naming_losses_are_those_of_the_whole_model(
    vlm: torch.nn.Module, config: NanoConfig, tokenizer: Tokenizer, frames: list[NanoFrame]
) -> None:
    fusion, heads = build_fusion(config.fusion, config.text_width), read_outs(config)
    torch.nn.init.normal_(fusion.mlp.last.weight, std=0.1)
    encoded, of_picture = encode_frame(frames[0], tokenizer)
    rows = collate_rows(encoded[:6], [of_picture] * 6, tokenizer.token_to_id("<pad>"))
    depth = torch.from_numpy(frames[0].depth)[None]
    features = torch.randn(1, config.image_tokens, config.vision_width)
    vlm.model.language_model.set_attn_implementation(register())
    whole = image_token_losses(vlm, fusion, features, depth, [rows], *heads)
    found = naming_losses(vlm, fusion, features, depth, [rows], heads[0])
    torch.testing.assert_close(found, (whole.grounding, whole.facts))
    assert len(vlm.model.language_model.layers) == config.text_layers  # the model itself was not cut


def test_answers_are_about_the_names_that_the_question_asks_of(tokenizer: Tokenizer, frames: list[NanoFrame]) -> None:
    seen = set()
    for frame in frames:
        encoded, of_picture = encode_frame(frame, tokenizer)
        for question, tokens in zip(frame.questions, encoded, strict=True):
            rows = collate_rows([tokens], [of_picture], tokenizer.token_to_id("<pad>"))
            columns = [column for column, _ in tokens.mentions]
            found = {tuple(columns.index(int(c)) for c in names) for names in rows.fetch_of}
            if question["type"] == "refer_obj_estimation":  # the first name is the reference
                assert found == {(index, index, index) for index in range(1, len(question["names"]))}
            elif len(columns) == 3:
                assert found == {(0, 1, 2)}
            elif len(columns) == 2:
                assert found == {(0, 1, 1)}
            else:
                assert found <= {(0, 0, 0)}
            seen.add((question["type"], len(columns)))
    wanted = {("refer_obj_estimation", 2), ("absolute_distance", 2), ("scale_compare", 2), ("position", 1)}
    assert wanted <= seen


def test_a_name_that_is_said_is_copied_from_the_question(tokenizer: Tokenizer, frames: list[NanoFrame]) -> None:
    copied = 0
    for frame in frames:
        encoded, _ = encode_frame(frame, tokenizer)
        for question, tokens in zip(frame.questions, encoded, strict=True):
            repeats = [tokens.ids[source] for _, source in tokens.copied]
            assert [tokens.ids[column + 1] for column, _ in tokens.copied] == repeats
            if question["type"] == "scale_compare":
                assert tokenizer.decode(repeats).strip().lower() == question["answer"].lower()
                copied += 1
            else:
                assert not repeats
    assert copied


def test_what_an_answer_compares_is_told_where_its_names_are_fetched(
    tokenizer: Tokenizer, frames: list[NanoFrame]
) -> None:
    encoded, targets = encode_frame(frames[0], tokenizer)
    rows = collate_rows(encoded, [targets] * len(encoded), tokenizer.token_to_id("<pad>"))
    assert len(rows.between) == len(rows.fetch_rows)
    compared = 0
    for row, difference in zip(rows.fetch_rows.tolist(), rows.between, strict=True):
        question = encoded[row]
        comparing = FAMILIES[question.family].value in ("absolute_distance", "relative_position", "scale_compare")
        if len(question.mentions) < 2 or not comparing:
            assert difference.isnan().all()
            continue
        first, second = (targets.facts[target] for _, target in question.mentions[:2])
        compared += 1
        torch.testing.assert_close(difference[0], first[0] - second[0], equal_nan=True)
    assert compared
