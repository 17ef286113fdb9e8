"""The command line: `sim4seg segment IMAGE "QUERY" -o OUT`, `sim4seg batch STUDIES -o OUT`.

Checks everything that can be checked before torch is loaded. Mistakes of the user end with one
line on stderr and exit code 2.
"""

from __future__ import annotations

import argparse
import json
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from .batch.command import add_batch_command
from .case import Query, Result
from .commands import serve, volumes
from .errors import Sim4SegError
from .out_of_memory import is_out_of_memory
from .output import check_output_folder, result_to_dict
from .report.wording import RESEARCH_NOTICE, diagnosis_words
from .scaling_config import MASK_CHOICES, ScalingConfig
from .volume import VolumeResult

EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130
OUT_OF_MEMORY = "there is not enough memory; close other programs, or give a smaller image or model"
LABEL_WIDTH = 11
LINE_WIDTH = 88


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal that cannot show a character must not end a finished run.
        getattr(stream, "reconfigure", lambda **_: None)(errors="replace")
    options = _parser().parse_args(arguments)
    try:
        code: int | None = options.run(options)
    except Sim4SegError as error:
        print(f"sim4seg: {' '.join(str(error).split())}", file=sys.stderr)
        return EXIT_USER_ERROR
    except BaseException as error:
        if is_out_of_memory(error):
            print(f"sim4seg: {OUT_OF_MEMORY}", file=sys.stderr)
            return EXIT_USER_ERROR
        if not _is_interruption(error):
            raise
        print("sim4seg: interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    return code or 0


def _is_interruption(error: BaseException | None) -> bool:
    """Ctrl-C, or what a library made of it: while modules load, some wrap it in their own."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, as all mistakes of the user are answered."""

    def error(self, message: str) -> NoReturn:
        self.exit(EXIT_USER_ERROR, f"{self.prog}: {message}; see {self.prog} --help\n")


def _whole_number(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is no whole number") from None


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="sim4seg",
        description="Ask a medical image a clinical question; get a mask, a diagnosis and the "
        "reasoning.",
        epilog=RESEARCH_NOTICE,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    segment = commands.add_parser("segment", help="answer one query about one image")
    segment.add_argument(
        "image", type=Path, help="PNG, JPEG, TIFF, DICOM, NIfTI, NRRD or MetaImage"
    )
    segment.add_argument("query", help='such as "Is there a skin lesion? Segment it."')
    segment.add_argument("-o", "--output", type=Path, required=True, help="folder for the results")
    segment.add_argument("--model", help="checkpoint folder or hub id (default: the embedded one)")
    segment.add_argument(
        "--device", default="auto", help="auto, cpu, cuda, cuda:N or mps (default: auto)"
    )
    segment.add_argument("--slice", type=_whole_number, help="slice of a volume to look at, from 0")
    segment.add_argument(
        "--samples",
        type=_whole_number,
        metavar="M",
        help="answers that vote (default: as the model says)",
    )
    segment.add_argument(
        "--masks", type=_whole_number, metavar="N", help="masks that are combined (likewise)"
    )
    segment.add_argument(
        "--choice",
        help=f"which mask of several you get: {', '.join(MASK_CHOICES)} (likewise)",
    )
    segment.add_argument("--seed", type=_whole_number, help="of the sampled answers (default: 0)")
    volumes.configure(segment)
    segment.add_argument("--json", action="store_true", help="print result.json instead of text")
    segment.add_argument(
        "--overwrite", action="store_true", help="replace results in an output folder in use"
    )
    segment.set_defaults(run=_segment)
    add_batch_command(commands)
    server = commands.add_parser("serve", help=serve.SUMMARY)
    serve.configure(server)
    server.set_defaults(run=serve.run)
    return parser


def _segment(options: argparse.Namespace) -> None:
    query = Query(options.query)
    wanted = _scaling(options, ScalingConfig())
    volumes.check(options)
    check_output_folder(options.output, overwrite=options.overwrite)
    if options.mode != volumes.IMAGE_MODE:
        _segment_volume(options, query)
        return
    from .io import read_case

    case = read_case(options.image, slice_index=options.slice)
    _say("loading the model")
    from .predictor import Sim4Seg

    predictor = Sim4Seg.from_pretrained(options.model, device=options.device, notify=_say)
    _say("looking at the image")
    scaling = _scaling(options, predictor.model.config.scaling) if wanted else None
    result = predictor.segment(case, query.text, scaling)
    if not options.json:
        # The answer is worth reading while its pictures are drawn.
        print(describe(result), flush=True)
    folder = result.save(options.output, overwrite=options.overwrite)
    if options.json:
        print(json.dumps(result_to_dict(result), indent=2, ensure_ascii=False))
    else:
        print(_row("Written to", str(folder)))


def _scaling(options: argparse.Namespace, default: ScalingConfig) -> ScalingConfig | None:
    """What the user asked for on top of a default; None if nothing."""
    return default.asked({name: getattr(options, name) for name in volumes.SCALING})


def _segment_volume(options: argparse.Namespace, query: Query) -> None:
    result = volumes.answer(options, query, _say)
    if not options.json:
        print(_describe_volume(result), flush=True)
    folder = result.save(options.output, overwrite=options.overwrite)
    if options.json:
        from .volume.output import volume_result_to_dict

        print(json.dumps(volume_result_to_dict(result), indent=2, ensure_ascii=False))
    else:
        print(_row("Written to", str(folder)))


def _say(sentence: str) -> None:
    print(f"sim4seg: {sentence}", file=sys.stderr, flush=True)


def describe(result: Result) -> str:
    """A result in a few readable lines."""
    rows = [("Diagnosis", _diagnosis_text(result))]
    for finding in result.findings:
        state = "found" if finding.present else "not found"
        share = finding.measurements.get("image_fraction", 0.0)
        extent = f", {share:.1%} of the image" if finding.present else ""
        rows.append(
            ("Finding", f"{finding.label}: {state} (presence {finding.confidence:.0%}{extent})")
        )
    rows.append(("Reasoning", result.reasoning))
    rows += [("Warning", warning) for warning in result.warnings]
    rows.append(("Note", RESEARCH_NOTICE))
    return "\n".join(_row(label, text) for label, text in rows)


def _describe_volume(result: VolumeResult) -> str:
    rows = [("Diagnosis", _diagnosis_text(result)), *volumes.rows(result)]
    rows += [("Reasoning", result.reasoning)] if result.reasoning else []
    rows += [("Warning", warning) for warning in result.warnings]
    rows.append(("Note", RESEARCH_NOTICE))
    return "\n".join(_row(label, text) for label, text in rows)


def _diagnosis_text(result: Result | VolumeResult) -> str:
    diagnosis = result.diagnosis
    if diagnosis.uncertain:
        return diagnosis_words(diagnosis)
    if diagnosis.label is None:
        return f"none given ({diagnosis.confidence:.0%})"
    likely = [(label, share) for label, share in diagnosis.alternatives if share >= 0.01]
    others = ", ".join(f"{label} {share:.0%}" for label, share in likely)
    tail = f"; else {others}" if others else ""
    return f"{diagnosis.label} ({diagnosis.confidence:.0%}{tail})"


def _row(label: str, text: str) -> str:
    return textwrap.fill(
        text,
        LINE_WIDTH,
        initial_indent=label.ljust(LABEL_WIDTH),
        subsequent_indent=" " * LABEL_WIDTH,
        break_long_words=False,
        break_on_hyphens=False,
    )


if __name__ == "__main__":
    sys.exit(main())
