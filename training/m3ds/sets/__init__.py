"""One class per set; importing this package registers them all."""

from . import (
    busi,
    chestx_det,
    covid_cxr,
    fracatlas,
    fundus,
    isic,
    kvasir,
    lgg,
    ph2,
    table,
    tn3k,
    yolo_fractures,
)

__all__ = [
    "busi",
    "chestx_det",
    "covid_cxr",
    "fracatlas",
    "fundus",
    "isic",
    "kvasir",
    "lgg",
    "ph2",
    "table",
    "tn3k",
    "yolo_fractures",
]
