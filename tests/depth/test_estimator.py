import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sdvlm.depth import hf
from sdvlm.depth.estimator import DEFAULT_ESTIMATOR, ESTIMATORS, DepthEstimate, DepthEstimator, load_estimator
from sdvlm.types import DepthKind, DepthMap, SdvlmError


class Flat:
    """An estimator of a user's own: everything is two metres away."""

    id = "flat"
    licence = "MIT"
    kind = DepthKind.METRIC

    def estimate(self, images, cameras=None):  # type: ignore[no-untyped-def]
        return [DepthEstimate(DepthMap(np.full(image.shape[:2], 2.0))) for image in images]


FLAT = Flat()


def make_flat() -> Flat:
    return FLAT


def test_an_object_that_fits_the_protocol_is_taken_as_it_is() -> None:
    assert isinstance(FLAT, DepthEstimator)
    assert load_estimator(FLAT) is FLAT


@pytest.mark.parametrize("attribute", ["FLAT", "Flat", "make_flat"])
def test_module_and_attribute_name_an_estimator_or_what_makes_one(
    attribute: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "user_estimators", sys.modules[__name__])
    assert load_estimator(f"user_estimators:{attribute}").id == "flat"


@pytest.mark.parametrize(
    ("source", "match"),
    [
        ("no-such-estimator", "unknown estimator 'no-such-estimator'; wanted one of depth-anything-v2-metric"),
        ("./nowhere", "no such folder; wanted a folder with config.json"),
        ("/nowhere/at/all", "no such folder"),
        (Path("nowhere"), "no such folder"),
        ("no_such_module:thing", "cannot be imported"),
        ("json:nothing", "cannot be imported"),
        ("json:__doc__", "is str; wanted an estimator or what makes one"),
        ("collections:OrderedDict", "has no id, licence, kind, estimate"),
        (object(), "has no id, licence, kind, estimate"),
    ],
)
def test_what_is_no_estimator_is_refused_in_one_line(source: object, match: str) -> None:
    with pytest.raises(SdvlmError, match=match) as caught:
        load_estimator(source)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(SdvlmError, match="unknown depth kind 'inverse'; known: metric, relative, disparity"):
        load_estimator("depth-pro", kind="inverse")


def test_a_short_name_loads_its_hub_id(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(hf, "load_hf_estimator", lambda source, **options: asked.append(source))
    load_estimator()
    load_estimator("depth-pro")
    load_estimator("somebody/else-hf")
    assert asked == [ESTIMATORS[DEFAULT_ESTIMATOR].hub_id, "apple/DepthPro-hf", "somebody/else-hf"]


def test_the_default_may_be_used_commercially_and_gives_metres() -> None:
    spec = ESTIMATORS[DEFAULT_ESTIMATOR]
    assert (spec.commercial, spec.licence, spec.kind) == (True, "Apache-2.0", DepthKind.METRIC)


def test_every_estimator_we_name_has_a_licence_and_non_commercial_ones_are_marked() -> None:
    assert len({spec.hub_id for spec in ESTIMATORS.values()}) == len(ESTIMATORS)
    for spec in ESTIMATORS.values():
        assert spec.licence
        assert spec.hub_id.count("/") == 1
        if "NC" in spec.licence or "Apple" in spec.licence:
            assert not spec.commercial


def test_a_tilde_in_a_folder_is_expanded(checkpoint: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    folder = checkpoint("glpn")
    monkeypatch.setenv("HOME", str(folder.parent))
    assert load_estimator("~/glpn").id == "glpn"


def test_importing_depth_loads_neither_torch_nor_transformers() -> None:
    code = "import sys, sdvlm.depth; print([m for m in ('torch', 'transformers') if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
