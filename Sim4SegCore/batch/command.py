"""`sim4seg batch STUDIES --queries queries.csv -o OUT`: options, messages, exit codes.

Everything that can be checked is checked before torch is loaded.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import Sim4SegError

if TYPE_CHECKING:
    from ..case import ModelIdentity
    from .answering import Predictor
    from .asking import Asking
    from .engine import Engine
    from .finishing import Summary
    from .queries import QueryRule
    from .running import Settings
    from .studies import Study

EXIT_SOME_FAILED = 3
MAX_LISTED_FAILURES = 20
RAY_DEVICES = ("auto", "cpu", "cuda")
LoadPredictor = Callable[["str | None", str], "Predictor"]
IdentifyModel = Callable[["str | None"], "ModelIdentity"]


def add_batch_command(commands: Any) -> None:
    """Add `batch` to what `ArgumentParser.add_subparsers` returned."""
    batch = commands.add_parser(
        "batch",
        help="ask about every image of a cohort; goes on where it was stopped",
        description="Ask about every image of a cohort. Run the same line again to go on after "
        "an interruption. Exit code 0: all answered; 3: finished, but some studies failed (see "
        "results.csv); 2: wrong use, or the results cannot be written; 130: interrupted.",
    )
    add_batch_arguments(batch)
    batch.set_defaults(run=run_batch_command)


def add_batch_arguments(parser: argparse.ArgumentParser) -> None:
    """Add everything behind `sim4seg batch`."""
    parser.add_argument(
        "studies",
        type=Path,
        nargs="?",
        metavar="STUDIES",
        help="folder of images or DICOM files, searched recursively, or a CSV file with the "
        "column image and, if wanted, id, query, name and slice",
    )
    asked = parser.add_mutually_exclusive_group()
    asked.add_argument(
        "--queries",
        type=Path,
        help="CSV file with the column query and, if wanted, name and pattern (of image paths)",
    )
    asked.add_argument("--query", help="one query about every study")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder for the results")
    _add_asking_arguments(parser)
    parser.add_argument("--model", help="checkpoint folder or hub id (default: the embedded one)")
    parser.add_argument(
        "--device", default="auto", help="auto, cpu, cuda, cuda:N or mps (default: auto)"
    )
    parser.add_argument(
        "--part-id", type=int, help="which part of the cohort to do, from 0 (job arrays)"
    )
    parser.add_argument("--num-parts", type=int, help="how many parts share the output folder")
    parser.add_argument(
        "--merge", action="store_true", help="join the finished parts in the output folder"
    )
    parser.add_argument(
        "--retry-failed", action="store_true", help="try again what failed in an earlier run"
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="do everything again, in any folder"
    )
    parser.add_argument(
        "--ray",
        metavar="ADDRESS",
        help="work on a Ray cluster, whose machines share the folders of studies and results; "
        "'local' starts one on this machine",
    )
    parser.add_argument(
        "--workers",
        type=int,
        help="models that answer at the same time on Ray (default: one for each GPU, without "
        "GPUs one for each core)",
    )
    parser.add_argument("--json", action="store_true", help="print the summary as JSON")


def _add_asking_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--slice", type=int, help="slice of volumes and DICOM series to look at, from 0"
    )
    parser.add_argument(
        "--mode",
        help="slice: a picture, or one slice of a volume (default); slices: every slice of each "
        "volume; volume: volumes in three dimensions, for what the model's volumetric network "
        "knows",
    )
    parser.add_argument(
        "--samples", type=int, metavar="M", help="answers that vote (default: as the model says)"
    )
    parser.add_argument("--masks", type=int, metavar="N", help="masks that are combined (likewise)")
    parser.add_argument("--seed", type=int, help="of the sampled answers (default: 0)")


def load_sim4seg(model: str | None, device: str) -> Predictor:
    """The model that answers.

    Raises:
        Sim4SegError: if there is no such model or device.
    """
    from ..predictor import Sim4Seg

    return Sim4Seg.from_pretrained(model, device=device, notify=_say)


def identify_sim4seg(model: str | None) -> ModelIdentity:
    """The identity that the model will have, without loading it.

    Raises:
        Sim4SegError: if there is no such model.
    """
    from ..modeling.checkpoint import identify, resolve_folder

    return identify(
        resolve_folder(model), "sim4seg-embedded" if model is None else Path(model).name
    )


def run_batch_command(
    options: argparse.Namespace,
    load_predictor: LoadPredictor = load_sim4seg,
    settings: Settings | None = None,
    identify_model: IdentifyModel = identify_sim4seg,
) -> int:
    """Do what the options ask for.

    Args:
        load_predictor: from the values of --model and --device; with --ray it must be one that
            can be pickled.
        settings: of the running on this machine alone; None is what suits it.
        identify_model: from the value of --model; used with --ray, where this process loads none.

    Returns:
        0, or 3 if some studies failed.

    Raises:
        Sim4SegError: for mistakes of the user and results that cannot be written.
    """
    if options.merge:
        from .merging import merge_parts

        _refuse_with_merge(options)
        summary = merge_parts(options.output)
    else:
        summary = _batch(
            options, lambda: _engine(options, load_predictor, settings, identify_model)
        )
    if options.json:
        print(json.dumps(summary.to_dict(), indent=2))
    else:
        print(describe(summary))
    return EXIT_SOME_FAILED if summary.failures else 0


def describe(summary: Summary) -> str:
    """A finished batch in a few readable lines; results.csv has all failures."""
    lines = [
        f"{summary.studies} studies, {summary.tasks} queries: {summary.done} answered "
        f"({summary.already_done} of them before), {len(summary.failures)} failed"
    ]
    for study, query_name, reason in summary.failures[:MAX_LISTED_FAILURES]:
        lines.append(f"  failed: {study} ({query_name}): {reason}")
    if len(summary.failures) > MAX_LISTED_FAILURES:
        lines.append(f"  … and {len(summary.failures) - MAX_LISTED_FAILURES} more")
    lines += [f"Written: {path}" for path in summary.files]
    lines += [f"Note: {note}" for note in summary.notes]
    return "\n".join(lines)


# --------------------------------------------------------------------------- the batch


def _batch(options: argparse.Namespace, make_engine: Callable[[], Engine]) -> Summary:
    from .finishing import run_part
    from .layout import Layout, locked, prepare
    from .parts import Part
    from .studies import find_studies

    if options.studies is None:
        raise Sim4SegError("name the folder or CSV file of studies")
    if (options.part_id is None) != (options.num_parts is None):
        raise Sim4SegError("--part-id and --num-parts belong together")
    if options.studies.resolve() == options.output.resolve():
        raise Sim4SegError("studies and results need folders of their own; choose another output")
    asking = _asking(options)
    _check_ray(options)
    part = Part(options.part_id or 0, 1 if options.num_parts is None else options.num_parts)
    layout = Layout(options.output, part)
    rules = _rules(options)
    studies = find_studies(options.studies, options.slice, leave_out=options.output)
    _refuse_chosen_slices(asking, studies)
    _refuse_unasked(rules, any(not study.queries for study in studies))
    prepare(layout, options.overwrite)
    with locked(layout):
        _say(f"{len(studies)} studies found; loading the model")
        return run_part(
            layout,
            studies,
            rules,
            make_engine(),
            start_anew=options.overwrite,
            retry_failed=options.retry_failed,
            say=_say,
            asking=asking,
        )


def _asking(options: argparse.Namespace) -> Asking:
    from .asking import SLICE, Asking

    asking = Asking(options.mode or SLICE, options.samples, options.masks, options.seed)
    if asking.is_about_volumes and options.slice is not None:
        raise Sim4SegError(f"--mode {asking.mode} looks at every slice; leave --slice out")
    return asking


def _engine(
    options: argparse.Namespace,
    load_predictor: LoadPredictor,
    settings: Settings | None,
    identify_model: IdentifyModel,
) -> Engine:
    if options.ray is None:
        from .running import LocalEngine

        return LocalEngine(load_predictor(options.model, options.device), settings)
    from .on_ray import RayEngine
    from .ray_stages import ModelChoice

    # Another machine's working folder is another one.
    is_folder = options.model is not None and Path(options.model).is_dir()
    source = str(Path(options.model).resolve()) if is_folder else options.model
    choice = ModelChoice(load_predictor, source, options.device, identify_model(source))
    return RayEngine(choice, options.ray, options.workers, options.studies)


def _check_ray(options: argparse.Namespace) -> None:
    if options.ray is None:
        if options.workers is not None:
            raise Sim4SegError("--workers is for --ray; use both or neither")
        return
    from ..ray_cluster import require_ray

    require_ray()
    if options.workers is not None and options.workers < 1:
        raise Sim4SegError("--workers counts models that answer; use 1 or more")
    if options.device not in RAY_DEVICES:
        raise Sim4SegError(
            f"on Ray --device is {', '.join(RAY_DEVICES[:-1])} or {RAY_DEVICES[-1]}; "
            "which one of several is Ray's choice"
        )


def _rules(options: argparse.Namespace) -> tuple[QueryRule, ...]:
    from .queries import NamedQuery, QueryRule, read_queries

    if options.queries is not None:
        return read_queries(options.queries)
    return () if options.query is None else (QueryRule(NamedQuery.of(options.query)),)


def _refuse_chosen_slices(asking: Asking, studies: Sequence[Study]) -> None:
    if asking.is_about_volumes and any(study.slice_index is not None for study in studies):
        raise Sim4SegError(
            f"--mode {asking.mode} looks at every slice; leave the column 'slice' empty"
        )


def _refuse_unasked(rules: tuple[QueryRule, ...], some_lack_query: bool) -> None:
    if some_lack_query and not rules:
        raise Sim4SegError("some studies have no query of their own; use --query or --queries")


def _refuse_with_merge(options: argparse.Namespace) -> None:
    given = [
        name
        for name in (
            "studies",
            "queries",
            "query",
            "slice",
            "mode",
            "samples",
            "masks",
            "seed",
            "model",
            "part_id",
            "num_parts",
            "ray",
            "workers",
        )
        if getattr(options, name) is not None
    ]
    if given or options.overwrite or options.retry_failed:
        raise Sim4SegError("--merge takes the output folder and nothing else")


def _say(sentence: str) -> None:
    print(f"sim4seg: {sentence}", file=sys.stderr, flush=True)
