"""Many processes, adapters, frozen encoders, early stopping: the run means the same."""

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from PIL import Image
from tiny import SIDE, small_sam_registered, write_llava
from transformers import LlavaConfig

from Sim4SegCore.errors import Sim4SegError
from Sim4SegCore.modeling.checkpoint import load_model
from training import run
from training.config import load_config
from training.embeddings import EmbeddingCache
from training.export import export
from training.history import HISTORY_FILE
from training.loop import Trainer
from training.sample_views import PLAIN
from training.state import BEST_FILE, STATE_FILE

ROOT = Path(__file__).resolve().parents[2]
RUN = str(ROOT / "training" / "run.py")
PAPER = ROOT / "training" / "configs" / "llava7b.yaml"


def losses(folder: Path) -> list[dict[str, float]]:
    with (folder / HISTORY_FILE).open(newline="") as file:
        return [{k: float(v) for k, v in row.items()} for row in csv.DictReader(file)]


def start(arguments: list[str], processes: int = 1) -> "subprocess.Popen[str]":
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    command = [sys.executable, *(launcher if processes > 1 else []), RUN, "train", *arguments]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


def train(arguments: list[str], processes: int = 1) -> None:
    process = start(arguments, processes)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors[-2000:]


@pytest.fixture
def compared(tiny_overrides: list[str]) -> list[str]:
    """A run whose losses are steady: sums in another order differ in the seventh digit, which
    the steps of some seeds magnify a thousandfold.
    """
    return [*tiny_overrides, "batch_size=4", "steps=6", "seed=1"]


@pytest.fixture
def whole(compared: list[str], tmp_path: Path) -> list[dict[str, float]]:
    """Losses of the run that all others are compared with."""
    Trainer(load_config(None, compared)).run()
    return losses(tmp_path / "run")


def assert_same(found: list[dict[str, float]], expected: list[dict[str, float]]) -> None:
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected, strict=True):
        assert ours == pytest.approx(theirs, abs=1e-4)


def test_micro_batches_add_up_to_the_batch(compared, tmp_path, whole):
    cut = [*compared, "micro_batch_size=1"]
    Trainer(load_config(None, [*cut, f"output={tmp_path / 'cut'}"])).run()
    assert_same(losses(tmp_path / "cut"), whole)


@pytest.mark.slow
@pytest.mark.parametrize("sharded", [False, True])
def test_two_processes_train_like_one(compared, tmp_path, whole, sharded):
    two = [*compared, f"output={tmp_path / 'two'}"]
    train([*two, f"parallel.sharded={str(sharded).lower()}"], processes=2)
    assert_same(losses(tmp_path / "two"), whole)


@pytest.mark.slow
def test_a_run_killed_at_any_moment_ends_with_the_same_losses(tiny_overrides, tmp_path):
    arguments = [*tiny_overrides, "steps=30", "save_every=3"]
    process = start([*arguments, f"output={tmp_path / 'killed'}"])
    state = tmp_path / "killed" / STATE_FILE
    deadline = time.monotonic() + 120
    while not state.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert state.exists()
    train([*arguments, f"output={tmp_path / 'killed'}"])
    train([*arguments, f"output={tmp_path / 'whole'}"])
    assert losses(tmp_path / "killed") == losses(tmp_path / "whole")
    assert (tmp_path / "killed" / "losses.png").stat().st_size > 1000


def test_a_batch_that_cannot_be_shared_is_refused(tiny_overrides):
    with pytest.raises(Sim4SegError, match="micro_batch_size 2 does not divide the 3 samples"):
        Trainer(load_config(None, [*tiny_overrides, "micro_batch_size=2"]))


def test_training_stops_when_validation_does_not_improve(tiny_overrides, tmp_path):
    looks = ["validation.every=1", "validation.batches=1", "validation.patience=2"]
    worse = ["optimizer.learning_rate=0.9", "optimizer.warmup_steps=0", "optimizer.ema_decay=0"]
    trainer = Trainer(load_config(None, [*tiny_overrides, *looks, *worse, "steps=40"]))
    trainer.run()
    assert trainer.step < 40
    best = torch.load(tmp_path / "run" / BEST_FILE, weights_only=True)
    assert best["step"] == trainer.step - 2
    looked = [row["validation"] for row in losses(tmp_path / "run")]
    assert min(looked) == looked[-3]
    export(trainer.config, tmp_path / "checkpoint")
    shipped = load_model(tmp_path / "checkpoint").state_dict()
    for name, value in best["average"].items():
        torch.testing.assert_close(shipped[name], value, atol=1e-3, rtol=1e-2)


def test_a_full_disk_keeps_the_state_before(tiny_overrides, tmp_path, monkeypatch):
    trainer = Trainer(load_config(None, tiny_overrides))
    trainer.run()
    saved = (tmp_path / "run" / STATE_FILE).read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(Sim4SegError, match="No space left"):
        trainer.save()
    assert (tmp_path / "run" / STATE_FILE).read_bytes() == saved
    assert not list((tmp_path / "run").glob("*.partial"))


def test_a_damaged_state_is_said(tiny_overrides, tmp_path):
    Trainer(load_config(None, tiny_overrides)).run()
    path = tmp_path / "run" / STATE_FILE
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(Sim4SegError, match="damaged"):
        Trainer(load_config(None, tiny_overrides))


def test_a_missing_image_is_named(tiny_overrides, made_up_data):
    for image in (made_up_data / "m3ds" / "images").glob("train*"):
        image.unlink()
    trainer = Trainer(load_config(None, tiny_overrides))
    with pytest.raises(Sim4SegError, match=r"train\d+\.png is missing or damaged"):
        trainer.dataset[0]


def test_a_mask_of_another_size_is_named(tiny_overrides, made_up_data):
    for mask in (made_up_data / "m3ds" / "masks").glob("train*"):
        Image.new("1", (7, 9)).save(mask)
    trainer = Trainer(load_config(None, tiny_overrides))
    with pytest.raises(Sim4SegError, match=r"train\d+\.png is 7×9, its image"):
        for step in range(4):
            trainer.dataset[step]


@pytest.fixture
def llava(tmp_path: Path) -> list[str]:
    """Overrides that give the paper's configuration a tiny LLaVA and a small SAM."""
    return [
        f"base.lvlm={write_llava(tmp_path / 'llava')}",
        "base.sam=null",
        f"base.embedding_cache={tmp_path / 'embeddings'}",
        f"output={tmp_path / 'run'}",
        f"model.lvlm.image_size={SIDE}",
        "model.segmenter.encoder=vit_b",
        f"model.segmenter.image_size={SIDE}",
        "model.segmenter.embed_dim=32",
        "model.segmenter.transformer_mlp_dim=32",
        "model.segmenter.iou_head_hidden_dim=16",
        "model.rvls2m.regions=4",
        "model.rvls2m.top_regions=3",
        "batch_size=4",
        "steps=2",
        "workers=0",
        "threads=1",
        "device=cpu",
        "bfloat16=false",
        "max_text_tokens=4000",
    ]


def test_the_papers_configuration_trains_its_adapter_alone(llava, made_up_data, tmp_path):
    config = load_config(PAPER, [*llava, f"data={made_up_data}"])
    with small_sam_registered():
        trainer = Trainer(config)
        before = {n: p.detach().clone() for n, p in trainer.model.named_parameters()}
        trainer.run()
        changed = {n for n, p in trainer.model.named_parameters() if not torch.equal(p, before[n])}
        export(config, tmp_path / "checkpoint")
        shipped = load_model(tmp_path / "checkpoint")
    assert any("lora_B" in name for name in changed)
    assert any("lm_head" in name for name in changed)
    assert any(name.startswith("segmenter.mask_decoder") for name in changed)
    assert not any(".image_encoder." in name or ".vision_tower." in name for name in changed)
    assert not any("base_layer" in name or "original_module" in name for name in changed)
    assert not (tmp_path / "checkpoint" / "lvlm").exists()
    shipped_head = shipped.state_dict()["lvlm.network.lm_head.weight"]
    averaged = next(v for n, v in trainer.average.values.items() if "lm_head" in n)
    torch.testing.assert_close(shipped_head, averaged, atol=1e-3, rtol=1e-2)


def test_cached_embeddings_are_the_encoders(llava, made_up_data, tmp_path):
    config = load_config(PAPER, [*llava, f"data={made_up_data}"])
    plain = load_config(PAPER, [*llava, f"data={made_up_data}", "base.embedding_cache=null"])
    with small_sam_registered():
        cached, computed = Trainer(config), Trainer(plain)
    model = cached.model.eval()
    # Colours vary for the language model alone where SAM's embeddings come from the cache.
    computed.dataset.maker.views.variation = PLAIN
    batch, with_cache = computed.dataset[0][0], cached.dataset[0][0]
    assert batch.record_ids == with_cache.record_ids
    with torch.no_grad():
        expected = model.sam_embedding(batch.sam_images, None, batch.frames.sam_content).coarse
    found = with_cache.sam_embeddings.float()
    torch.testing.assert_close(found, expected, atol=2e-3, rtol=2e-3)


def test_embeddings_of_another_encoder_are_refused(llava, made_up_data, tmp_path):
    overrides = [*llava, f"data={made_up_data}"]
    with small_sam_registered():
        Trainer(load_config(PAPER, overrides))
        count = len(list((tmp_path / "embeddings").glob("*.safetensors")))
        Trainer(load_config(PAPER, overrides))
        assert len(list((tmp_path / "embeddings").glob("*.safetensors"))) == count
        with pytest.raises(Sim4SegError, match="another image encoder"):
            Trainer(load_config(PAPER, [*overrides, "seed=9"]))
    with pytest.raises(Sim4SegError, match="no embedding of nothing"):
        EmbeddingCache(tmp_path / "embeddings")["nothing"]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("sampling.geometry=true", "needs sampling.geometry=false"),
        ("base.freeze_image_encoder=false", "needs a frozen image encoder"),
        ("lora.targets=[no_such_layer]", "lora does not fit this network"),
        ("base.lvlm=null", "lora.rank needs base.lvlm"),
    ],
)
def test_what_does_not_go_together_is_refused(llava, made_up_data, override, message):
    with small_sam_registered(), pytest.raises(Sim4SegError, match=message):
        Trainer(load_config(PAPER, [*llava, f"data={made_up_data}", override]))


def test_the_papers_configuration_builds_in_full_width(made_up_data, tmp_path, capsys):
    """Shapes of LLaVA-1.5-7B (transformers' defaults) and SAM ViT-H, without their weights."""
    folder = write_llava(tmp_path / "llava")
    for weights in folder.glob("*.safetensors"):
        weights.unlink()
    LlavaConfig().save_pretrained(folder)
    arguments = [f"base.lvlm={folder}", f"data={made_up_data}", f"output={tmp_path / 'run'}"]
    assert run.main(["train", "--dry-run", "--config", str(PAPER), *arguments]) == 0
    said = capsys.readouterr().out
    trained, frozen = (float(w) for w in said.split("\n")[1].split() if w[0].isdigit())
    assert 250 < trained < 300
    assert 7200 < frozen < 8000
    assert not (tmp_path / "run").exists()
