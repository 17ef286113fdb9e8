"""Train both networks, ask them and the model about a split, compare.

<output>/baseline.yaml           what is trained, fixed by the first start
<output>/masks, diagnosis        the training runs
<output>/<split>/unet, …         answers, a file a set
<output>/<split>/comparison.md, .csv
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import yaml
from torch import Tensor, nn

from Sim4SegCore import Sim4Seg
from Sim4SegCore.errors import Sim4SegError
from Sim4SegCore.io import explain_os_error

from ..ablation.stored import Answers
from ..config import TrainingConfig
from ..evaluation import Row, check_records, evaluate, ungated
from ..evaluation.stored import read_evaluation
from ..loop import split_calibration
from ..network_trainer import NetworkTrainer
from ..records import Record, data_folder, read_records, read_training_records
from ..state import STATE_FILE
from ..views import ImageStore
from .answers import DiagnosisAsker, MaskAsker, answers_by_set, select_answers
from .comparison import Compared, comparison_csv, comparison_markdown
from .config import BaselineConfig
from .diagnosis import DiagnosisBatch, DiagnosisBatches, diagnosis_loss, labels_by_set, labels_of
from .masks import MaskBatch, MaskBatches, MaskLoss, targets_of
from .networks import Classifier, TargetUNet, build_classifier, build_unet
from .predicting import MASK_THRESHOLD, DiagnosisPredictor, MaskPredictor

CONFIG_FILE = "baseline.yaml"
DIGEST_LETTERS = 12


MaskTrainer = NetworkTrainer[TrainingConfig, TargetUNet, MaskBatch, Tensor]
DiagnosisTrainer = NetworkTrainer[TrainingConfig, Classifier, DiagnosisBatch, Tensor]


@dataclass(frozen=True)
class Asked:
    """What all three are asked.

    Attributes:
        every: only every so-many-th image.
        model: checkpoint folder; None is the embedded one.
        evaluation: folder of an earlier `run.py evaluate --to` of the model on the same split,
            whose answers are taken; None asks the model.
    """

    split: str = "val"
    every: int = 1
    model: str | None = None
    evaluation: Path | None = None

    @property
    def folder(self) -> str:
        """Its folder inside the output."""
        return self.split if self.every == 1 else f"{self.split}-every-{self.every}"


def run_baseline(config: BaselineConfig, asked: Asked) -> str:
    """Do what is not done yet.

    Returns:
        The comparison in markdown, as written to `comparison.md`.

    Raises:
        Sim4SegError: if the output is in use or holds another baseline, or data, model or timm
            are missing; what is finished stays and is not done again.
    """
    torch.set_num_threads(config.threads)
    output = Path(config.output)
    folder = data_folder(config.data)
    records = read_records(folder, asked.split)[:: asked.every]
    place = output / asked.folder
    try:
        _claim(output, config)
        unet, classifier = _mask_trainer(config, folder), _diagnosis_trainer(config, folder)
        model = _model_answers(config, asked, records, folder, place)
        compared = Compared(
            model=model,
            masks=_mask_answers(unet, records, folder, place),
            diagnosis=_diagnosis_answers(classifier, records, folder, place),
        )
        document = comparison_markdown(compared) + "\n\n" + _sizes(unet, classifier)
        _write(place / "comparison.csv", comparison_csv(compared))
        _write(place / "comparison.md", document + "\n")
    except OSError as error:
        raise explain_os_error(error, output, "write") from None
    return document


def _claim(output: Path, config: BaselineConfig) -> None:
    """Fix what is trained, or check that it is what was begun."""
    resolved = yaml.safe_dump(
        json.loads(
            json.dumps(
                dataclasses.asdict(config)
                | {
                    "masks_run": dataclasses.asdict(config.training(config.masks)),
                    "diagnosis_run": dataclasses.asdict(config.training(config.diagnosis)),
                }
            )
        ),
        sort_keys=False,
    )
    stored = output / CONFIG_FILE
    if stored.is_file():
        begun = any(output.glob(f"*/{STATE_FILE}"))
        if begun and stored.read_text(encoding="utf-8") != resolved:
            raise Sim4SegError(
                f"{output} holds a baseline with another configuration; choose another output"
            )
    elif output.exists() and any(path.suffix != ".partial" for path in output.iterdir()):
        raise Sim4SegError(f"{output} is not empty and holds no baseline; choose another output")
    output.mkdir(parents=True, exist_ok=True)
    _write(stored, resolved)


def _training_records(config: TrainingConfig, folder: Path) -> list[Record]:
    records = read_training_records(folder, config.more_data, config.drawn_masks)
    training, _ = split_calibration(records, config.calibration_fraction)
    return training


def _mask_trainer(config: BaselineConfig, folder: Path) -> MaskTrainer:
    training = config.training(config.masks)
    records = _training_records(training, folder)
    targets = targets_of(records)
    side = training.model.segmenter.image_size
    store = ImageStore(folder, training.image_cache_gib)
    return NetworkTrainer(
        training,
        build_unet(targets, config.masks.filters, side, config.seed),
        MaskBatches(training, records, targets, store),
        predict_images,
        MaskLoss(training.loss),
        workers=training.workers,
    )


def _diagnosis_trainer(config: BaselineConfig, folder: Path) -> DiagnosisTrainer:
    training = config.training(config.diagnosis)
    records = _training_records(training, folder)
    labels = labels_of(records)
    store = ImageStore(folder, training.image_cache_gib)
    return NetworkTrainer(
        training,
        build_classifier(labels, config.diagnosis.architecture, config.seed),
        DiagnosisBatches(training, records, labels, store),
        predict_images,
        diagnosis_loss,
        workers=training.workers,
    )


def predict_images(network: nn.Module, batch: MaskBatch | DiagnosisBatch) -> Tensor:
    """What either network says of a batch's images."""
    predicted: Tensor = network(batch.images)
    return predicted


def _model_answers(
    config: BaselineConfig, asked: Asked, records: Sequence[Record], folder: Path, place: Path
) -> Answers:
    if asked.evaluation is not None:
        rows, threshold = read_evaluation(asked.evaluation)
        return select_answers(rows, records, threshold)
    predictor = Sim4Seg.from_pretrained(asked.model, device=config.device)
    check_records(predictor, records)
    threshold = predictor.model.config.presence_threshold
    ungated(predictor)

    def ask(members: Sequence[Record]) -> list[Row]:
        return evaluate(predictor, members, folder)

    # Answers of another checkpoint must never pass for this one's.
    kept = place / f"model-{predictor.identity.sha256[:DIGEST_LETTERS]}"
    return answers_by_set(kept, records, ask, threshold)


def _mask_answers(
    trainer: MaskTrainer,
    records: Sequence[Record],
    folder: Path,
    place: Path,
) -> Answers:
    trainer.run()
    model, sampling = trainer.config.model, trainer.config.sampling
    predictor = MaskPredictor(
        trainer.averaged(), model.segmenter.image_size, model.detail, sampling.detail_targets
    )
    return answers_by_set(place / "unet", records, MaskAsker(predictor, folder), MASK_THRESHOLD)


def _diagnosis_answers(
    trainer: DiagnosisTrainer,
    records: Sequence[Record],
    folder: Path,
    place: Path,
) -> Answers:
    trainer.run()
    predictor = DiagnosisPredictor(trainer.averaged(), trainer.config.model.lvlm.image_size)
    labels = labels_by_set(_training_records(trainer.config, folder))
    ask = DiagnosisAsker(predictor, labels, folder)
    return answers_by_set(place / "classifier", records, ask, MASK_THRESHOLD)


def _sizes(
    unet: MaskTrainer,
    classifier: DiagnosisTrainer,
) -> str:
    return "\n".join(
        f"{name}: {sum(p.numel() for p in network.parameters()) / 1e6:.1f} million parameters, "
        f"{config.steps} steps of {config.batch_size} images."
        for name, network, config in (
            ("U-Net", unet.network, unet.config),
            ("Classifier", classifier.network, classifier.config),
        )
    )


def _write(path: Path, text: str) -> None:
    temporary = path.with_suffix(".partial")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)
