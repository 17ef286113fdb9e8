"""The volumetric network: trained on made-up balls, continued, aligned with a tiny checkpoint."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
import torch
from tiny import compact_model

from Sim4SegCore import Sim4Seg, SliceOptions
from Sim4SegCore.errors import Sim4SegError
from Sim4SegCore.modeling.checkpoint import load_model, save_model
from Sim4SegCore.modeling.volumetric_checkpoint import load_volumetric
from training import run
from training.state import STATE_FILE
from training.volumetric.batches import ELSEWHERE, NONE, WindowBatches
from training.volumetric.config import VariationConfig, load_volumetric_config
from training.volumetric.loop import volumetric_trainer
from training.volumetric.scans import read_scans
from training.volumetric.variation import Draws, cut_out

STILL = VariationConfig(rotation=0, scale=1, stretch=1, shift=0, mirror=False)


def write_ball(folder, name, seed):
    """A bright ball of 6 mm whose upper half has label 1 and whose lower half label 2."""
    rng = np.random.default_rng(seed)
    k, j, i = np.meshgrid(*map(np.arange, (20, 24, 22)), indexing="ij")
    centre = rng.uniform(8, 13, 3)
    inside = np.sqrt((k - centre[0]) ** 2 + (j - centre[1]) ** 2 + (i - centre[2]) ** 2) < 6
    voxels = 100 + 300 * inside + rng.normal(0, 20, inside.shape)
    labels = np.where(inside, np.where(k > centre[0], 1, 2), 0)
    for kind, array in (("images", voxels.astype(np.float32)), ("labels", labels.astype(np.uint8))):
        image = SimpleITK.GetImageFromArray(array)
        image.SetDirection((-1, 0, 0, 0, -1, 0, 0, 0, 1))
        (folder / kind).mkdir(parents=True, exist_ok=True)
        SimpleITK.WriteImage(image, str(folder / kind / f"{name}.nii.gz"))


@pytest.fixture
def overrides(made_up_data, tmp_path):
    for number in range(8):
        write_ball(made_up_data / "balls", f"ball{number}", number)
    return [
        f"data={made_up_data}",
        "volumes=balls",
        f"output={tmp_path / 'run'}",
        "targets={ball: {labels: [1, 2], words: [ball]}, "
        "upper half: {labels: [1], words: [upper half]}}",
        "steps=4",
        "channels=[8, 8, 16, 16]",
        "window=[24, 24, 24]",
        "crop=[16, 24, 24]",
        "seg_width=32",
        "strangers=4",
        "held_out=4",
        "save_every=2",
        "device=cpu",
        "bfloat16=false",
        "optimizer.warmup_steps=2",
        "alignment.slices=6",
        "alignment.steps=60",
    ]


def trainer_of(overrides, *more):
    return volumetric_trainer(load_volumetric_config(None, [*overrides, *more]))


def test_a_continued_volumetric_run_ends_like_an_uninterrupted_one(overrides, tmp_path):
    whole = trainer_of(overrides, f"output={tmp_path / 'whole'}")
    whole.run()
    interrupted = trainer_of(overrides)
    for step in range(2):
        interrupted.train_step(interrupted.batches[step])
    interrupted.save()
    interrupted.train_step(interrupted.batches[2])
    continued = trainer_of(overrides)
    assert continued.step == 2
    continued.run()
    for name, value in continued.average.values.items():
        assert torch.equal(value, whole.average.values[name])
    assert continued.history.rows == whole.history.rows[2:]
    with pytest.raises(Sim4SegError, match="another configuration"):
        trainer_of(overrides, "seed=5")


def test_training_finds_the_balls_and_nothing_where_something_else_is_asked(overrides):
    trainer = trainer_of(
        overrides,
        "steps=120",
        "targets={ball: {labels: [1, 2], words: [ball]}}",
        "optimizer.learning_rate=0.01",
        "variation.noise=0.05",
    )
    losses = [trainer.train_step(trainer.batches[step])["total"] for step in range(120)]
    assert np.mean(losses[-20:]) < 0.6 * np.mean(losses[:20])
    network = trainer.network.eval()
    scan = read_scans(
        trainer_folder(trainer), list(trainer.config.targets.values()), trainer.config.spacing_mm
    )[3]
    window = torch.full((1, 1, 24, 24, 24), -1.0)
    window[0, 0, :20, :24, :22] = scan.grey
    with torch.no_grad():
        queries = torch.nn.functional.normalize(network.prototypes, dim=1)
        found, nothing = network(window.expand(2, -1, -1, -1, -1), queries).presence_logits
    assert found > nothing + 1


def trainer_folder(trainer):
    return Path(trainer.config.data) / trainer.config.volumes


def test_a_network_is_aligned_with_a_checkpoint_and_again_with_another(overrides, tmp_path, capsys):
    assert run.main(["volumetric", *overrides]) == 0
    first = tmp_path / "first"
    save_model(compact_model(), first)
    seg_width = load_model(first).lvlm.hidden_size
    if seg_width != 32:
        shutil.rmtree(tmp_path / "run")
        overrides = [*overrides, f"seg_width={seg_width}"]
        assert run.main(["volumetric", *overrides]) == 0
    assert run.main(["align", "--model", str(first), *overrides]) == 0
    assert "were understood" in capsys.readouterr().out
    card = json.loads((first / "volumetric" / "card.json").read_text())
    assert card["steps"] == 4 and 0 <= card["alignment"]["refused"] <= 1
    predictor = Sim4Seg.from_pretrained(first, device="cpu")
    volume = tmp_path / "data" / "balls" / "images" / "ball0.nii.gz"
    options = SliceOptions(mode="volume", key_slices=1)
    result = predictor.segment_volume(volume, "Segment the ball.", options)
    assert result.mask.shape == (20, 24, 22)

    second = tmp_path / "second"
    other = compact_model()
    with torch.no_grad():
        other.projection[0].weight += 0.1
    save_model(other, second)
    shutil.copytree(first / "volumetric", second / "volumetric")
    stranger = Sim4Seg.from_pretrained(second, device="cpu")
    with pytest.raises(Sim4SegError, match=r"aligned with another .*run.py align"):
        stranger.segment_volume(volume, "Segment the ball.", options)
    before = load_volumetric(first / "volumetric").state_dict()
    again = ["align", "--model", str(second), "--network", str(first / "volumetric")]
    assert run.main([*again, *overrides]) == 0
    after = load_volumetric(second / "volumetric").state_dict()
    for name, value in before.items():
        assert torch.equal(after[name], value) == (not name.startswith("reader."))
    Sim4Seg.from_pretrained(second, device="cpu").segment_volume(volume, "The ball?", options)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("weights", "missing or damaged"),
        ("config", "no configuration"),
        ("other sizes", "does not fit"),
    ],
)
def test_damaged_volumetric_networks_are_refused_in_one_line(
    overrides, tmp_path, damage, message, capsys
):
    trainer_of(overrides).run()
    model = tmp_path / "model"
    save_model(compact_model(), model)
    width = f"seg_width={load_model(model).lvlm.hidden_size}"
    shutil.rmtree(tmp_path / "run")
    assert run.main(["volumetric", *overrides, width]) == 0
    assert run.main(["align", "--model", str(model), *overrides, width]) == 0
    folder = model / "volumetric"
    if damage == "weights":
        (folder / "model.safetensors").write_bytes(b"half")
    elif damage == "config":
        (folder / "config.json").write_text("{")
    else:
        config = json.loads((folder / "config.json").read_text()) | {"channels": [8, 16, 16, 16]}
        (folder / "config.json").write_text(json.dumps(config))
    again = ["align", "--model", str(model), "--network", str(folder), *overrides, width]
    assert run.main(again) == 2
    assert message in capsys.readouterr().err


def test_labels_that_lie_elsewhere_are_refused(overrides, made_up_data):
    path = made_up_data / "balls" / "labels" / "ball2.nii.gz"
    image = SimpleITK.ReadImage(str(path))
    image.SetOrigin((5, 0, 0))
    SimpleITK.WriteImage(image, str(path))
    with pytest.raises(Sim4SegError, match=r"labels of ball2\.nii\.gz do not lie on its voxels"):
        trainer_of(overrides)


def test_missing_labels_and_targets_are_refused(overrides, made_up_data):
    with pytest.raises(Sim4SegError, match="no targets"):
        trainer_of(overrides, "targets={}")
    (made_up_data / "balls" / "labels" / "ball1.nii.gz").unlink()
    with pytest.raises(Sim4SegError, match=r"ball1\.nii\.gz has no label file"):
        trainer_of(overrides)


def test_a_diverged_volumetric_run_keeps_its_last_state(overrides, tmp_path):
    trainer = trainer_of(overrides)
    trainer.run()
    saved = (tmp_path / "run" / STATE_FILE).read_bytes()
    with torch.no_grad():
        trainer.network.scale.fill_(float("nan"))
    with pytest.raises(Sim4SegError, match="not finite"):
        trainer.train_step(trainer.batches[0])
    assert (tmp_path / "run" / STATE_FILE).read_bytes() == saved


def test_windows_without_variation_are_the_scan_itself():
    scan = torch.rand(2, 20, 24, 22)
    draws = Draws(torch.Generator().manual_seed(0))
    cut = cut_out(scan, (24, 24, 24), STILL, draws)
    assert torch.allclose(cut[:, 2:22, :, 1:23], scan, atol=1e-4)
    assert cut[:, :2].abs().max() == 0 and cut[..., 23:].abs().max() == 0


def test_labels_move_with_what_they_label():
    """A bright ball stays under its label however window and ball are turned and stretched."""
    k, j, i = np.meshgrid(*map(np.arange, (30, 34, 26)), indexing="ij")
    ball = torch.from_numpy(np.hypot(np.hypot(k - 13, j - 20), i - 11) < 7).float()
    for seed in range(8):
        draws = Draws(torch.Generator().manual_seed(seed))
        light, label = cut_out(torch.stack([ball, ball]), (24, 32, 24), VariationConfig(), draws)
        assert torch.equal(light, label)
        assert 0.4 * ball.sum() < label.sum() < 2.5 * ball.sum()


def test_batches_ask_for_targets_for_nothing_and_of_strangers(overrides):
    trainer = trainer_of(overrides, "stranger_share=0.4", "mismatched=0.4")
    batches = [trainer.batches[step] for step in range(40)]
    asked = {int(target) for batch in batches for target in batch.asked}
    assert asked == {ELSEWHERE, NONE, 0, 1}
    for batch in batches:
        assert batch.windows.shape == (2, 1, 16, 24, 24)
        assert batch.windows.abs().max() <= 1
        assert not (batch.present[batch.asked < 0]).any()
    same = WindowBatches(trainer.config, trainer.batches._scans, trainer.batches._strangers)
    assert torch.equal(same[7].windows, batches[7].windows)
