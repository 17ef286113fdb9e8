import pytest

from Sim4SegCore.errors import Sim4SegError
from training.config import load_config


def test_file_and_overrides_are_merged(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text("steps: 7\nmodel: {segmenter: {embed_dim: 64}}\n")
    config = load_config(path, ["model.segmenter.embedding_stride=8", "optimizer.betas=[0.8, 0.9]"])
    assert config.steps == 7
    assert config.model.segmenter.embed_dim == 64
    assert config.model.segmenter.embedding_stride == 8
    assert config.optimizer.betas == (0.8, 0.9)


def test_unknown_key_names_the_nearest():
    with pytest.raises(Sim4SegError, match=r"batch_sise; did you mean batch_size\?"):
        load_config(None, ["batch_sise=3"])


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("steps=many", "steps must be int"),
        ("steps=true", "steps must be int"),
        ("model.rvls2m.mode=softish", "model.rvls2m.mode must be"),
        ("model=3", "must be a mapping"),
        ("steps", "not of the form key=value"),
        ("lvlm.stage_channels=[a]", "lvlm.stage_channels must be int"),
    ],
)
def test_wrong_values_are_refused(override, message):
    with pytest.raises(Sim4SegError, match=message):
        load_config(None, [override])


def test_missing_file_is_named(tmp_path):
    with pytest.raises(Sim4SegError, match="no configuration file"):
        load_config(tmp_path / "none.yaml", [])
