"""Container file and systemd unit fit the project and the command line, as far as can be read."""

import argparse
import json
import re
import shlex
from pathlib import Path

import pytest

from Sim4SegCore.commands import serve
from Sim4SegCore.service.app import MAX_WAIT_S
from Sim4SegCore.service.config import ServiceLimits

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    tomllib = pytest.importorskip("tomli")

ROOT = Path(__file__).resolve().parents[2]
DEPLOYMENT = ROOT / "Sim4SegCore" / "service" / "deployment"


@pytest.fixture
def instructions():
    """(keyword, rest) of each of the container file's instructions."""
    text = (DEPLOYMENT / "Containerfile").read_text()
    lines = re.sub(r"^#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", " ").splitlines()
    return [tuple(line.split(maxsplit=1)) for line in lines if line.strip()]


@pytest.fixture
def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def copied(instructions):
    """Source -> where it lies below /source."""
    places = {}
    for keyword, rest in instructions:
        if keyword == "COPY":
            *sources, target = rest.split()
            for source in sources:
                inside = target + Path(source).name if target.endswith("/") else target
                places[source] = inside.removeprefix("/source/")
    return places


def parsed(arguments):
    parser = argparse.ArgumentParser()
    serve.configure(parser)
    return parser.parse_args(arguments)


def test_what_is_copied_is_what_the_package_is_built_from(instructions, project):
    places = copied(instructions)
    assert all((ROOT / source).exists() for source in places)
    assert all(source == place for source, place in places.items())
    tools = project["tool"]["setuptools"]
    folders = [
        tools["package-dir"].get(package, package.replace(".", "/"))
        for package in tools["packages"]
    ]
    for needed in ["pyproject.toml", project["project"]["readme"], *folders]:
        assert any(Path(needed).is_relative_to(source) for source in places), needed


def test_it_installs_extras_that_there_are(instructions, project):
    (install,) = (rest for keyword, rest in instructions if "pip install" in rest)
    extras = re.search(r"/source\[(.*?)\]", install).group(1).split(",")
    assert {"ray", "service"} <= set(extras) <= set(project["project"]["optional-dependencies"])


def test_the_container_runs_a_command_line_that_there_is(instructions):
    entry = dict(instructions)
    command = json.loads(entry["ENTRYPOINT"]) + json.loads(entry["CMD"])
    assert command[:2] == ["sim4seg", "serve"]
    options = parsed(command[2:])
    assert options.behind_proxy and str(options.port) == entry["EXPOSE"]
    with_ray = (DEPLOYMENT / "Containerfile").read_text().split("… sim4seg ")[1].splitlines()[0]
    assert parsed(shlex.split(with_ray)).ray == "local"


def test_the_unit_runs_a_command_line_that_there_is():
    unit = (DEPLOYMENT / "sim4seg.service").read_text()
    program, command, *arguments = shlex.split(re.search(r"^ExecStart=(.*)$", unit, re.M).group(1))
    assert (Path(program).name, command) == ("sim4seg", "serve")
    assert parsed(arguments).tokens == Path("/etc/sim4seg/tokens.json")


def test_the_proxy_lets_through_what_the_service_takes():
    text = (DEPLOYMENT / "nginx.conf").read_text()
    settings = dict(re.findall(r"^\s*([a-z_]+) ([^;{]+);", text, flags=re.MULTILINE))
    largest = int(settings["client_max_body_size"].removesuffix("g")) << 30
    assert largest >= ServiceLimits().max_image_bytes
    unit = (DEPLOYMENT / "sim4seg.service").read_text()
    port = re.search(r"--port (\d+)", unit).group(1)
    assert settings["proxy_pass"] == f"http://127.0.0.1:{port}"
    assert settings["proxy_buffering"] == settings["proxy_request_buffering"] == "off"
    assert int(settings["proxy_read_timeout"].removesuffix("s")) > MAX_WAIT_S
    assert text.count("{") == text.count("}")
