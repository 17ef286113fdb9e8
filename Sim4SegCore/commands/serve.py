"""`sim4seg serve`: answer queries over HTTP, for this machine or for others."""

from __future__ import annotations

import argparse
import dataclasses
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import Sim4SegError

if TYPE_CHECKING:
    from ..service.config import ServiceConfig
    from ..service.security import TokenBook

SUMMARY = "answer queries over HTTP"
TOKEN_VARIABLE = "SIM4SEG_TOKEN"


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument("--host", default="127.0.0.1", help="default: this machine only")
    parser.add_argument("--port", type=int, default=0, help="default: a free one")
    parser.add_argument(
        "--model",
        action="append",
        metavar="[NAME=]SOURCE",
        help="checkpoint folder or hub id; repeat for several (default: the embedded one)",
    )
    parser.add_argument(
        "--models", type=Path, metavar="FOLDER", help="each checkpoint folder inside is a model"
    )
    parser.add_argument(
        "--device", action="append", help="auto, cpu, cuda, cuda:N or mps; repeat for several"
    )
    parser.add_argument(
        "--tokens", type=Path, metavar="FILE", help="JSON with named tokens and their roles"
    )
    parser.add_argument("--certificate", type=Path, help="PEM file for TLS")
    parser.add_argument("--key", type=Path, help="PEM file for TLS")
    parser.add_argument(
        "--behind-proxy",
        action="store_true",
        help="allow other hosts without TLS: something in front of it adds TLS",
    )
    parser.add_argument(
        "--ray",
        metavar="ADDRESS",
        help="models answer on a Ray cluster ('local' starts one on this machine); the signal "
        "SIGHUP restarts them one after the other",
    )
    parser.add_argument(
        "--replicas",
        type=int,
        help="models on Ray (default: one for each GPU, without GPUs one for each core)",
    )
    parser.add_argument("--log", type=Path, metavar="FILE", help="rotating log (default: stderr)")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)


def run(options: argparse.Namespace) -> None:
    """Serve until interrupted.

    Raises:
        Sim4SegError: if something is missing or cannot be used.
    """
    try:
        from ..service.server import ready_line, serve
    except ImportError as error:
        raise Sim4SegError(
            f"serving needs {error.name}; install it with: pip install 'sim4seg[service]'"
        ) from None
    from ..service.config import ServiceConfig
    from ..service.security import TokenBook, new_token

    _check_ray(options)
    config = ServiceConfig(
        host=options.host,
        port=options.port,
        models=_models(options.model, options.models),
        models_folder=options.models,
        devices=tuple(options.device or ["auto"]),
        certificate=options.certificate,
        key=options.key,
        behind_proxy=options.behind_proxy,
        log_file=options.log,
    )
    if options.child:
        tokens = TokenBook({"parent": (_first_line(), "admin")})
        serve(config, tokens, lambda url: _print_last(ready_line(url)), parent_pipe=0)
        return
    if options.tokens is not None:
        book, shown = TokenBook.from_file(options.tokens), f"see {options.tokens}"
    else:
        given = os.environ.get(TOKEN_VARIABLE)
        token = given or new_token()
        shown = f"that of {TOKEN_VARIABLE}" if given else token
        book = TokenBook({"owner": (token, "admin")})

    def announce(url: str) -> None:
        _print(f"Address    {url}\nToken      {shown}")

    if options.ray is None:
        serve(config, book, announce)
    else:
        _serve_on_ray(options, config, book, announce)


def _serve_on_ray(
    options: argparse.Namespace,
    config: ServiceConfig,
    book: TokenBook,
    announce: Callable[[str], None],
) -> None:
    from ..service.models import load_sim4seg
    from ..service.ray_replicas import PREFIX, ray_replicas
    from ..service.server import serve

    device = config.devices[0]
    with ray_replicas(options.ray, load_sim4seg, device, config.limits) as replicas:
        count = options.replicas or replicas.places
        if count > replicas.places:
            raise Sim4SegError(
                f"the Ray cluster has room for {replicas.places} replicas; use no more"
            )
        names = tuple(f"{PREFIX}{number}" for number in range(count))
        config = dataclasses.replace(
            config,
            devices=names,
            models={name: _absolute(source) for name, source in config.models.items()},
            models_folder=config.models_folder and config.models_folder.absolute(),
        )
        serve(config, book, announce, load=replicas.load, on_hangup=replicas.restart)


def _absolute(source: str | None) -> str | None:
    """Another machine's working folder is another one."""
    is_folder = source is not None and Path(source).is_dir()
    return str(Path(source).absolute()) if source is not None and is_folder else source


def _check_ray(options: argparse.Namespace) -> None:
    if options.ray is None:
        if options.replicas is not None:
            raise Sim4SegError("--replicas is for --ray; use both or neither")
        return
    from ..ray_cluster import require_ray

    require_ray()
    if options.child:
        raise Sim4SegError("a child process serves without --ray")
    if options.replicas is not None and options.replicas < 1:
        raise Sim4SegError("--replicas counts models; use 1 or more")
    if options.device not in (None, ["auto"], ["cpu"], ["cuda"]):
        raise Sim4SegError("on Ray --device is auto, cpu or cuda; which one is Ray's choice")


def _models(named: list[str] | None, folder: Path | None) -> dict[str, str | None]:
    if not named:
        return {} if folder is not None else {"embedded": None}
    models: dict[str, str | None] = {}
    for entry in named:
        name, is_named, source = entry.partition("=")
        if not is_named:
            name, source = Path(entry).name, entry
        models[name] = None if source == "embedded" else source
    return models


def _first_line() -> str:
    """One line from the parent, read without a buffer: the rest is the parent's sign of life."""
    line = b""
    while not line.endswith(b"\n"):
        byte = os.read(0, 1)
        if not byte:
            raise Sim4SegError("the parent went away before it sent a token")
        line += byte
    return line.decode().strip()


def _print_last(text: str) -> None:
    """Nobody reads stdout any more: what libraries print must not fill the pipe and block."""
    _print(text)
    os.dup2(2, 1)


def _print(text: str) -> None:
    print(text, flush=True)
