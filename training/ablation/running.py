"""Train, export and evaluate each variant; every finished stage is kept.

<output>/ablation.yaml          what is compared, fixed by the first start
<output>/<variant>/run          the training run
<output>/<variant>/checkpoint   its export
<output>/<variant>/answers.json that it is done
<output>/ablation.md, .csv      the comparison
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import yaml

from Sim4SegCore import Sim4Seg
from Sim4SegCore.errors import Sim4SegError
from Sim4SegCore.io import explain_os_error

from ..evaluation import check_records, evaluate, ungated
from ..export import export
from ..loop import Trainer
from ..records import data_folder, read_records
from .config import AblationConfig, Variant
from .paper import paper_markdown
from .stored import Answers, check_paired, read_answers, write_answers
from .tables import comparison_csv, comparison_markdown

CONFIG_FILE = "ablation.yaml"
ANSWERS_FILE = "answers.json"


def run_ablation(config: AblationConfig, resume: bool) -> str:
    """Do what is not done yet.

    Returns:
        The comparison in markdown, as written to `ablation.md`.

    Raises:
        Sim4SegError: if the output is in use and `resume` False, holds another ablation, or
            cannot be written; what is finished stays and is not done again.
    """
    output = Path(config.output)
    try:
        _prepare(output, config, resume)
        answers = {variant.name: _answers(config, variant) for variant in config.variants}
        for other in answers.values():
            check_paired(answers[config.reference].rows, other.rows)
        document = "\n\n".join(
            [comparison_markdown(answers, config.reference), paper_markdown(answers)]
        )
        (output / "ablation.md").write_text(document + "\n", encoding="utf-8")
        table = comparison_csv(answers, config.reference)
        (output / "ablation.csv").write_text(table, encoding="utf-8")
    except OSError as error:
        raise explain_os_error(error, output, "write") from None
    return document


def _prepare(output: Path, config: AblationConfig, resume: bool) -> None:
    """Fix what is compared, or check that it is what was begun."""
    wanted = {
        variant.name: dataclasses.asdict(config.training(variant)) for variant in config.variants
    }
    resolved = yaml.safe_dump(
        json.loads(json.dumps({"split": config.split, "variants": wanted})), sort_keys=False
    )
    stored = output / CONFIG_FILE
    if output.exists() and any(output.iterdir()):
        if not resume:
            raise Sim4SegError(f"{output} is not empty; choose another output or add --resume")
        if not stored.is_file() or stored.read_text(encoding="utf-8") != resolved:
            raise Sim4SegError(f"{output} holds another ablation; choose another output")
        return
    output.mkdir(parents=True, exist_ok=True)
    temporary = stored.with_suffix(".partial")
    temporary.write_text(resolved, encoding="utf-8")
    temporary.replace(stored)


def _answers(config: AblationConfig, variant: Variant) -> Answers:
    """Of a variant that is done, or that is then."""
    folder = Path(config.output) / variant.folder
    path = folder / ANSWERS_FILE
    if path.is_file():
        return read_answers(path)
    checkpoint = _checkpoint(config, variant, folder)
    training = config.training(variant)
    records = read_records(data_folder(training.data), config.split)
    predictor = Sim4Seg.from_pretrained(checkpoint, device=training.device)
    check_records(predictor, records)
    threshold = predictor.model.config.presence_threshold
    rows = evaluate(ungated(predictor), records, data_folder(training.data))
    answers = Answers(tuple(rows), threshold)
    write_answers(path, answers)
    return answers


def _checkpoint(config: AblationConfig, variant: Variant, folder: Path) -> Path:
    """Train and export; a run or an export that was killed is taken up again."""
    finished, unfinished = folder / "checkpoint", folder / "checkpoint.partial"
    if not finished.is_dir():
        training = config.training(variant)
        shutil.rmtree(unfinished, ignore_errors=True)
        Trainer(training).run()
        export(training, unfinished, f"ablation: {variant.name}", with_familiarity=False)
        unfinished.rename(finished)
    return finished
