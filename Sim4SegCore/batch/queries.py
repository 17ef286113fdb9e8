"""What is asked: one query, or a table of queries that may be meant for some studies only."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from ..case import Query
from ..errors import Sim4SegError
from .csv_rows import read_rows, refuse_if_any

DEFAULT_NAME_CHARACTERS = 40


@dataclass(frozen=True)
class NamedQuery:
    """A query and the short name that it has in tables and folders."""

    name: str
    text: str

    @classmethod
    def of(cls, text: str, name: str = "") -> NamedQuery:
        """A query, named by its own beginning unless it has a name.

        Raises:
            Sim4SegError: if the text is empty or too long.
        """
        text = Query(text).text
        return cls(name or " ".join(text.split())[:DEFAULT_NAME_CHARACTERS].strip(), text)


@dataclass(frozen=True)
class QueryRule:
    """A query and the images it is meant for.

    Attributes:
        pattern: shell pattern (`us/*.png`) of the image's path inside the cohort.
    """

    query: NamedQuery
    pattern: str = "*"

    def applies_to(self, image: str) -> bool:
        """Whether the query is asked about an image; `*` also matches slashes."""
        return fnmatchcase(image, self.pattern)


def read_queries(path: Path) -> tuple[QueryRule, ...]:
    """A table with the column `query` and, if wanted, `name` and `pattern`.

    Raises:
        Sim4SegError: if the table cannot be read, or a query is unusable or there twice.
    """
    rules: list[QueryRule] = []
    problems = []
    for row in read_rows(path, required="query"):
        try:
            rule = QueryRule(NamedQuery.of(row["query"], row["name"]), row["pattern"] or "*")
        except Sim4SegError as error:
            problems.append(f"line {row.line}: {error}")
            continue
        if any((rule.query.name, rule.pattern) == (r.query.name, r.pattern) for r in rules):
            problems.append(
                f"line {row.line}: another query for the same images has its name; "
                "give each its own in a column 'name'"
            )
        rules.append(rule)
    refuse_if_any(path, problems)
    return tuple(rules)
