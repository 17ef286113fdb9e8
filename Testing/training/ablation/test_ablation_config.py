import pytest

from Sim4SegCore.errors import Sim4SegError
from training.ablation.config import AblationConfig, Variant, load_ablation

TWO = "variants: [{name: soft}, {name: hard one, overrides: [model.rvls2m.mode=hard]}]\n"


def written(tmp_path, text):
    path = tmp_path / "ablation.yaml"
    path.write_text(text)
    return path


def test_variants_differ_only_in_what_they_say(tmp_path):
    (tmp_path / "base.yaml").write_text("steps: 9\n")
    path = written(tmp_path, TWO + "base: base.yaml\noverrides: [batch_size=2]\noutput: out\n")
    config = load_ablation(path, [])
    soft, hard = (config.training(variant) for variant in config.variants)
    assert (soft.steps, soft.batch_size) == (hard.steps, hard.batch_size) == (9, 2)
    assert (soft.model.rvls2m.mode, hard.model.rvls2m.mode) == ("soft", "hard")
    assert (soft.output, hard.output) == ("out/soft/run", "out/hard-one/run")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("reference: none\n" + TWO, "reference 'none' is not among"),
        ("variants: [{name: soft}, {name: Soft}]", "names that differ"),
        ("variants: [{name: soft}, {name: long, overrides: [steps=3]}]", "must share steps"),
        ("variants: [{name: soft}, {name: b, overrides: [seed=3]}]", "must share steps"),
        ("variants: [{name: soft, override: []}]", "did you mean overrides"),
        ("variants: [{name: soft, overrides: [modle.x=1]}]", "did you mean model"),
        ("base: nowhere.yaml\n" + TWO, "no configuration file"),
    ],
)
def test_what_does_not_make_sense_is_refused(tmp_path, text, message):
    with pytest.raises(Sim4SegError, match=message):
        load_ablation(written(tmp_path, text), [])


def test_the_shipped_ablation_loads():
    from pathlib import Path

    import training

    path = Path(training.__file__).parent / "configs" / "ablation.yaml"
    config = load_ablation(path, ["overrides=[steps=10]"])
    modes = [config.training(v).model.rvls2m.mode for v in config.variants]
    assert {"none", "hard", "soft"} <= set(modes)
    assert {config.training(v).steps for v in config.variants} == {10}


def test_folders_are_plain():
    assert Variant("without RVLS2M").folder == "without-rvls2m"
    assert AblationConfig().reference == "soft"
