"""CoMAE: what each stage sees, what it asks, the leak of places, and the encoder that comes out."""

import math

import pytest
import torch
import transformers as hf
from torch.nn import functional as F

from sdvlm.fusion.depth_channels import DepthChannels
from sdvlm.fusion.encoder import DepthEncoder
from sdvlm.pretrain.comae import CoMAE, PairDecoder
from sdvlm.types import SdvlmError

SIDE, PATCH, GRID = 32, 8, (4, 4)


def tower(seed=0):
    torch.manual_seed(seed)
    config = hf.CLIPVisionConfig(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=SIDE,
        patch_size=PATCH,
    )
    made = hf.CLIPVisionModel(config)
    torch.nn.init.normal_(made.embeddings.position_embedding.weight, std=0.6)  # as visible as a trained tower's
    return made


def comae(**settings):
    rgb = tower()
    encoder = DepthEncoder.from_rgb(rgb, DepthChannels())
    settings = {"embedding": 16, "decoder_width": 32, "decoder_blocks": 1, "decoder_heads": 2} | settings
    return CoMAE(encoder, rgb, **settings)


def planes_of(metres):
    """Log-metric depth planes on (-2, 2), unknown pixels 0, and validity."""
    known = metres.isfinite()
    u = torch.where(known, metres, 1.0).div(0.1).log() / math.log(1000)
    return torch.stack([torch.where(known, 4 * u - 2, 0.0), known.float()], dim=1)


def noise(count, seed):
    """RGB and depth that know nothing of each other: one random colour and one random depth a patch."""
    generator = torch.Generator().manual_seed(seed)
    rgb = torch.randn(count, 3, 4, 4, generator=generator)
    metres = torch.exp(torch.randn(count, 4, 4, generator=generator))
    grow = [one.repeat_interleave(PATCH, -1).repeat_interleave(PATCH, -2) for one in (rgb, metres)]
    return grow[0], planes_of(grow[1]), grow[1]


def told(count, seed):
    """The same with depth that follows from the red channel of the patch."""
    rgb, _, _ = noise(count, seed)
    metres = torch.exp(rgb[:, 0])
    return rgb, planes_of(metres), metres


def contrast_accuracy(batches, places, steps=40):
    model = comae()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for step in range(steps):
        loss = model.contrast(*batches(8, step), places=places).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        model.temperature.clamp_()
    with torch.no_grad():
        got = model.contrast(*batches(32, 10_000), places=places)
    assert float(got.chance) == pytest.approx(1 / 16)
    return float(got.accuracy)


def test_with_places_contrast_is_solved_on_noise_depth_and_without_them_it_stays_at_chance():
    assert contrast_accuracy(noise, places=True) > 0.9
    assert contrast_accuracy(noise, places=False) < 0.12


def test_without_places_contrast_is_learned_where_depth_follows_from_rgb():
    assert contrast_accuracy(told, places=False) > 0.18


def test_depth_features_are_those_of_the_encoder_and_rgb_enters_by_its_own_projection():
    model, rgb_tower = comae().eval(), tower().eval()
    rgb, planes, _ = noise(2, 0)
    with torch.no_grad():
        torch.testing.assert_close(model.features(planes, "depth"), model.encoder(planes), atol=1e-5, rtol=1e-4)
        plain = rgb_tower(rgb).last_hidden_state[:, 1:]
        torch.testing.assert_close(model.features(rgb, "rgb"), plain, atol=1e-5, rtol=1e-4)
    assert model.to_depth_encoder() is model.encoder


def test_hidden_patches_are_not_seen():
    model = comae(modality_dropout=0.0).eval()
    rgb, planes, metres = noise(2, 1)
    masks = model._masks(2, torch.Generator().manual_seed(5))
    assert masks.sum(-1).tolist() == [[12, 12], [12, 12]]

    def spoiled(x, mask):
        hidden = mask.reshape(2, 1, *GRID).repeat_interleave(PATCH, 2).repeat_interleave(PATCH, 3)
        return torch.where(hidden, torch.randn_like(x), x), hidden

    seen, inputs = [], (rgb, planes)
    model.decoder.register_forward_hook(lambda module, given, out: seen.append(out))
    with torch.no_grad():
        for x in (inputs, [spoiled(one, mask)[0] for one, mask in zip(inputs, masks, strict=True)]):
            model.reconstruct(*x, metres, torch.Generator().manual_seed(5))
        visible = torch.where(spoiled(rgb, masks[0])[1], rgb, rgb + 1)
        model.reconstruct(visible, planes, metres, torch.Generator().manual_seed(5))
    torch.testing.assert_close(seen[0], seen[1])
    assert float((seen[0][1] - seen[2][1]).abs().max()) > 1e-4  # RGB that is seen does reach depth


def test_the_losses_are_of_hidden_patches_rgb_by_its_own_deviation_and_depth_in_log_metres():
    model = comae(modality_dropout=0.0).eval()
    rgb, planes, metres = noise(3, 2)
    rgb = rgb + 0.3 * torch.randn_like(rgb)
    said = []
    model.decoder.register_forward_hook(lambda module, given, out: said.append(out))
    with torch.no_grad():
        got = model.reconstruct(rgb, planes, metres, torch.Generator().manual_seed(7))
    masks = model._masks(3, torch.Generator().manual_seed(7))
    errors, depth = [], []
    for picture in range(3):
        for number in range(16):
            i, j = divmod(number, 4)
            place = (slice(i * PATCH, (i + 1) * PATCH), slice(j * PATCH, (j + 1) * PATCH))
            if masks[0, picture, number]:
                patch = rgb[picture][:, *place]
                normed = (patch - patch.mean()) / patch.std(correction=0)
                errors.append(float((said[0][0][picture, number].reshape(3, PATCH, PATCH) - normed).square().mean()))
            if masks[1, picture, number]:
                truth = metres[picture][place].log()
                depth.append(float((said[0][1][picture, number].reshape(PATCH, PATCH) - truth).abs().mean()))
    assert float(got.rgb) == pytest.approx(sum(errors) / len(errors), rel=1e-4)
    assert float(got.depth_error) == pytest.approx(sum(depth) / len(depth), rel=1e-4)
    assert float(got.loss) == pytest.approx(float(got.rgb + got.depth))


def test_modality_dropout_hides_each_modality_a_quarter_of_the_time():
    model = comae(modality_dropout=0.5)
    generator = torch.Generator().manual_seed(0)
    hidden = torch.stack([model._masks(1, generator).all(-1)[:, 0] for _ in range(400)]).float().mean(0)
    assert hidden.tolist() == pytest.approx([0.25, 0.25], abs=0.06)


@pytest.mark.parametrize("lost", [0, 1])
def test_one_modality_alone_reconstructs_both(lost):
    model = comae(modality_dropout=1.0)
    rgb, planes, metres = told(4, 3)
    seed = next(s for s in range(99) if bool(model._masks(4, torch.Generator().manual_seed(s))[lost].all()))
    got = model.reconstruct(rgb, planes, metres, torch.Generator().manual_seed(seed))
    got.loss.backward()
    assert all(one.isfinite() for one in (got.loss, got.rgb, got.depth))
    used = [model.rgb_projection.weight.grad, model.body.projection.weight.grad]
    assert used[1 - lost].abs().sum() > 0
    assert used[lost] is None or not used[lost].any()


def test_unknown_depth_is_no_target_and_no_candidate():
    model = comae(modality_dropout=0.0)
    rgb, _, metres = told(2, 4)
    metres[:, :PATCH] = math.nan  # the first row of patches
    planes = planes_of(metres)
    assert float(model.contrast(rgb, planes, metres).taking) == pytest.approx(12 / 16)
    assert bool(model.reconstruct(rgb, planes, metres).loss.isfinite())
    assert float(model.reconstruct(rgb, planes, torch.full_like(metres, math.nan)).depth.detach()) == 0


def test_reconstruction_is_learned_for_depth_from_what_is_seen():
    model = comae(modality_dropout=0.0, mask_ratio=0.5)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)

    def batch(count, seed):  # one depth a picture, so any visible patch tells; RGB tells nothing
        generator = torch.Generator().manual_seed(seed)
        metres = torch.exp(torch.randn(count, 1, 1, generator=generator)).expand(count, SIDE, SIDE)
        return torch.zeros(count, 3, SIDE, SIDE), planes_of(metres), metres

    for step in range(60):
        loss = model.reconstruct(*batch(16, step)).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        rgb, planes, metres = batch(64, 999)
        error = float(model.reconstruct(rgb, planes, metres).depth_error)
    truth = metres.log()
    assert error < 0.6 * float((truth - truth.mean()).abs().mean())


def test_the_encoder_that_comes_out_is_saved_and_read_back(tmp_path):
    model = comae()
    rgb, planes, metres = told(4, 6)
    model.reconstruct(rgb, planes, metres).loss.backward()
    torch.optim.SGD(model.parameters(), lr=0.1).step()
    encoder = model.to_depth_encoder().eval()
    encoder.save_pretrained(tmp_path)
    with torch.no_grad():
        torch.testing.assert_close(DepthEncoder.from_pretrained(tmp_path)(planes), model.features(planes, "depth"))


def test_pixels_of_rgb_targets_are_channel_by_channel_in_patches_row_by_row():
    model = comae()
    rgb = torch.randn(1, 3, SIDE, SIDE)
    folded = F.fold(model.rgb_target(rgb).transpose(1, 2), SIDE, PATCH, stride=PATCH)
    patch = rgb[0, :, 8:16, 24:32]
    torch.testing.assert_close(
        folded[0, :, 8:16, 24:32], (patch - patch.mean()) / patch.std(correction=0), atol=1e-4, rtol=1e-4
    )


def test_an_odd_decoder_width_is_refused():
    with pytest.raises(SdvlmError, match="multiple of 4; got 30"):
        PairDecoder(32, GRID, PATCH, 30, 1, 2)
