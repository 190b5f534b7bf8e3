import numpy as np
import pytest

from sdvlm.scenes.furniture import CATEGORIES, FURNITURE, ModelBuilder
from sdvlm.scenes.palette import COLORS, Color, color_names

HEIGHTS_M = {
    "chair": (0.7, 1.15),
    "table": (0.68, 0.8),
    "sofa": (0.6, 1.0),
    "bed": (0.4, 1.3),
    "door": (1.9, 2.25),
    "wardrobe": (1.7, 2.3),
    "monitor": (0.3, 0.7),
    "refrigerator": (1.3, 2.0),
}


def areas(model) -> np.ndarray:
    corners = model.vertices[model.faces]
    return 0.5 * np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)


@pytest.mark.parametrize("kind", FURNITURE)
def test_models_are_sound(kind: str) -> None:
    for seed in range(4):
        model = FURNITURE[kind](np.random.default_rng(seed), None)
        assert model.category in CATEGORIES
        low, high = model.vertices.min(axis=0), model.vertices.max(axis=0)
        assert low[2] == pytest.approx(0.0, abs=1e-12)
        assert (low + high)[:2] == pytest.approx([0.0, 0.0], abs=1e-9)
        assert (areas(model) > 1e-9).all()
        assert len(model.faces) <= 500
        assert np.unique(model.faces).size == len(model.vertices)
        assert (model.colors[model.faces] == model.colors[model.faces][:, :1]).all()
        for surface in model.surfaces:
            x0, y0, x1, y1 = surface.rect
            assert low[0] - 1e-9 <= x0 < x1 <= high[0] + 1e-9
            assert low[1] - 1e-9 <= y0 < y1 <= high[1] + 1e-9
            assert 0 < surface.z <= high[2] + 1e-9


@pytest.mark.parametrize("kind", HEIGHTS_M)
def test_heights_are_those_of_real_furniture_and_vary(kind: str) -> None:
    heights = [FURNITURE[kind](np.random.default_rng(seed), None).extent[2] for seed in range(30)]
    low, high = HEIGHTS_M[kind]
    assert low <= min(heights) <= max(heights) <= high
    assert np.std(heights) > 0.01


@pytest.mark.parametrize("kind", sorted(set(FURNITURE) - {"book", "lamp"}))
def test_the_main_colour_covers_most_of_the_surface(kind: str) -> None:
    shares = []
    for seed in range(8):
        model = FURNITURE[kind](np.random.default_rng(seed), None)
        named = np.array(color_names(model.colors[model.faces[:, 0]])) == model.color
        shares.append(areas(model)[named].sum() / areas(model).sum())
    assert np.mean(shares) > 0.5


@pytest.mark.parametrize("name", COLORS)
def test_a_colour_that_is_asked_for_is_used(name: str) -> None:
    for kind in ("chair", "sofa", "box"):
        model = FURNITURE[kind](np.random.default_rng(1), name)
        assert model.color == name


def test_closed_parts_have_the_volume_of_their_formula() -> None:
    def volume(build: ModelBuilder) -> float:
        model = build.build()
        a, b, c = (model.vertices[model.faces[:, corner]] for corner in range(3))
        return abs(float((np.cross(a, b) * c).sum())) / 6  # divergence theorem; right only if all faces turn outwards

    red = Color("red", np.array([185.0, 35.0, 40.0]))
    block = ModelBuilder("block", red)
    block.block((1, 2, 0), (0.5, 0.4, 0.3))
    assert volume(block) == pytest.approx(0.5 * 0.4 * 0.3)
    cylinder = ModelBuilder("cylinder", red)
    cylinder.cylinder((0, 0, 0), 0.3, 0.8, sides=12)
    assert volume(cylinder) == pytest.approx(12 / 2 * np.sin(2 * np.pi / 12) * 0.3**2 * 0.8)
    ball = ModelBuilder("ball", red)
    ball.ellipsoid((0, 0, 1), (0.3, 0.2, 0.1), sides=24)
    assert volume(ball) == pytest.approx(4 / 3 * np.pi * 0.3 * 0.2 * 0.1, rel=0.25)
