"""The training loop: resumable at any step, with the result of an uninterrupted run."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import json
import math
import subprocess
import time
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import nn
from torch.utils.data import DataLoader
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm
from transformers import PreTrainedTokenizerFast

from Sim4SegCore.device import resolve_device
from Sim4SegCore.errors import Sim4SegError
from Sim4SegCore.modeling.answer import UNKNOWN_DIAGNOSIS
from Sim4SegCore.modeling.build import build_compact_lvlm, build_model
from Sim4SegCore.modeling.checkpoint import LVLM_FOLDER, load_model
from Sim4SegCore.modeling.sim4seg import Sim4SegModel

from .batches import Batch, BatchDataset
from .config import OptimizerConfig, TrainingConfig
from .losses import total_loss
from .records import Record, data_folder, read_records
from .views import ImageStore
from .vocabulary import train_tokenizer

STATE_FILE = "state.pt"
TOKENIZER_FOLDER = "tokenizer"


def split_calibration(
    records: Sequence[Record], fraction: float
) -> tuple[list[Record], list[Record]]:
    """Hold out whole groups of the training split for calibration: (training, calibration)."""
    training: list[Record] = []
    calibration: list[Record] = []
    for record in records:
        held_out = zlib.crc32(record.group.encode()) % 1000 < 1000 * fraction
        (calibration if held_out else training).append(record)
    return training, calibration


def new_model(config: TrainingConfig, records: Sequence[Record]) -> Sim4SegModel:
    """An untrained model with labels from the training records and the run's own tokenizer."""
    torch.manual_seed(config.seed)
    labels = sorted({r.diagnosis for r in records if r.diagnosis} | {UNKNOWN_DIAGNOSIS})
    model_config = dataclasses.replace(config.model, diagnoses=tuple(labels))
    folder = Path(config.output) / TOKENIZER_FOLDER
    if not folder.is_dir() and config.initial is not None:
        place = Path(config.initial) / LVLM_FOLDER
        PreTrainedTokenizerFast.from_pretrained(place).save_pretrained(folder)
    elif not folder.is_dir():
        train_tokenizer(records, config.vocabulary).save_pretrained(folder)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    lvlm = build_compact_lvlm(config.lvlm, model_config, tokenizer)
    return build_model(model_config, lvlm)


def start_from(model: Sim4SegModel, checkpoint: Path) -> None:
    """Copy a checkpoint's weights into a new model.

    Raises:
        Sim4SegError: if it was taught other labels or has other sizes.
    """
    initial = load_model(checkpoint)
    if initial.config.diagnoses != model.config.diagnoses:
        raise Sim4SegError(f"{checkpoint} was taught other diagnoses than these records have")
    try:
        model.load_state_dict(initial.state_dict())
    except RuntimeError:
        raise Sim4SegError(f"{checkpoint} has other sizes than this configuration") from None


def learning_rate(step: int, steps: int, optimizer: OptimizerConfig) -> float:
    """Linear warm-up, then cosine to 1 % of the peak."""
    if step < optimizer.warmup_steps:
        return optimizer.learning_rate * (step + 1) / optimizer.warmup_steps
    done = (step - optimizer.warmup_steps) / max(1, steps - optimizer.warmup_steps)
    return optimizer.learning_rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1.0, done))))


class Trainer:
    """One run folder: configuration, state, logs."""

    def __init__(self, config: TrainingConfig) -> None:
        torch.set_num_threads(config.threads)
        self.config = config
        self.output = Path(config.output)
        self.device = resolve_device(config.device)
        folder = data_folder(config.data)
        records, _ = split_calibration(read_records(folder, "train"), config.calibration_fraction)
        self.model = new_model(config, records)
        if config.initial is not None:
            start_from(self.model, Path(config.initial))
        self.model.to(self.device)
        self.model.to(memory_format=torch.channels_last)
        self.average = copy.deepcopy(self.model).requires_grad_(False).eval()
        labels = self.model.config.diagnoses
        self.dataset = BatchDataset(config, records, ImageStore(folder), self.model.lvlm, labels)
        self.classifier = nn.Linear(config.lvlm.vision_hidden_size, len(labels)).to(self.device)
        self.optimizer = torch.optim.AdamW(
            _parameter_groups(self.model, self.classifier, config.optimizer.weight_decay),
            lr=config.optimizer.learning_rate,
            betas=config.optimizer.betas,
        )
        self.step = 0
        self._prepare_folder()

    def _prepare_folder(self) -> None:
        self.output.mkdir(parents=True, exist_ok=True)
        resolved = yaml.safe_dump(json.loads(json.dumps(dataclasses.asdict(self.config))))
        state, stored = self.output / STATE_FILE, self.output / "config.yaml"
        if state.exists():
            if stored.read_text(encoding="utf-8") != resolved:
                raise Sim4SegError(
                    f"{self.output} holds a run with another configuration; choose another output"
                )
            self._load(torch.load(state, map_location=self.device, weights_only=True))
            return
        stored.write_text(resolved, encoding="utf-8")
        (self.output / "environment.json").write_text(
            json.dumps({"torch": torch.__version__, "revision": git_revision()}, indent=2)
        )

    def run(self) -> Sim4SegModel:
        """Train to the configured number of steps and return the averaged model."""
        loader = DataLoader(
            self.dataset,
            batch_size=None,
            sampler=range(self.step, self.config.steps),
            num_workers=self.config.workers,
            prefetch_factor=4 if self.config.workers else None,
            worker_init_fn=_one_thread,
        )
        progress = tqdm(
            total=self.config.steps,
            initial=self.step,
            unit="step",
            mininterval=2,
            dynamic_ncols=True,
        )
        with SummaryWriter(str(self.output / "logs")) as log, progress:
            for batch in loader:
                terms = self.train_step(_to(batch, self.device))
                progress.update()
                if self.step % 20 == 0:
                    progress.set_postfix({k: f"{v:.3f}" for k, v in terms.items()})
                    for name, value in terms.items():
                        log.add_scalar(f"loss/{name}", value, self.step)
                if self.step % self.config.save_every == 0 or self.step == self.config.steps:
                    self.save()
        return self.average

    def train_step(self, batch: Batch) -> dict[str, float]:
        """One optimiser step.

        Raises:
            Sim4SegError: if the loss is not finite; the last saved state is kept.
        """
        rate = learning_rate(self.step, self.config.steps, self.config.optimizer)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.model.train()
        half = self.config.bfloat16
        with torch.autocast(self.device.type, torch.bfloat16) if half else contextlib.nullcontext():
            output = self.model(
                batch.lvlm_images,
                batch.sam_images,
                batch.sam_rows,
                batch.text_ids,
                batch.seg_positions,
                batch.frames,
            )
            tokens = output.vision.outputs.last_hidden_state
            class_logits = self.classifier(tokens.mean(1))
        loss, terms = total_loss(output, class_logits, batch, self.config.loss)
        if not torch.isfinite(loss):
            raise Sim4SegError(
                f"the loss of step {self.step} is not finite; continue from the last saved state "
                "with a lower optimizer.learning_rate"
            )
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), self.config.optimizer.clip_norm)
        self.optimizer.step()
        self.step += 1
        self._update_average()
        return terms | {"total": float(loss.detach())}

    @torch.no_grad()
    def _update_average(self) -> None:
        decay = min(self.config.optimizer.ema_decay, (1 + self.step) / (10 + self.step))
        pairs = zip(self.average.parameters(), self.model.parameters(), strict=True)
        averages, parameters = zip(*pairs, strict=True)
        torch._foreach_lerp_(list(averages), list(parameters), 1 - decay)

    def save(self) -> None:
        """Write the whole state under a temporary name, then rename: a kill loses nothing."""
        state = {
            "step": self.step,
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "classifier": self.classifier.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }
        temporary = self.output / f"{STATE_FILE}.partial"
        torch.save(state, temporary)
        temporary.replace(self.output / STATE_FILE)

    def _load(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        self.classifier.load_state_dict(state["classifier"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step = state["step"]


def _parameter_groups(
    model: nn.Module, classifier: nn.Module, weight_decay: float
) -> list[dict[str, Any]]:
    matrices = [p for p in model.parameters() if p.ndim >= 2]
    vectors = [p for p in model.parameters() if p.ndim < 2]
    return [
        {"params": matrices, "weight_decay": weight_decay},
        {"params": vectors, "weight_decay": 0.0},
        {"params": list(classifier.parameters()), "weight_decay": weight_decay},
    ]


def _to(batch: Batch, device: torch.device) -> Batch:
    moved: dict[str, Any] = {}
    for item in dataclasses.fields(batch):
        value = getattr(batch, item.name)
        moved[item.name] = value if value is None else value.to(device)
    return Batch(**moved)


def _one_thread(_: int) -> None:
    torch.set_num_threads(1)


def git_revision() -> str:
    """Commit of the working tree, or `unknown` outside of a repository."""
    try:
        output = subprocess.run(
            ["git", "rev-parse", "HEAD"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return output.stdout.strip()


def timestamp() -> str:
    """UTC now, ISO 8601, to the second."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
