"""Evaluation of a checkpoint on a split: asking, scoring, and showing where it fails.

rows            ask the predictor, keep what is measured of each answer
overlap         mask against mask: IoU, Dice, surfaces
facts           what the chain of thought states against what is true
classification  scores of labels and probabilities
bootstrap       intervals over resampled patients
summary         metrics per set, over sets, over everything
thresholds      what calibration asks
tables, plots, gallery, report   what people and programs read

scaling         what more answers and masks bring
obedience       whether masks follow the query
robustness      what changes of the image do to masks
"""

from .classification import auroc
from .gallery import WorstCases
from .overlap import iou
from .report import write_evaluation
from .rows import Row, check_records, evaluate, ungated
from .summary import SetMetrics, summarise
from .tables import markdown
from .thresholds import (
    mask_confidence_error,
    mean_accuracy,
    mean_over_sets,
    presence_rule,
    presence_threshold,
    surprise,
)

__all__ = [
    "Row",
    "SetMetrics",
    "WorstCases",
    "auroc",
    "check_records",
    "evaluate",
    "iou",
    "markdown",
    "mask_confidence_error",
    "mean_accuracy",
    "mean_over_sets",
    "presence_rule",
    "presence_threshold",
    "summarise",
    "surprise",
    "ungated",
    "write_evaluation",
]
