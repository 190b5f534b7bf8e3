"""Pictures, messages, depth and cameras to a batch that ``DepthVLM`` takes."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sdvlm.models import checkpoint
from sdvlm.models.asked import asked, check_marks
from sdvlm.models.config import DepthVLMConfig
from sdvlm.models.conversation import Conversation, Prompt, Tokens
from sdvlm.models.depth_batch import DepthBatch
from sdvlm.models.depth_inputs import pack_depth
from sdvlm.models.depth_placing import DepthPlacer
from sdvlm.models.families import load_processor, readable_mark
from sdvlm.models.grid import TokenGrid
from sdvlm.models.llama_tokens import keep_legacy
from sdvlm.models.own_depth import load_own_depth, save_own_depth
from sdvlm.models.pictures import flat, picture_of
from sdvlm.models.released_prompts import ReleasedPrompts
from sdvlm.models.template_prompts import TemplatePrompts
from sdvlm.models.wrapper import DepthVLM
from sdvlm.types import DepthMap, RgbdFrame, SdvlmError

__all__ = ["DepthBatch", "DepthProcessor"]

_NO_LIMIT = 10**9  # tokenizers without a limit state an astronomical one


class DepthProcessor:
    """A Hugging Face processor that also takes depth and cameras. It may live in a worker.

    It holds no weights, but for the depth network of a model that brings its own, once :attr:`estimator` is asked for.

    Args:
        processor: of the wrapped model.
        config: of the ``DepthVLM``: how prompts are worded (``conversation``) and depth is pooled (``fusion``).
        estimator: the model's own depth network (``depth.HFDepthEstimator``), or what loads it: a function that takes
            ``device``. None: the model has none.
    """

    device: str | None = None
    """where the depth network is loaded to; None: the first accelerator there is, else the CPU"""

    def __init__(self, processor: Any, config: DepthVLMConfig, estimator: Any = None) -> None:
        readable_mark(processor)
        self.processor, self.config = processor, config
        self.fusion = config.fusion_settings
        self.prompts: ReleasedPrompts | TemplatePrompts = (
            TemplatePrompts(processor)
            if config.conversation is None
            else ReleasedPrompts(processor, config.conversation)
        )
        self.placer = DepthPlacer(self.fusion, self.prompts, processor, config.vlm_config)
        self._estimator = estimator

    @classmethod
    def for_model(cls, model: DepthVLM, processor: Any, estimator: Any = None) -> DepthProcessor:
        """Around the wrapped model's own processor."""
        config: Any = model.config
        return cls(processor, config, estimator)

    @property
    def tokenizer(self) -> Any:
        """The tokenizer, under the name trainers look for."""
        return self.processor.tokenizer

    @property
    def image_token_id(self) -> int:
        """Of the tokens that image tokens take the place of."""
        return self.placer.image_token_id

    @property
    def grid(self) -> TokenGrid:
        """Which pixels each image token looks at; made when depth first asks for it."""
        return self.placer.grid

    @property
    def estimator(self) -> Any:
        """The model's own depth network, loaded when first asked for; None: it has none."""
        if self._estimator is not None and not hasattr(self._estimator, "estimate"):
            self._estimator = self._estimator(device=self.device)
        return self._estimator

    def own_depth(self, frame: RgbdFrame) -> DepthMap | None:
        """What the model's own depth network sees in a picture; None where the model brings none.

        The size is the network's own output where depth is pooled over the un-padded picture, else the picture's.
        """
        if self.estimator is None:
            return None
        found: DepthMap
        if self.fusion is not None and self.fusion.pooling == "unpadded":
            (found,) = self.estimator.raw([frame.image])
        else:
            found = self.estimator.estimate([frame.image], [frame.camera])[0].depth
        return found

    def with_options(self, pooling: str | None = None, conversation: str | None = "keep") -> DepthProcessor:
        """The same processor, worded or pooled another way. Its model needs no change for either.

        Args:
            pooling: of ``FusionConfig``; None: as it is.
            conversation: of ``DepthVLMConfig``, where None is the chat template; ``"keep"``: as it is.

        Raises:
            SdvlmError: there is no such pooling or conversation, or there is no fusion to pool for.
        """
        config = copy.deepcopy(self.config)
        if pooling is not None:
            if config.fusion is None:
                raise SdvlmError("this model has no fusion, so it pools no depth; leave the pooling out")
            config.fusion = {**config.fusion, "pooling": pooling}
        if conversation != "keep":
            config = type(config)(**{**config.to_dict(), "conversation": conversation})
        changed = type(self)(self.processor, config, self._estimator)
        changed.device = self.device
        return changed

    def __call__(
        self,
        messages: Conversation | list[Conversation] | None = None,
        images: Any = None,
        depth: Any = None,
        camera: Any = None,
        *,
        objects: Any = None,
        videos: Any = None,
        video_depth: Any = None,
        video_camera: Any = None,
        fps: Any = None,
        text: str | list[str] | None = None,
        labels: bool = False,
        padding_side: str | None = None,
        max_length: int | None = None,
    ) -> DepthBatch:
        """A padded batch of tensors.

        Args:
            messages: one conversation or several, in chat format (``conversation``). Without ``labels`` the prompt
                ends where the assistant is to speak.
            images: one picture or a (nested) list of them, in the order of the image parts, (H, W, 3) uint8 RGB or
                PIL; or None where the parts carry their pictures.
            depth: None, or for each picture a ``DepthMap`` of its size (of any size where the fusion pools over the
                un-padded picture) or None. ``depth_grid`` is in the batch only where at least one picture has depth.
            camera: None, or for each picture a ``Camera`` of its size or None.
            objects: for ``depth_prompt`` that writes the depths of objects: for each picture a list of (name, box).
            videos: one video or a (nested) list of them, in the order of the video parts, each (F, H, W, 3) uint8 RGB
                or a list of F pictures, all of which the model sees; or None where the parts carry their frames.
            video_depth, video_camera, fps: for each video F maps or None, F cameras or one, frames a second; see
                ``videos.checked_videos``. ``depth_grid_videos`` is in the batch where a frame has depth.
            text: prompts with marks, in place of ``messages``; taken as they are.
            labels: add ``labels``: the tokens of the assistant's answers, -100 elsewhere.
            padding_side: left to generate, right to train, unless said.
            max_length: in tokens; the tokenizer's own limit if None. Longer inputs are refused, never cut.

        Raises:
            SdvlmError: counts or sizes disagree, depth is of a kind the fusion does not take, a prompt is too long.
        """
        given = asked(self.prompts, self.placer.videos, messages, text, images, videos, labels)
        films = self.placer.videos.checked(given.videos, video_depth, video_camera, fps, len(given.pictures))
        shown = self.placer.checked(given.pictures, depth, camera, objects, given.prompts, films)
        worded, seen = self.placer.worded(given.prompts, shown), self.placer.pictures(shown)
        side = padding_side or ("right" if labels else "left")
        filmed = {"videos": films} if films else {}
        batch = DepthBatch(self.prompts.batch(worded, seen, side, labels, **filmed))
        self._check_length(int(batch["attention_mask"].sum(dim=1).max()), max_length)
        self.placer.complete(batch, shown)
        return batch

    def depth_grid(self, sizes: Sequence[tuple[int, int]], depth: Any, camera: Any = None) -> Tensor | None:
        """(T, C) packed depth of the tokens of pictures of the given (width, height): ``depth_inputs.pack_depth``."""
        return pack_depth(self.fusion, self.grid, sizes, depth, camera)

    def question_prompt(self, question: str) -> str:
        """The prompt about one picture that asks this question: what :meth:`encode_questions` sends."""
        content = [{"type": "image"}, {"type": "text", "text": question}]
        return self.prompts.asking([{"role": "user", "content": content}])

    def encode_questions(
        self, frame: RgbdFrame, questions: Sequence[str], depth: DepthMap | None = None
    ) -> tuple[DepthBatch, list[list[int]]]:
        """:meth:`encode_prompts` for questions about one picture, with ``depth`` or else the frame's own."""
        texts = [self.question_prompt(question) for question in questions]
        return self.encode_prompts(texts, [frame.image], [frame.depth if depth is None else depth], [frame.camera])

    def encode_prompts(
        self, texts: Sequence[str], images: Any = None, depth: Any = None, camera: Any = None, objects: Any = None
    ) -> tuple[DepthBatch, list[list[int]]]:
        """Prompts about the same pictures: inputs for the first, pictures and depth included, and token ids of each.

        Every prompt is tokenised whole, as if it were alone; only the pictures are processed once.

        Args:
            texts: prompts, each with one image mark a picture.
            images, depth, camera, objects: as a call takes them, for one prompt.

        Raises:
            SdvlmError: as a call.
        """
        batch, rows = self.encode_alike([Prompt(text) for text in texts], images, depth, camera, objects)
        if not all(row.ids for row in rows):
            raise SdvlmError("a prompt without a token cannot be answered; say something in it")
        self._check_length(max(len(row.ids) for row in rows), None)
        return batch, [list(row.ids) for row in rows]

    def encode_alike(
        self,
        prompts: Sequence[Prompt],
        images: Any = None,
        depth: Any = None,
        camera: Any = None,
        objects: Any = None,
        labels: bool = False,
        always_depth: bool = False,
    ) -> tuple[DepthBatch, list[Tokens]]:
        """As :meth:`encode_prompts`, for what :meth:`encode_prompts` and training have in common.

        Args:
            prompts: as ``prompts.asking`` or, with labels, ``prompts.training`` words them.
            images, depth, camera, objects: as a call takes them, for one prompt.
            labels: tell of each token whether it is learned.
            always_depth: put a depth grid into the inputs of pictures without depth too, which changes no output.
        """
        pictures = [picture_of(image) for image in flat(images)]
        for prompt in prompts:
            check_marks(self.processor, [prompt], len(pictures))
        shown = self.placer.checked(pictures, depth, camera, objects, prompts[:1])
        worded = self.placer.worded_alike(prompts, shown)
        made, rows = self.prompts.many(worded, self.placer.pictures(shown), labels)
        batch = DepthBatch(made)
        self.placer.complete(batch, shown, always_depth)
        return batch, rows

    def with_prompt(self, batch: DepthBatch, token_ids: list[int]) -> DepthBatch:
        """The inputs of another prompt about the pictures of ``batch``, a batch of one."""
        ids = torch.tensor([token_ids])
        if [name for name in batch if name.endswith("_input_ids")] and ids.tolist() != batch["input_ids"].tolist():
            raise SdvlmError("this model's queries read the question too; ask one question at a time")
        out = DepthBatch({**batch, "input_ids": ids, "attention_mask": torch.ones_like(ids)})
        for name in {"mm_token_type_ids", "token_type_ids"} & set(batch):
            types = torch.tensor(self.processor.create_mm_token_type_ids([token_ids]))
            out[name] = types if batch[name].any() else torch.zeros_like(types)  # some tell prompts from answers
        return out

    def decode(self, token_ids: Any) -> str:
        """Text of generated tokens, special tokens left out."""
        return self.prompts.decode(token_ids)

    def save_pretrained(self, folder: str | PathLike[str]) -> None:
        """Beside the model: the wrapped model's processor files, its own depth network if it brings one, and the
        config where the folder has none yet."""
        keep_legacy(self.tokenizer)
        self.processor.save_pretrained(folder)
        if self.config.estimator is not None and not (Path(folder) / self.config.estimator).exists():
            save_own_depth(self.estimator, Path(folder) / self.config.estimator)
        if not (Path(folder) / "config.json").exists():
            self.config.save_pretrained(folder)

    @classmethod
    def from_pretrained(cls, folder_or_id: str | PathLike[str]) -> DepthProcessor:
        """Load what :meth:`save_pretrained` wrote, or the processor of a released SD-VLM in its own layout.

        Raises:
            SdvlmError: the place has no ``DepthVLM`` config or no processor files.
        """
        from sdvlm.models.official import is_official, official_processor  # which make processors of this class

        if is_official(folder_or_id):
            return official_processor(folder_or_id)
        checkpoint.check_kind(folder_or_id, DepthVLMConfig.model_type)
        config = DepthVLMConfig.from_pretrained(folder_or_id)
        own = None if config.estimator is None else partial(load_own_depth, folder_or_id, config.estimator)
        return cls(load_processor(folder_or_id), config, own)

    def _check_length(self, longest: int, max_length: int | None) -> None:
        limit = max_length or self.tokenizer.model_max_length
        if limit < _NO_LIMIT and longest > limit:
            said = f"a prompt of {longest} tokens exceeds the limit of {limit}; it is not cut, as that would cut image "
            raise SdvlmError(said + "tokens: shorten it, use smaller pictures or raise max_length")
