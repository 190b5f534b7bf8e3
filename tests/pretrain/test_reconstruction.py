"""The reconstruction loss against loops, what it asks for, and that it keeps metres where contrast alone loses them."""

import math

import pytest
import torch
from torch import nn

from sdvlm.pretrain.info_nce import info_nce
from sdvlm.pretrain.measures import retrieval, ridge_probe
from sdvlm.pretrain.reconstruction import DepthDecoder, log_metres, pixels_of, reconstruct, to_picture
from sdvlm.types import SdvlmError

GRID, SIDE = (2, 3), 4


@pytest.fixture
def batch():
    """Prediction, metres with holes, masks."""
    torch.manual_seed(0)
    metres = torch.rand(3, 8, 12) * 4 + 0.5
    metres[torch.rand(3, 8, 12) < 0.2] = math.nan
    metres[0, 0, :2] = torch.tensor([0.0, -1.0])
    metres[1, 3, 3] = math.inf
    return torch.randn(3, 6, 16), metres, torch.rand(3, 6) < 0.5


def by_loops(prediction, metres, masked, visible, gradient):
    """One picture after the other, one pixel after the other."""
    total = 0.0
    for said, truth, mask in zip(prediction, metres, masked, strict=True):
        error, weight = torch.zeros(8, 12), torch.zeros(8, 12)
        for i in range(8):
            for j in range(12):
                patch, pixel = (i // SIDE) * GRID[1] + j // SIDE, (i % SIDE) * SIDE + j % SIDE
                z = float(truth[i, j])
                if math.isfinite(z) and z > 0:
                    error[i, j] = float(said[patch, pixel]) - math.log(z)
                    weight[i, j] = 1.0 if mask[patch] else visible
        total += float((error.abs() * weight).sum() / weight.sum())
        terms = []
        for stride in (1, 2, 4, 8):
            for di, dj in ((stride, 0), (0, stride)):
                top = below = 0.0
                for i in range(0, 8 - di, stride):
                    for j in range(0, 12 - dj, stride):
                        w = float(min(weight[i, j], weight[i + di, j + dj]))
                        top += w * abs(float(error[i + di, j + dj] - error[i, j]))
                        below += w
                if di < 8 and dj < 12:
                    terms.append(top / below if below else 0.0)
        total += gradient * sum(terms) / len(terms)
    return total / len(prediction)


@pytest.mark.parametrize(("visible", "gradient"), [(0.1, 0.5), (1.0, 0.0), (0.3, 2.0)])
def test_the_loss_is_the_definition_pixel_by_pixel(batch, visible, gradient):
    got = reconstruct(*batch, GRID, visible, gradient)
    assert float(got.loss) == pytest.approx(by_loops(*batch, visible, gradient), rel=1e-5)


def test_the_error_is_that_of_known_pixels_of_hidden_patches(batch):
    prediction, metres, masked = batch
    hidden = pixels_of(masked, GRID, SIDE)
    truth, known = log_metres(metres)
    wanted = (to_picture(prediction, GRID) - truth).abs()[hidden & known].mean()
    assert float(reconstruct(*batch, GRID).error) == pytest.approx(float(wanted))
    assert math.isnan(float(reconstruct(prediction, metres, torch.zeros_like(masked), GRID).error))


def test_a_prediction_twice_too_far_costs_log_two_and_no_gradient_matching(batch):
    _, metres, masked = batch
    truth, _ = log_metres(metres)
    exact = truth.reshape(3, 2, 4, 3, 4).transpose(2, 3).reshape(3, 6, 16)
    assert torch.equal(to_picture(exact, GRID), truth)
    for factor in (1.0, 2.0):
        got = reconstruct(exact + math.log(factor), metres, masked, GRID, gradient_weight=7.0)
        assert float(got.loss) == pytest.approx(math.log(factor), abs=1e-5)


def test_unknown_pixels_give_no_gradient_and_their_values_do_not_matter(batch):
    prediction, metres, masked = batch
    prediction.requires_grad_()
    reconstruct(prediction, metres, masked, GRID).loss.backward()
    _, known = log_metres(metres)
    felt = to_picture(prediction.grad, GRID) != 0
    assert not bool((felt & ~known).any())
    assert bool(felt[known].all())


def test_a_picture_of_unknown_depth_counts_with_nothing_and_parts_average_to_the_whole(batch):
    prediction, metres, masked = batch
    metres[2] = math.nan
    whole = reconstruct(prediction, metres, masked, GRID).loss
    parts = [reconstruct(*(one[i, None] for one in (prediction, metres, masked)), GRID).loss for i in range(3)]
    assert float(parts[2]) == 0
    assert float(whole) == pytest.approx(float(sum(parts)) / 3, rel=1e-6)


def test_shapes_that_do_not_fit_are_refused(batch):
    prediction, metres, masked = batch
    with pytest.raises(SdvlmError, match=r"metres must be \[3, 8, 12\].*\[3, 8, 11\]"):
        reconstruct(prediction, metres[:, :, :11], masked, GRID)
    with pytest.raises(SdvlmError, match="masked must be"):
        reconstruct(prediction, metres, masked[:, :5], GRID)


def test_the_decoder_says_the_mean_of_a_patch_linearly_and_its_start_depth_before_training():
    torch.manual_seed(1)
    decoder = DepthDecoder(16, SIDE, start_m=3.0)
    features = torch.randn(2, 6, 16)
    decoder.requires_grad_(False)
    torch.testing.assert_close(decoder(features).mean(-1), torch.full((2, 6), math.log(3.0)))
    nn.init.normal_(decoder.level.weight)
    normed = (features - features.mean(-1, keepdim=True)) / (features.var(-1, False, keepdim=True) + 1e-5).sqrt()
    linear = normed @ decoder.level.weight[0] + math.log(3.0)
    torch.testing.assert_close(decoder(features).mean(-1), linear, atol=1e-5, rtol=1e-5)
    assert float(decoder(features).std(-1).min()) > 0


class ScaleToy:
    """RGB knows a layout of 8 numbers; depth is the layout in log metres plus a log scale RGB does not know."""

    def __init__(self, seed=1, pixels=32, width=64):
        torch.manual_seed(seed)
        self.mix = torch.randn(8, pixels) / 8**0.5
        self.teacher = nn.Sequential(nn.Linear(8, 64), nn.Tanh(), nn.Linear(64, 32)).requires_grad_(False)
        self.trunk = nn.Sequential(nn.Linear(pixels, width), nn.GELU(), nn.Linear(width, width), nn.GELU())
        self.head, self.decoder = nn.Linear(width, 32), nn.Linear(width, pixels)

    def draw(self, count):
        layout, log_scale = torch.randn(count, 8), torch.randn(count, 1)
        return layout @ self.mix + log_scale, self.teacher(layout), log_scale[:, 0]

    def train(self, reconstruction, temperature, steps=250):
        modules = nn.ModuleList([self.trunk, self.head, self.decoder])
        optimizer = torch.optim.AdamW(modules.parameters(), lr=1e-2)
        for _ in range(steps):
            depth, rgb, _ = self.draw(128)
            features = self.trunk(depth)
            loss = info_nce(self.head(features), rgb, torch.tensor(-math.log(temperature))).loss
            loss = loss + reconstruction * (self.decoder(features) - depth).abs().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return self

    @torch.no_grad()
    def measure(self):
        """R@1 of 512, R2 of log scale in the trunk and in the embedding."""
        torch.manual_seed(99)
        depth, rgb, log_scale = self.draw(2048)
        trunk = self.trunk(depth)
        embedding = self.head(trunk)
        r2 = [ridge_probe(one[:1024], log_scale[:1024], one[1024:], log_scale[1024:]) for one in (trunk, embedding)]
        return retrieval(embedding[:512], rgb[:512]).r1, *r2


def test_contrast_alone_erases_scale_from_the_trunk_behind_good_retrieval_and_reconstruction_restores_it():
    fresh = ScaleToy().measure()
    assert fresh[0] < 0.02
    assert min(fresh[1:]) > 0.95
    r1, trunk, embedding = ScaleToy().train(reconstruction=0.0, temperature=0.07).measure()
    assert r1 > 0.93
    assert trunk < 0.6
    assert embedding < 0.25
    r1, warm_trunk, _ = ScaleToy().train(reconstruction=0.0, temperature=0.2).measure()
    assert r1 > 0.9
    assert warm_trunk < trunk  # a larger temperature loses more
    r1, trunk, _ = ScaleToy().train(reconstruction=1.0, temperature=0.07).measure()
    assert r1 > 0.93
    assert trunk > 0.99
