"""Makes a self-signed TLS certificate for this computer, so that phones nearby can use the page: cameras need HTTPS.

Reads the computer's name and its address in the network (no packet is sent). Writes `certificate.pem` and `key.pem`
into a folder, and keeps what is there while it is still valid for a month and names the address of today.

    python -m scripts.make_certificate --output data/secrets/tls
"""

import os
import shutil
import socket
import subprocess
from pathlib import Path
from typing import Annotated

import typer

from app.core.config import BACKEND_DIR
from scripts.console import user_errors

VALID_DAYS = 397
"""Phones refuse certificates that are valid for longer than 398 days."""
MIN_SECONDS_LEFT = 30 * 24 * 3600


def local_names() -> list[str]:
    """Names and addresses by which browsers may call this computer, as openssl's subjectAltName entries."""
    host = socket.gethostname().split(".")[0]
    names = ["DNS:localhost", "IP:127.0.0.1", f"DNS:{host}", f"DNS:{host}.local"]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            # Choosing a route for a datagram tells the outgoing address; connect() on UDP sends nothing.
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return names  # no network: the computer itself can still use it
        address = str(probe.getsockname()[0])
    return names if address.startswith("127.") else [*names, f"IP:{address}"]


def is_still_good(openssl: str, certificate: Path, names: list[str]) -> bool:
    """Whether the certificate is valid for another month and covers every one of `names`."""
    if not certificate.is_file():
        return False
    read = [openssl, "x509", "-in", str(certificate), "-noout"]
    lasts = subprocess.run([*read, "-checkend", str(MIN_SECONDS_LEFT)], capture_output=True)
    text = subprocess.run([*read, "-text"], capture_output=True, text=True).stdout
    covered = {name.strip().replace("IP Address:", "IP:") for line in text.splitlines() for name in line.split(",")}
    return lasts.returncode == 0 and set(names) <= covered


def make_certificate(openssl: str, certificate: Path, key: Path, names: list[str]) -> None:
    """Write a new key, readable by this user only, and its certificate for `names`.

    Raises:
        typer.Exit: openssl refused; its words are printed.
    """
    output = certificate.parent
    output.mkdir(parents=True, exist_ok=True, mode=0o700)
    config = output / "openssl.cnf"
    config.write_text(
        "[req]\nprompt = no\ndistinguished_name = name\nx509_extensions = extensions\n"
        "[name]\nCN = SignFlow on this computer\n"
        "[extensions]\nbasicConstraints = critical, CA:FALSE\nextendedKeyUsage = serverAuth\n"
        f"keyUsage = critical, digitalSignature\nsubjectAltName = {', '.join(names)}\n"
    )
    new_key = ["req", "-x509", "-sha256", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    files = ["-config", str(config), "-keyout", str(key), "-out", str(certificate)]
    old_mask = os.umask(0o077)
    try:
        done = subprocess.run([openssl, *new_key, "-days", str(VALID_DAYS), *files], capture_output=True, text=True)
    finally:
        os.umask(old_mask)
        config.unlink()
    if done.returncode != 0:
        typer.echo(f"openssl could not make a certificate in {output}: {done.stderr.strip()}", err=True)
        raise typer.Exit(1)
    typer.echo(f"Made {certificate} for {', '.join(names)}", err=True)


def main(
    output: Annotated[Path, typer.Option(help="Folder for certificate.pem and key.pem.")] = BACKEND_DIR
    / "data/secrets/tls",
    port: Annotated[int, typer.Option(help="Port of the address that is printed for phones.")] = 8443,
) -> None:
    """Make the certificate, or keep the one that is there and still good; print the address for phones."""
    openssl = shutil.which("openssl")
    if openssl is None:
        typer.echo(
            "openssl is missing; install it: sudo apt-get install openssl (macOS: brew install openssl)", err=True
        )
        raise typer.Exit(1)
    certificate, key, names = output / "certificate.pem", output / "key.pem", local_names()
    with user_errors():
        if not (is_still_good(openssl, certificate, names) and key.is_file()):
            make_certificate(openssl, certificate, key, names)
    typer.echo(f"On a phone in this network, open: https://{names[-1].split(':')[1]}:{port}/")


if __name__ == "__main__":
    typer.run(main)
