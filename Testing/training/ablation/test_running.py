"""Three tiny variants from training to table, killed on the way and resumed."""

import pytest
import torch
import yaml

from training import run
from training.ablation import running
from training.ablation.stored import read_answers
from training.loop import Trainer


@pytest.fixture
def ablation(tiny_overrides, tmp_path):
    """An ablation's YAML whose variants train for seconds."""
    base = [text for text in tiny_overrides if not text.startswith("output=")]
    path = tmp_path / "ablation.yaml"
    values = {
        "output": str(tmp_path / "out"),
        "overrides": [*base, "calibration_fraction=0.3"],
        "variants": [
            {"name": "soft"},
            {"name": "none", "overrides": ["model.rvls2m.mode=none"]},
            {"name": "no CoT", "overrides": ["model.chain_of_thought=false"]},
        ],
    }
    path.write_text(yaml.safe_dump(values))
    return path


def test_killed_in_the_second_variant_and_resumed(ablation, tmp_path, monkeypatch, capsys):
    trained = []
    train_step = Trainer.train_step

    def dying(trainer, batch):
        trained.append((trainer.config.model.rvls2m.mode, trainer.step))
        if len(trained) == 8:
            raise KeyboardInterrupt
        return train_step(trainer, batch)

    monkeypatch.setattr(Trainer, "train_step", dying)
    command = ["ablate", "--config", str(ablation)]
    assert run.main(command) == run.EXIT_INTERRUPTED
    assert trained[-1] == ("none", 3)
    assert not (tmp_path / "out" / "ablation.md").exists()

    assert run.main(command) == 2
    assert "--resume" in capsys.readouterr().err
    assert run.main([*command, "--resume", "overrides=[steps=3]"]) == 2
    assert "holds another ablation" in capsys.readouterr().err

    done = len(trained)
    assert run.main([*command, "--resume"]) == 0
    # The last state was saved after step 2 of 4.
    assert trained[done : done + 2] == [("none", 2), ("none", 3)]
    assert trained[done + 2 :] == [("soft", step) for step in range(4)]
    table = capsys.readouterr().out
    assert table.strip() == (tmp_path / "out" / "ablation.md").read_text().strip()
    assert "| soft | 0." in table
    assert "| none | 0." in table
    direct = read_answers(tmp_path / "out" / "no-cot" / running.ANSWERS_FILE).rows
    assert all(row.stated == {} and row.modality_right is None for row in direct)
    reasoned = read_answers(tmp_path / "out" / "soft" / running.ANSWERS_FILE).rows
    assert all(row.modality_right is not None for row in reasoned)
    assert "| BUSI | 45.91 / 47.30 / 80.00" in table

    monkeypatch.setattr(running, "evaluate", None)
    assert run.main([*command, "--resume"]) == 0
    assert capsys.readouterr().out == table


def test_a_full_disk_is_one_message_and_the_run_goes_on(ablation, tmp_path, monkeypatch, capsys):
    save, saved = torch.save, []

    def filling(state, path):
        saved.append(state["step"])
        if len(saved) == 2:
            # What torch 2 raises when a write falls short.
            raise RuntimeError(
                "[enforce fail at inline_container.cc:671] . unexpected pos 704 vs 598"
            )
        save(state, path)

    command = ["ablate", "--config", str(ablation), "reference=soft", "variants=[{name: soft}]"]
    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", filling)
        assert run.main(command) == 2
    assert "the disk seems to be full" in capsys.readouterr().err
    assert saved == [2, 4]
    assert run.main([*command, "--resume"]) == 0
    assert "| soft |" in capsys.readouterr().out
