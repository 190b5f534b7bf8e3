import numpy as np
import torch
from tokenizers import Tokenizer

from sdvlm.models.processor import DepthProcessor
from sdvlm.models.wrapper import DepthVLM
from sdvlm.nano.config import NanoConfig, build_processor, build_vlm
from sdvlm.nano.encode import encode_frame
from sdvlm.nano.frames import NanoFrame, square_boxes
from sdvlm.nano.train_tower import normalise


def test_training_boxes_are_those_the_probe_finds(config: NanoConfig, tokenizer: Tokenizer) -> None:
    model = DepthVLM.from_vlm(build_vlm(config, tokenizer), config.fusion)
    processor = DepthProcessor.for_model(model, build_processor(config, tokenizer))
    for size in ((320, 240), (77, 131)):
        np.testing.assert_allclose(square_boxes(config, size), processor.grid.boxes(size), atol=1e-6)


def test_training_tokens_are_those_of_the_chat_template(
    config: NanoConfig, tokenizer: Tokenizer, frames: list[NanoFrame]
) -> None:
    processor = build_processor(config, tokenizer)
    encoded, _ = encode_frame(frames[0], tokenizer)
    for question, tokens in zip(frames[0].questions, encoded, strict=True):
        messages = [
            {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": question["question"]}]},
            {"role": "assistant", "content": [{"type": "text", "text": question["answer"]}]},
        ]
        text = processor.apply_chat_template(messages, tokenize=False)
        batch = processor(text=[text], images=[frames[0].picture], return_tensors="np")
        ids = batch["input_ids"][0].tolist()
        prefix = [tokenizer.token_to_id("<bos>")] + [tokenizer.token_to_id("<image>")] * config.image_tokens
        assert ids == prefix + tokens.ids
        assert tokens.ids[tokens.answer_start] == tokenizer.token_to_id("<assistant>")


def test_training_pixels_are_those_of_the_processor(
    config: NanoConfig, tokenizer: Tokenizer, frames: list[NanoFrame]
) -> None:
    processor = build_processor(config, tokenizer)
    picture = frames[0].picture
    expected = processor.image_processor(picture, return_tensors="np")["pixel_values"][0]
    np.testing.assert_allclose(normalise(torch.from_numpy(picture[None]))[0].numpy(), expected, atol=1e-5)
