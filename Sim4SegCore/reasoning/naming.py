"""Which diagnosis free words name: spellings, synonyms and denials of one are the same vote.

Models that were taught no labels decode the diagnosis freely, and say one thing in many ways.
"""

from __future__ import annotations

import re
import unicodedata

from ..report.terminology import terminology

_ARTICLE = r"(?:(?:a|an|the|any)\s+)?"
_DENIED_BEFORE = re.compile(
    r"^(?:(?:there\s+is\s+)?(?:no|not|without|negative\s+for|free\s+of|absence\s+of|absent|"
    r"rules?\s+out|excludes?)\b)\s*"
    rf"(?:(?:evidence|signs?|suspicion|indication)\s+(?:of|for)\s+)?{_ARTICLE}"
)
_DENIED_AFTER = re.compile(
    r"\s+(?:(?:is|are|was|were)\s+)?(?:absent|excluded|ruled\s+out|unlikely|"
    r"not\s+(?:seen|present|visible|found))$"
)
_HEDGE = re.compile(
    r"^(?:(?:most\s+)?(?:likely|probable|probably|possible|possibly|suspected|presumed|"
    r"(?:consistent|compatible)\s+with|suspicious\s+for|suggestive\s+of)\s+)+"
)
_BRITISH = ((re.compile(r"tumour"), "tumor"), (re.compile(r"\bnaev"), "nev"))


def diagnosis_meaning(words: str) -> str:
    """A key that is equal for words that name, or deny, the same diagnosis.

    Synonyms are the names and meanings that share a code of the terminology file; other words
    mean themselves, in any case and spelling of Unicode.
    """
    folded = unicodedata.normalize("NFKC", words).casefold()
    plain = " ".join(folded.split()).strip(" .,;:!?\"'()")
    denied = False
    while plain:
        bare = _HEDGE.sub("", re.sub(rf"^{_ARTICLE}", "", plain))
        before, after = _DENIED_BEFORE.match(bare), _DENIED_AFTER.search(bare)
        if before and before.end() < len(bare):
            denied, plain = not denied, bare[before.end() :]
        elif after and after.start() > 0:
            denied, plain = not denied, bare[: after.start()]
        elif bare != plain and bare:
            plain = bare
        else:
            break
    for pattern, american in _BRITISH:
        plain = pattern.sub(american, plain)
    concept = terminology().concept(plain) or plain
    return f"not {concept}" if denied else concept
