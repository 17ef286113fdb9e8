import torch

from training.losses import mask_losses, text_loss


def test_perfect_masks_cost_nothing_and_wrong_ones_much():
    target = torch.zeros(1, 1, 8, 8)
    target[..., :4, :] = 1
    valid = torch.ones(1, 1, 8, 8)
    good_bce, good_dice = mask_losses((target * 2 - 1) * 20, target, valid)
    bad_bce, bad_dice = mask_losses((target * 2 - 1) * -20, target, valid)
    assert good_bce.item() < 1e-4
    assert good_dice.item() < 1e-3
    assert bad_bce.item() > 10
    assert bad_dice.item() > 0.9


def test_padding_does_not_count():
    target = torch.zeros(1, 1, 4, 4)
    valid = torch.zeros(1, 1, 4, 4)
    valid[..., :2] = 1
    logits = torch.full((1, 1, 4, 4), -20.0)
    spoiled = logits.clone()
    spoiled[..., 2:] = 20
    assert torch.equal(
        mask_losses(logits, target, valid)[0], mask_losses(spoiled, target, valid)[0]
    )


def test_text_loss_looks_only_at_taught_tokens():
    ids = torch.tensor([[1, 2, 3]])
    weights = torch.tensor([[0.0, 1.0, 0.0]])
    logits = torch.zeros(1, 3, 5)
    logits[0, 0, 2] = 50
    assert text_loss(logits, ids, weights).item() < 1e-4
    logits[0, 1, 4] = 50
    assert text_loss(logits, ids, weights).item() < 1e-4
    assert text_loss(logits, ids, torch.tensor([[0.0, 0.0, 1.0]])).item() > 10
