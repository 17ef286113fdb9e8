"""Rounds of writing and criticising, until accepted or until a person has to look.

Every round is on the disk before the next one begins, so that a run goes on after a kill with
the very round that was cut short.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

from .assistants import Critic, Generator
from .attempts import (
    ATTEMPT_FIELDS,
    ATTEMPTS_FILE,
    Attempt,
    Key,
    Review,
    by_query,
    parse_attempt,
    read_reviews,
    standing,
)
from .journal import Journal
from .subject import Item, Subject

WAITING_PER_WORKER = 2


@dataclass(frozen=True)
class Task:
    """What is still to be done for an item.

    Attributes:
        round: the next one.
        last_round: after which a person has to look.
        objections: what the next attempt has to avoid.
    """

    item: Item
    round: int
    last_round: int
    objections: tuple[str, ...]
    from_people: tuple[str, ...]


class Pipeline:
    """Owns the attempts file of a run."""

    def __init__(
        self,
        folder: Path,
        generator: Generator,
        critic: Critic,
        load: Callable[[Item], Subject],
        rounds: int,
        stop: threading.Event | None = None,
    ) -> None:
        """Read what was done before.

        Args:
            load: reads an item's pixels.
            rounds: attempts before a person has to look, and again after each rejection.
            stop: set from outside, or on an error, to end after the rounds in work.

        Raises:
            Sim4SegError: if the folder's files are broken, cannot be written, or are in use.
        """
        self._generator, self._critic, self._load = generator, critic, load
        self._rounds = rounds
        self._stop = stop or threading.Event()
        self._journal = Journal(folder / ATTEMPTS_FILE, ATTEMPT_FIELDS)
        self._attempts: dict[Key, list[Attempt]] = defaultdict(list)
        self._lock = threading.Lock()
        try:
            for line in self._journal.records:
                attempt = parse_attempt(line, self._journal.path)
                self._attempts[attempt.key].append(attempt)
            self._reviews = by_query(read_reviews(folder))
        except BaseException:
            self.close()
            raise

    def task(self, item: Item) -> Task | None:
        """What is left to do for an item; None if it is accepted or waits for a person."""
        attempts = self._attempts.get(item.key, [])
        reviews = self._reviews.get(item.key, [])
        sent_back = _sent_back(attempts, reviews)
        last_round = max((review.round for review in sent_back), default=0) + self._rounds
        people = tuple(review.reason for review in sent_back if review.reason)
        if not attempts:
            return Task(item, 1, last_round, people, people)
        last = attempts[-1]
        review = standing(last, reviews)
        if review is not None and review.decision != "reject":
            return None
        settled = review is None and last.verdict.accepted
        if settled or last.round >= last_round:
            return None
        objections = tuple(dict.fromkeys((*people, *last.verdict.reasons)))
        return Task(item, last.round + 1, last_round, objections, people)

    def run(
        self, items: Iterable[Item], workers: int = 1, done: Callable[[], object] = lambda: None
    ) -> None:
        """Bring every item to acceptance or to its last round.

        Args:
            workers: items in work at the same time.
            done: called for every item, also for those that had been finished before.

        Raises:
            Sim4SegError: what generator, critic or disk complain of; all finished rounds are kept.
        """
        pool = ThreadPoolExecutor(workers)
        pending: set[Future[None]] = set()
        try:
            for item in items:
                task = self.task(item)
                if task is None:
                    done()
                    continue
                pending.add(pool.submit(self._finish, task))
                if len(pending) >= workers * WAITING_PER_WORKER:
                    pending = _collect(pending, done)
            while pending:
                pending = _collect(pending, done)
        finally:
            # On an error or Ctrl-C; after a normal end there is nothing left to stop.
            if pending:
                self._stop.set()
            pool.shutdown(cancel_futures=True)

    @property
    def latest(self) -> list[Attempt]:
        """The last attempt at every query."""
        return [attempts[-1] for attempts in self._attempts.values()]

    def close(self) -> None:
        """Let another run write."""
        self._journal.close()

    def _finish(self, task: Task) -> None:
        subject = self._load(task.item)
        objections = task.objections
        for number in range(task.round, task.last_round + 1):
            if self._stop.is_set():
                return
            answer = self._generator.write(subject, objections, number)
            verdict = self._critic.judge(subject, answer)
            item = task.item
            attempt = Attempt(
                item.record.id,
                item.query,
                item.kind,
                item.targets,
                answer,
                self._generator.name,
                verdict,
                number,
            )
            with self._lock:
                self._journal.append(attempt.to_json())
                self._attempts[item.key].append(attempt)
            if verdict.accepted:
                return
            objections = tuple(dict.fromkeys((*task.from_people, *verdict.reasons)))


def _sent_back(attempts: list[Attempt], reviews: list[Review]) -> list[Review]:
    """Standing rejections by people, one for each round."""
    rounds = (standing(attempt, reviews) for attempt in attempts)
    return [review for review in rounds if review is not None and review.decision == "reject"]


def _collect(pending: set[Future[None]], done: Callable[[], object]) -> set[Future[None]]:
    finished, rest = wait(pending, return_when=FIRST_COMPLETED)
    for future in finished:
        future.result()
        done()
    return rest
