"""The volumetric network: trained on labelled volumes, then aligned with a checkpoint's [SEG].

Training never sees the language model: each target has a learned query of its own. `align` fits
the reader that leads from a checkpoint's [SEG] states to these queries, in minutes, so that a
new checkpoint needs no new training.
"""

from __future__ import annotations
