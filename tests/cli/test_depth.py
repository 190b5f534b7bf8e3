import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from sdvlm.cli.depth import depth
from sdvlm.depth.io import read_depth
from sdvlm.types import DepthKind, SdvlmError

app = typer.Typer()
app.command()(depth)


@pytest.fixture
def glpn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random metric checkpoint."""
    from transformers import GLPNConfig, GLPNForDepthEstimation

    folder = tmp_path_factory.mktemp("glpn") / "tiny-glpn"
    config = GLPNConfig(
        depths=[1] * 4, hidden_sizes=[8] * 4, num_attention_heads=[1] * 4, mlp_ratios=[2] * 4, decoder_hidden_size=8
    )
    GLPNForDepthEstimation(config).save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text('{"image_processor_type": "GLPNImageProcessor"}')
    return folder


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., tuple[int, str, str]]:
    monkeypatch.setenv("SDVLM_CACHE", str(tmp_path / "cache"))

    def call(*arguments: object) -> tuple[int, str, str]:
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        if isinstance(result.exception, SdvlmError):
            raise result.exception
        return result.exit_code, result.stdout, result.stderr

    return call


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "room.jpg"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)).save(path)
    return path


def test_depth_writes_a_millimetre_png_and_reports_it_as_json(
    run: Callable[..., tuple[int, str, str]], glpn: Path, picture: Path, tmp_path: Path
) -> None:
    code, out, _ = run(picture, "-o", tmp_path / "out", "--estimator", glpn, "--preview", "--json")
    assert code == 0
    record = json.loads(out)["depth"][0]
    written = read_depth(tmp_path / "out" / "room.png")
    assert written.size == (64, 48)
    assert (record["depth"], record["kind"], record["source"]) == (
        str(tmp_path / "out/room.png"),
        "metric",
        "tiny-glpn",
    )
    assert record["median"] == pytest.approx(float(np.nanmedian(written.values)), abs=0.001)
    with Image.open(tmp_path / "out" / "room_preview.png") as drawn:
        assert drawn.mode == "RGB"


def test_depth_says_one_line_a_map(
    run: Callable[..., tuple[int, str, str]], glpn: Path, picture: Path, tmp_path: Path
) -> None:
    code, out, err = run(picture, "-o", tmp_path / "out", "--estimator", glpn)
    assert code == 0
    assert out.startswith(f"{tmp_path}/out/room.png: metric, ")
    assert out.count("\n") == 1
    assert "licence of its weights: unknown" in err


def test_depth_of_a_user_made_kind_is_written_as_npz(
    run: Callable[..., tuple[int, str, str]], picture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_depth.py").write_text(
        "import numpy as np\n"
        "from sdvlm.depth import DepthEstimate\n"
        "from sdvlm.types import DepthKind, DepthMap\n"
        "class Mine:\n"
        "    id, licence, kind = 'mine', 'MIT', DepthKind.RELATIVE\n"
        "    def estimate(self, images, cameras=None):\n"
        "        return [DepthEstimate(DepthMap(i.mean(axis=2), self.kind, self.id)) for i in images]\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert run(picture, "-o", tmp_path / "out", "--estimator", "my_depth:Mine")[0] == 0
    assert read_depth(tmp_path / "out" / "room.npz").kind is DepthKind.RELATIVE


def test_bad_input_is_one_line(
    run: Callable[..., tuple[int, str, str]], glpn: Path, picture: Path, tmp_path: Path
) -> None:
    for arguments, match in (
        ((tmp_path / "none.jpg", "-o", tmp_path, "--estimator", glpn), "no such file"),
        ((picture, "-o", tmp_path / "out", "--estimator", "nothing-known"), "unknown estimator"),
        ((picture, "-o", tmp_path / "out", "--estimator", tmp_path), "has no config.json"),
        ((picture, "-o", tmp_path / "out", "--estimator", glpn, "--camera", "1,2,3"), "has 3 numbers"),
    ):
        with pytest.raises(SdvlmError, match=match) as caught:
            run(*arguments)
        assert "\n" not in str(caught.value)
