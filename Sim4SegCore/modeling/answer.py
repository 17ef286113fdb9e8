"""Form of prompt and answer, as in the paper, and what is read back from an answer.

"It is [SEG]. Firstly, the modality of the image is … Secondly, I will start to analyze the
image: … Thirdly, considering these observations, … Finally, the diagnosis is … ."
"""

from __future__ import annotations

import re
from dataclasses import dataclass

SEG_TOKEN = "[SEG]"
IMAGE_TOKEN = "<image>"
STEP_END = "."
OPENING = f" It is {SEG_TOKEN}."
STEP_LEADS = (
    " Firstly, the modality of the image is",
    " Secondly, I will start to analyze the image:",
    " Thirdly, considering these observations,",
    " Finally, the diagnosis is",
)
UNKNOWN_DIAGNOSIS = "not given"


def step_leads(chain_of_thought: bool) -> tuple[str, ...]:
    """Leads of the steps that an answer has: without chain of thought, the diagnosis alone."""
    return STEP_LEADS if chain_of_thought else STEP_LEADS[-1:]


@dataclass(frozen=True)
class PromptStyle:
    """Text around the image and the query; the image comes first so that it can be cached.

    Attributes:
        before_image: text before the image tokens.
        after_image: text after them; `{query}` stands for the user's query.
    """

    before_image: str = "USER: "
    after_image: str = "\n{query} ASSISTANT:"


@dataclass(frozen=True)
class Answer:
    """The four steps of an answer, without leads and full stops.

    Attributes:
        chain_of_thought: False if only the diagnosis is said, and the other steps are empty.
        seg_after_reasoning: see `Sim4SegConfig`.
    """

    modality: str
    analysis: str
    consideration: str
    diagnosis: str
    chain_of_thought: bool = True
    seg_after_reasoning: bool = False

    @property
    def steps(self) -> tuple[str, str, str, str]:
        """The steps in order."""
        return self.modality, self.analysis, self.consideration, self.diagnosis

    @property
    def said(self) -> tuple[tuple[str, str], ...]:
        """Lead and words of each step that the answer has."""
        leads = step_leads(self.chain_of_thought)
        return tuple(zip(leads, self.steps[-len(leads) :], strict=True))

    @property
    def steps_before_seg(self) -> int:
        """How many steps are said before the sentence with [SEG]."""
        return len(self.said) - 1 if self.seg_after_reasoning else 0

    @property
    def text(self) -> str:
        """The whole answer in the paper's form."""
        sentences = self._sentences
        sentences.insert(self.steps_before_seg, OPENING)
        return "".join(sentences).strip()

    @property
    def reasoning(self) -> str:
        """The chain of thought without the [SEG] sentence, for people to read."""
        return "".join(self._sentences).strip()

    @property
    def _sentences(self) -> list[str]:
        return [f"{lead} {step}." for lead, step in self.said]

    @property
    def diagnosis_label(self) -> str | None:
        """The named diagnosis, or None if the answer declines to name one."""
        label = self.diagnosis.strip()
        return None if not label or label == UNKNOWN_DIAGNOSIS else label


TARGET_PATTERN = re.compile(r"^(?:no|the) (?P<target>.+?) (?:is|are) (?:visible|seen)\b")


def named_target(answer: Answer) -> str | None:
    """The structure that the analysis speaks of ("the polyp is visible …"), if it says so."""
    match = TARGET_PATTERN.match(answer.analysis.strip())
    return match["target"] if match else None
