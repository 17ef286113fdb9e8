"""TLS with a certificate of our own: trusted if given, refused if not."""

import shutil
import subprocess

import pytest
from conftest import TOKEN
from fakes import picture

from Sim4SegCore import Sim4SegError
from Sim4SegCore.service.client import Client
from Sim4SegCore.service.config import ServiceConfig
from Sim4SegCore.service.transport import ServiceError

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl")


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """Certificate and key for 127.0.0.1."""
    folder = tmp_path_factory.mktemp("tls")
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command += ["-nodes", "-days", "2", "-subj", "/CN=sim4seg-test"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1"]
    command += ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    return certificate, key


def test_a_trusted_certificate_is_accepted_and_another_one_is_not(serve, pair, monkeypatch):
    certificate, key = pair
    running = serve(config=ServiceConfig(certificate=certificate, key=key))
    url = running.url.replace("http:", "https:")
    with Client(url, TOKEN, ca_bundle=str(certificate)) as client:
        assert client.ask(picture(), "Private?").document["query"] == "Private?"
    with Client(url, TOKEN) as client, pytest.raises(ServiceError, match="not trusted"):
        client.health()
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere.pem")
    with Client(url, TOKEN, ca_bundle=str(certificate)) as client:
        client.health()


def test_files_that_are_no_pair_are_refused(serve, pair, tmp_path):
    certificate, _ = pair
    wrong = tmp_path / "wrong.pem"
    wrong.write_text("no key")
    with pytest.raises(Sim4SegError, match="PEM"):
        serve(config=ServiceConfig(certificate=certificate, key=wrong))
