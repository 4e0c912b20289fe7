"""The certificate for phones."""

import ssl
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.binaries import require_binary

BACKEND = Path(__file__).resolve().parents[2]


@pytest.fixture
def openssl() -> str:
    return require_binary("openssl", install="sudo apt-get install openssl")


def make(folder: Path) -> str:
    command = [sys.executable, "-m", "scripts.make_certificate", "--output", folder, "--port", "9443"]
    return subprocess.run(command, cwd=BACKEND, capture_output=True, text=True, check=True).stdout


def test_certificate_can_be_served_and_names_this_computer(openssl: str, tmp_path: Path) -> None:
    printed = make(tmp_path / "tls")

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "tls" / "certificate.pem", tmp_path / "tls" / "key.pem")
    assert printed.startswith("On a phone in this network, open: https://")
    assert ":9443/" in printed


def test_key_is_readable_by_its_owner_only(openssl: str, tmp_path: Path) -> None:
    make(tmp_path / "tls")

    assert stat.S_IMODE((tmp_path / "tls" / "key.pem").stat().st_mode) == 0o600
    assert sorted(path.name for path in (tmp_path / "tls").iterdir()) == ["certificate.pem", "key.pem"]


def test_a_good_certificate_is_kept_so_that_phones_need_not_accept_another(openssl: str, tmp_path: Path) -> None:
    make(tmp_path / "tls")
    before = (tmp_path / "tls" / "certificate.pem").read_bytes()

    make(tmp_path / "tls")

    assert (tmp_path / "tls" / "certificate.pem").read_bytes() == before


def test_a_certificate_for_another_address_is_replaced(openssl: str, tmp_path: Path) -> None:
    make(tmp_path / "tls")
    certificate, key = tmp_path / "tls" / "certificate.pem", tmp_path / "tls" / "key.pem"
    other = [openssl, "req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    files = ["-keyout", key, "-out", certificate]
    subprocess.run([*other, "-subj", "/CN=old", "-days", "300", *files], check=True, capture_output=True)
    before = certificate.read_bytes()

    make(tmp_path / "tls")

    assert certificate.read_bytes() != before
