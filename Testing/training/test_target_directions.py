import torch

from training.records import Record
from training.target_directions import direction_loss, directions, taught_targets


def record(dataset, masks):
    return Record("a", dataset, "a.png", masks, "MRI", "brain", None, "a", "made up")


def test_a_set_of_the_users_own_brings_its_targets():
    targets = taught_targets([record("Own", {"edema": "m.png"})])
    assert {"edema", "tumor", "liver"} <= set(targets)
    assert len(targets) == len(set(targets))


def test_a_target_keeps_its_direction_among_any_others():
    few = directions(("tumor", "polyp"), 64)
    many = directions(("left lung", "polyp", "right lung", "tumor"), 64)
    assert torch.equal(few[0], many[3])
    assert torch.equal(few[1], many[1])


def test_directions_are_far_apart():
    known = directions(taught_targets([]), 128)
    cosines = known @ known.T - torch.eye(len(known))
    assert torch.allclose(known.norm(dim=1), torch.ones(len(known)))
    assert cosines.abs().max() < 0.5


def test_embeddings_learn_to_tell_targets_apart():
    known = directions(("left lung", "right lung", "heart"), 16)
    alike = torch.ones(3, 16, requires_grad=True)
    optimizer = torch.optim.SGD([alike], lr=1.0)
    asked = torch.arange(3)
    before = direction_loss(alike, asked, known).item()
    for _ in range(100):
        optimizer.zero_grad()
        direction_loss(alike, asked, known).backward()
        optimizer.step()
    assert direction_loss(alike, asked, known).item() < before / 3
    assert (torch.nn.functional.normalize(alike, dim=1) @ known.T).argmax(1).tolist() == [0, 1, 2]


def test_the_length_of_an_embedding_does_not_count():
    known = directions(("left lung", "right lung"), 16)
    embedding, asked = known[:1] + 0.3, torch.tensor([1])
    short, long = (direction_loss(embedding * size, asked, known) for size in (0.1, 30.0))
    assert torch.allclose(short, long, atol=1e-5)
