"""What tests of whole runs share: tiny models on disk, data about pictures with depth, settings, what a run left."""

from __future__ import annotations

import json

import numpy as np
from PIL import Image
from safetensors.torch import load_file
from tests.models.conftest import QUESTIONS, tiny_llava, tiny_qwen

from sdvlm.train.config import DataSettings, LearningRates, LoraSettings, TrainConfig, VarySettings
from sdvlm.train.trainer import last_checkpoint

PICTURES = 12
MAKERS = {"llava": tiny_llava, "qwen2.5-vl": tiny_qwen}


def save_models(folder):
    """Tiny models on disk, by family."""
    folders = {}
    for name, make in MAKERS.items():
        tiny = make()
        folders[name] = folder / name
        tiny.model.save_pretrained(folders[name])
        tiny.processor.save_pretrained(folders[name])
    return folders


def write_chat(folder):
    """Messages about pictures with depth beside them, and one text without a picture."""
    (folder / "depth").mkdir()
    rng = np.random.default_rng(0)
    lines = []
    for index in range(PICTURES):
        Image.fromarray(rng.integers(0, 255, (50, 70, 3), dtype=np.uint8)).save(folder / f"p{index}.png")
        Image.fromarray(rng.integers(1000, 4000, (50, 70), dtype=np.uint16)).save(folder / "depth" / f"p{index}.png")
        for question in range(3):
            asked = [{"type": "image"}, {"type": "text", "text": QUESTIONS[(index + question) % 5]}]
            said = [{"type": "text", "text": f"{question}.{index:02d} m away"}]
            messages = [{"role": "user", "content": asked}, {"role": "assistant", "content": said}]
            lines.append({"messages": messages, "images": [f"p{index}.png"]})
    lines.append({"messages": [{"role": "user", "content": "Table?"}, {"role": "assistant", "content": "Yes."}]})
    (folder / "chat.jsonl").write_text("\n".join(json.dumps(line) for line in lines), encoding="utf-8")
    return folder


def config_of(model, chat, steps=6, **changes):
    given = {
        "model": str(model),
        "fusion": "gated",
        "data": (DataSettings(str(chat / "chat.jsonl"), depth=str(chat / "depth")),),
        "lora": LoraSettings(4, 8, 0.05),
        "lr": LearningRates(1e-2, 1e-2, 1e-2),
        "vary": VarySettings(depth_dropout=0.3, rgb_masking=0.2),
        "global_batch": 4,
        "heldout": 0.2,
        "arguments": {
            "max_steps": steps, "per_device_train_batch_size": 2, "save_steps": 2, "eval_steps": 3, "logging_steps": 1,
            "use_cpu": True, "report_to": [],
        },
    }  # fmt: skip
    return TrainConfig(**(given | changes))


def losses(out):
    """Logged loss of each step, from the last checkpoint."""
    state = json.loads((last_checkpoint(out / "checkpoints") / "trainer_state.json").read_bytes())
    return {one["step"]: one["loss"] for one in state["log_history"] if "loss" in one}


def weights(out):
    return {name: one for path in sorted(out.glob("*.safetensors")) for name, one in load_file(path).items()}
