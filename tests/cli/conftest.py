"""A tiny random model on disk, and a way to run the command line in this process."""

import json
import logging

import numpy as np
import pytest
import torch
from PIL import Image
from tests.tiny_nano import TINY

from sdvlm.cli import main as cli
from sdvlm.models.processor import DepthProcessor
from sdvlm.models.wrapper import DepthVLM
from sdvlm.nano.config import build_processor, build_vlm
from sdvlm.nano.tokenizer import train_tokenizer


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory):
    """A saved DepthVLM of the nano kind with random weights; it answers nonsense, but always the same."""
    folder = tmp_path_factory.mktemp("tiny")
    tokenizer = train_tokenizer(["How far is the chair? 1.25 m", "yes no left right (0.5,0.5)"] * 3, vocab_size=300)
    torch.manual_seed(0)
    vlm = build_vlm(TINY, tokenizer)
    for parameter in vlm.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.3)
    model = DepthVLM.from_vlm(vlm, fusion=TINY.fusion)
    for parameter in model.fusion.parameters():  # a fresh fusion adds nothing; this one has to matter
        torch.nn.init.normal_(parameter, std=0.3)
    model.save_pretrained(folder)
    DepthProcessor.for_model(model, build_processor(TINY, tokenizer)).save_pretrained(folder)
    return folder


@pytest.fixture(autouse=True)
def log_as_it_was():
    """The command line sets up the log of its process; other tests' processes are this one."""
    ours = logging.getLogger("sdvlm")
    handlers, level = ours.handlers, ours.level
    yield
    ours.handlers = handlers
    ours.setLevel(level)


@pytest.fixture
def run(capsys):
    """Run the command line; returns exit code, stdout, stderr."""

    def call(*arguments):
        with pytest.raises(SystemExit) as left:
            cli.main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return left.value.code, out, err

    return call


@pytest.fixture
def run_json(run):
    """Run the command line with --json; it has to succeed. Returns the document."""

    def call(*arguments):
        code, out, err = run(*arguments, "--json")
        assert code == 0, err
        return json.loads(out)

    return call


@pytest.fixture
def photo(tmp_path):
    """A 48x36 picture on disk."""
    path = tmp_path / "photo.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (36, 48, 3)).astype(np.uint8)).save(path)
    return path


@pytest.fixture
def depth_mm(tmp_path):
    """A 48x36 depth map in uint16 millimetres: 1 m on the left to 3 m on the right, the top row unknown."""
    values = np.linspace(1000, 3000, 48).round().astype(np.uint16)[None].repeat(36, axis=0)
    values[0] = 0
    path = tmp_path / "depth.png"
    Image.fromarray(values).save(path)
    return path
