"""Rounds, resume and people's rejections, through the command line where it matters."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from made_up import completion, disc, make_subject

from Sim4SegCore.errors import Sim4SegError
from Sim4SegCore.modeling.answer import Answer
from training.cot.accepted import read_accepted
from training.cot.attempts import Review, read_attempts
from training.cot.build import build_run
from training.cot.config import AssistantConfig, CotConfig
from training.cot.critic import GroundedCritic, Verdict
from training.cot.pipeline import Pipeline
from training.cot.queries import QueryCounts
from training.cot.writer import GroundedWriter
from training.run import main

ROOT = Path(__file__).resolve().parents[3]
SUBJECT = make_subject(disc((60, 60), (20, 20), 9))
WRONG = Answer("dermoscopy", "the lesion is on the right,", "it is round", "melanoma")


class Stubborn:
    """Writes wrong answers until the given round."""

    name = "stubborn"

    def __init__(self, right_from):
        self.right_from, self.told = right_from, []

    def write(self, subject, objections, attempt):
        self.told.append(objections)
        right = GroundedWriter(0).write(subject, objections, attempt)
        return right if attempt >= self.right_from else WRONG


def run(folder, generator, rounds=3, critic=None):
    pipeline = Pipeline(folder, generator, critic or GroundedCritic(), lambda i: SUBJECT, rounds)
    try:
        pipeline.run([SUBJECT.item])
    finally:
        pipeline.close()
    return read_attempts(folder)


def decide(folder, decision, attempt, answer=None, reason=""):
    answer = answer or attempt.answer
    review = Review(
        attempt.id, attempt.query, attempt.round, decision, attempt.answer, answer, reason, "now"
    )
    with (folder / "reviews.jsonl").open("a") as file:
        file.write(json.dumps(review.to_json()) + "\n")


def test_a_rejected_answer_goes_back_with_the_reasons(tmp_path):
    generator = Stubborn(right_from=3)
    attempts = run(tmp_path, generator)
    assert [attempt.verdict.accepted for attempt in attempts] == [False, False, True]
    assert [attempt.round for attempt in attempts] == [1, 2, 3]
    assert generator.told == [(), attempts[0].verdict.reasons, attempts[1].verdict.reasons]
    assert any("place of the skin lesion" in reason for reason in generator.told[1])


def test_rounds_end_and_then_a_person_has_to_look(tmp_path):
    assert len(run(tmp_path, Stubborn(right_from=9), rounds=2)) == 2
    assert len(run(tmp_path, Stubborn(right_from=9), rounds=2)) == 2
    assert read_accepted(tmp_path) == {}


def test_an_interrupted_item_goes_on_in_the_round_that_was_cut_short(tmp_path):
    class Failing:
        name = "failing"

        def judge(self, subject, answer):
            if len(read_attempts(tmp_path)) == 1:
                raise Sim4SegError("the critic is gone")
            return Verdict(self.name, ("no",))

    with pytest.raises(Sim4SegError, match="critic is gone"):
        run(tmp_path, Stubborn(right_from=9), critic=Failing())
    generator = Stubborn(right_from=2)
    attempts = run(tmp_path, generator)
    assert [attempt.round for attempt in attempts] == [1, 2]
    assert generator.told == [("no",)]


def test_a_persons_rejection_starts_new_rounds_with_the_reason(tmp_path):
    (first,) = run(tmp_path, GroundedWriter(0))
    decide(tmp_path, "reject", first, reason="too terse")
    assert read_accepted(tmp_path) == {}
    generator = Stubborn(right_from=3)
    attempts = run(tmp_path, generator, rounds=2)
    assert [attempt.round for attempt in attempts] == [1, 2, 3]
    assert generator.told[0] == ("too terse",)
    assert generator.told[1][0] == "too terse"
    assert len(generator.told[1]) > 1
    assert read_accepted(tmp_path)["one"][0].answer == attempts[-1].answer


def test_an_edit_outweighs_the_critic_and_is_what_training_reads(tmp_path):
    (first,) = run(tmp_path, GroundedWriter(0))
    assert not read_accepted(tmp_path, reviewed_only=True)
    edited = Answer("dermoscopy", "the lesion is seen", "it is dark", "melanoma")
    decide(tmp_path, "edit", first, edited)
    assert len(run(tmp_path, GroundedWriter(1))) == 1
    ((cot,),) = read_accepted(tmp_path, reviewed_only=True).values()
    assert (cot.answer, cot.reviewed, cot.targets) == (edited, True, ("skin lesion",))
    # The last word counts.
    decide(tmp_path, "reject", first, reason="on second thoughts")
    assert read_accepted(tmp_path) == {}


def test_a_folder_without_a_run_is_told(tmp_path):
    with pytest.raises(Sim4SegError, match=r"run\.py cot"):
        read_accepted(tmp_path)


def test_the_command_writes_checked_answers_and_does_nothing_twice(made_up_data, tmp_path, capsys):
    output = tmp_path / "cot"
    arguments = ["cot", f"data={made_up_data}", f"output={output}", "split=val"]
    assert main(arguments) == 0
    assert "0 rejected" in capsys.readouterr().out
    attempts = read_attempts(output)
    assert {attempt.kind for attempt in attempts} == {"finding", "absent", "normal"}
    line = json.loads((output / "cots.jsonl").read_text().splitlines()[0])
    assert set(line["answer"]) == {"modality", "analysis", "consideration", "diagnosis"}
    before = (output / "cots.jsonl").read_bytes()
    assert main(arguments) == 0
    assert (output / "cots.jsonl").read_bytes() == before


def endpoint_config(server, data, folder, **changes):
    endpoint = AssistantConfig("endpoint", "m", server.url, requests_per_minute=0, attempts=1)
    return CotConfig(
        output=str(folder),
        data=str(data),
        split="val",
        queries=QueryCounts(1, 0, 0, 0),
        generator=endpoint,
        critics=(AssistantConfig(), endpoint),
        **changes,
    )


def medical_server(server):
    """Answers as a good assistant and critic would, and remembers the questions."""
    verdict = json.dumps({"complete": True, "logical": True, "reliable": True})

    def answer(body):
        text = body["messages"][1]["content"][0]["text"]
        if "Explanation to judge" in text:
            return completion(verdict)
        record = text.splitlines()[1].removeprefix("The image is ").rstrip(".")
        diagnosis = text.partition("exactly “")[2].partition("”")[0] or "not given"
        absent = text.partition("There is no ")[2].partition(" in the image")[0]
        target = absent or text.partition("\nThe ")[2].partition("\nThe ")[2].partition(" is ")[0]
        said = f"no {absent} is seen" if absent else f"the {target} is seen"
        return completion(Answer(record, said, "this is clear", diagnosis).text)

    server.answer = answer


def finish(config):
    made = build_run(config)
    try:
        made.pipeline.run(made.items, config.workers)
        return len(made.items), made.costs
    finally:
        made.close()


@pytest.mark.parametrize("workers", [1, 4])
def test_generator_and_critic_behind_an_endpoint(server, made_up_data, tmp_path, workers):
    medical_server(server)
    config = endpoint_config(server, made_up_data, tmp_path / "cot", workers=workers)
    count, costs = finish(config)
    attempts = read_attempts(tmp_path / "cot")
    assert len(attempts) == count == 6
    assert all(attempt.verdict.accepted for attempt in attempts), attempts
    assert {attempt.verdict.critic for attempt in attempts} == {"grounded+m"}
    assert len(server.seen) == 2 * count
    assert f"{2 * count} calls now, {2 * count} in all: {2000 * count} + {400 * count}" in (
        costs.summary
    )


def test_when_the_endpoint_fails_what_is_done_stays_and_is_not_asked_again(
    server, made_up_data, tmp_path
):
    medical_server(server)
    config = endpoint_config(server, made_up_data, tmp_path / "cot")
    good, asked = server.answer, []
    server.answer = lambda body: good(body) if len(server.seen) <= 5 else (500, {}, "down")
    with pytest.raises(Sim4SegError, match="status 500: down; what was done is saved"):
        finish(config)
    assert len(read_attempts(tmp_path / "cot")) == 2
    asked = [body for _, _, body in server.seen[:5]]
    server.answer = good
    server.seen.clear()
    finish(config)
    assert len(read_attempts(tmp_path / "cot")) == 6
    # The fifth reply, an answer without a verdict yet, came from the cache.
    assert not [body for _, _, body in server.seen if body in asked]
    assert len(server.seen) == 7


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL there")
def test_a_kill_at_any_moment_loses_and_repeats_no_answer(server, made_up_data, tmp_path):
    medical_server(server)
    good = server.answer

    def slow(body):
        time.sleep(0.15)
        return good(body)

    server.answer = slow
    endpoint = (
        f"{{kind: endpoint, url: '{server.url}', model: m, requests_per_minute: 0, attempts: 1}}"
    )
    command = [
        sys.executable, "training/run.py", "cot", f"data={made_up_data}", "split=val",
        f"output={tmp_path / 'cot'}", f"generator={endpoint}",
    ]  # fmt: skip
    killed = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE)
    while len(server.seen) < 4 and killed.poll() is None:
        time.sleep(0.02)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    time.sleep(0.3)
    done = len(read_attempts(tmp_path / "cot"))
    assert done >= 2
    subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    attempts = read_attempts(tmp_path / "cot")
    assert len({attempt.key for attempt in attempts}) == len(attempts) > done
    # Only the call that was under way when the kill came may have been made again.
    bodies = [json.dumps(body) for _, _, body in server.seen]
    assert len(bodies) - len(set(bodies)) <= 1


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["data=/nowhere"], "no m3ds folder"),
        (["split=test"], "no test.jsonl"),
        (["rounds=0"], "rounds must be at least 1"),
        (["critics=[]"], "critics must name at least one"),
        (["generator.kind=oracle"], "generator.kind must be"),
        (["generator.kind=local"], "needs model"),
        (["generator={kind: local, model: /nowhere/model}"], "cannot load the model"),
        (["generator={kind: endpoint, model: m, url: 'https://a.example'}"], "allow_upload: true"),
    ],
)
def test_mistakes_are_one_line(made_up_data, tmp_path, capsys, overrides, message):
    arguments = [f"data={made_up_data}", f"output={tmp_path / 'cot'}", "split=val", *overrides]
    assert main(["cot", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_missing_and_mismatched_pictures_are_named(made_up_data, tmp_path, capsys):
    from PIL import Image

    arguments = ["cot", f"data={made_up_data}", f"output={tmp_path / 'cot'}", "split=val"]
    mask = made_up_data / "m3ds" / "masks" / "val0.png"
    Image.new("1", (5, 5)).save(mask)
    assert main(arguments) == 2
    assert "val0: the mask of the skin lesion is 5×5" in capsys.readouterr().err
    mask.unlink()
    assert main(arguments) == 2
    assert "val0: cannot read" in capsys.readouterr().err
