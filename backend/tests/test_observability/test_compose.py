"""The compose files: they fit the schema, are complete and hardened, and hold no secret. Starting them needs Docker."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.core.config import Settings
from tests.binaries import require_binary
from tests.e2e.live_server import free_port
from tests.test_observability.prometheus import ROOT, wait_until

DEVELOPMENT, PRODUCTION = ROOT / "docker-compose.yml", ROOT / "docker-compose.prod.yml"
FILES = (DEVELOPMENT, PRODUCTION)
EVERYWHERE = {
    "backend", "worker", "postgres", "redis", "mlflow", "torchserve", "prometheus", "alertmanager", "grafana",
}  # fmt: skip
SERVICES = [(path, name) for path in FILES for name in yaml.safe_load(path.read_text(encoding="utf-8"))["services"]]
each_service = pytest.mark.parametrize(
    ("path", "name"), SERVICES, ids=[f"{path.stem}-{name}" for path, name in SERVICES]
)
each_file = pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)


def load(path: Path) -> dict[str, Any]:
    """A compose file with its anchors followed."""
    document: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return document


def environment_of(service: dict[str, Any]) -> dict[str, str | None]:
    """The environment of a service."""
    environment: dict[str, str | None] = service.get("environment", {})
    return environment


@each_file
def test_the_file_fits_the_compose_specification(path: Path) -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(path)]
    done = subprocess.run(command, capture_output=True, text=True)

    assert done.returncode == 0, done.stdout + done.stderr


def test_both_files_are_complete() -> None:
    assert set(load(DEVELOPMENT)["services"]) == EVERYWHERE
    assert set(load(PRODUCTION)["services"]) == EVERYWHERE | {"proxy"}


@each_service
def test_each_service_is_checked_limited_and_without_privileges(path: Path, name: str) -> None:
    service = load(path)["services"][name]
    limits = service["deploy"]["resources"]["limits"]

    assert service["healthcheck"]["test"][0] in {"CMD", "CMD-SHELL"}
    assert {"interval", "timeout", "retries"} <= service["healthcheck"].keys()
    assert {"cpus", "memory", "pids"} <= limits.keys()
    assert service["user"].split(":")[0] not in {"0", "root"}
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert "privileged" not in service
    assert not any("docker.sock" in str(volume) for volume in service.get("volumes", []))
    assert service["logging"]["options"]["max-size"]


@each_service
def test_each_image_is_pinned_and_what_we_build_can_be_built(path: Path, name: str) -> None:
    service = load(path)["services"][name]

    assert re.fullmatch(r"[\w./-]+:v?\d+\.\d+(\.\d+)?(-[\w.]+)?", service["image"]), service["image"]
    if "build" in service:
        dockerfile = (ROOT / service["build"]["dockerfile"]).read_text(encoding="utf-8")
        targets = set(re.findall(r"^FROM\s+\S+\s+AS\s+(\S+)", dockerfile, re.MULTILINE | re.IGNORECASE))
        assert service["build"].get("target") in {None, *targets}
        assert re.search(r"^USER (?!root|0\b)", dockerfile, re.MULTILINE), "the image runs as root"
        images = re.findall(r"^FROM\s+(\S+)", dockerfile, re.MULTILINE)
        assert not any(image.endswith(":latest") for image in images)


@each_file
def test_secrets_come_from_the_environment_and_are_made_by_make_secrets(path: Path, tmp_path: Path) -> None:
    text, document = path.read_text(encoding="utf-8"), load(path)
    made = tmp_path / "env"
    subprocess.run([ROOT / "tools" / "make-secrets.sh", made], check=True, capture_output=True)
    secrets = dict(line.split("=", 1) for line in made.read_text(encoding="utf-8").splitlines())
    wanted = set(re.findall(r"\$\{(\w+):\?", text)) | {one["environment"] for one in document["secrets"].values()}

    assert wanted <= secrets.keys()
    assert made.stat().st_mode & 0o077 == 0
    assert len(set(secrets.values())) == len(secrets) - 1, "only the two webhooks' placeholders are alike"
    for name, service in document["services"].items():
        for variable, value in environment_of(service).items():
            if re.search(r"PASSWORD|TOKEN|SECRET|_URL$|_URI$", variable) and "_FILE" not in variable:
                hidden = re.sub(r"\$\{\w+(:\?[^}]*)?\}", "", value or "")
                assert not re.search(r"://[^@/]*:[^@/:]+@", hidden), f"{name}: {variable} holds a password"
                assert "PASSWORD" not in variable or hidden == "", f"{name}: {variable} holds a password"


def test_make_secrets_keeps_what_is_there(tmp_path: Path) -> None:
    made = tmp_path / "env"
    made.write_text("POSTGRES_PASSWORD=mine\nSIGNFLOW_PORT=9000", encoding="utf-8")
    for _ in range(2):
        subprocess.run([ROOT / "tools" / "make-secrets.sh", made], check=True, capture_output=True)
    lines = made.read_text(encoding="utf-8").splitlines()

    assert lines[:2] == ["POSTGRES_PASSWORD=mine", "SIGNFLOW_PORT=9000"]
    assert sum(line.startswith("POSTGRES_PASSWORD=") for line in lines) == 1
    assert len(lines) == 7


@each_service
def test_read_only_and_secrets_made_from_variables_do_not_meet(path: Path, name: str) -> None:
    """Compose copies such secrets into the container's own file system, and refuses when that cannot be written."""
    service = load(path)["services"][name]

    assert not (service.get("read_only") and service.get("secrets"))


@each_service
def test_what_a_service_names_exists(path: Path, name: str) -> None:
    document = load(path)
    service = document["services"][name]

    for volume in service.get("volumes", []):
        source = volume.split(":")[0]
        if source.startswith("./"):
            built_later = source == "./torchserve/model-store"
            assert built_later or (ROOT / source).exists(), source
        else:
            assert source in document["volumes"]
    assert set(service.get("secrets", [])) <= document["secrets"].keys()
    assert set(service["networks"]) <= document["networks"].keys()
    assert set(service.get("depends_on", {})) <= document["services"].keys()


@each_service
def test_every_signflow_variable_is_a_setting(path: Path, name: str) -> None:
    for variable in environment_of(load(path)["services"][name]):
        if variable.startswith("SIGNFLOW_") and variable != "SIGNFLOW_DOMAIN":
            model: Any = Settings
            for part in variable.removeprefix("SIGNFLOW_").lower().split("__"):
                assert part in model.model_fields, f"{variable} is no setting"
                model = model.model_fields[part].annotation


def test_only_the_proxy_can_be_reached_from_other_machines() -> None:
    for path in FILES:
        for name, service in load(path)["services"].items():
            outside = [port for port in service.get("ports", []) if not port.startswith("127.0.0.1:")]
            assert outside == ([] if name != "proxy" else ["80:80", "443:443", "443:443/udp"])


def test_the_promised_ports_and_mounts() -> None:
    services = load(PRODUCTION)["services"]
    ports = {name: [port.split(":")[-1] for port in service.get("ports", [])] for name, service in services.items()}
    torchserve = services["torchserve"]["deploy"]["resources"]["reservations"]["devices"]

    assert ports["prometheus"] == ["9090"]
    assert ports["grafana"] == ["3000"]
    assert ports["torchserve"] == ["8080", "8081", "8082"]
    assert services["mlflow"]["ports"] == ["127.0.0.1:${MLFLOW_PORT:-5000}:5000"]
    assert torchserve == [{"driver": "nvidia", "count": 1, "capabilities": ["gpu"]}]
    assert any(
        volume.startswith("./grafana/dashboards/signflow.json:/var/lib/grafana/dashboards/signflow.json")
        for volume in services["grafana"]["volumes"]
    )


def test_data_bases_lead_nowhere_else() -> None:
    document = load(PRODUCTION)

    assert document["networks"]["data"]["internal"] is True
    for name in ("postgres", "redis"):
        assert document["services"][name]["networks"] == ["data"]
        assert "ports" not in document["services"][name]


def test_prometheus_and_grafana_know_the_services_by_the_names_that_compose_gives_them() -> None:
    prometheus = yaml.safe_load((ROOT / "prometheus/prometheus.yml").read_text(encoding="utf-8"))
    grafana = yaml.safe_load((ROOT / "grafana/provisioning/datasources/prometheus.yml").read_text(encoding="utf-8"))
    names = {
        name for job in prometheus["scrape_configs"] for dns in job.get("dns_sd_configs", []) for name in dns["names"]
    }
    hosts = {re.sub(r"^http://|:\d+$", "", source["url"]) for source in grafana["datasources"]}
    services = load(PRODUCTION)["services"]

    assert names == {"backend", "torchserve"}
    assert names | hosts <= services.keys()
    for name in names:
        assert set(services[name]["networks"]) & set(services["prometheus"]["networks"])


@each_file
def test_redis_wants_the_password_from_the_secret_and_its_health_check_knows_it(path: Path, tmp_path: Path) -> None:
    require_binary("redis-server", install="sudo apt-get install redis-server")
    service, port = load(path)["services"]["redis"], free_port()
    (tmp_path / "redis_password").write_text("correct-horse", encoding="utf-8")

    def here(text: str) -> str:
        """A shell command of the container, for this machine."""
        text = (
            text.replace("$$", "$").replace("/run/secrets", str(tmp_path)).replace("redis-cli", f"redis-cli -p {port}")
        )
        return text.replace("appendonly yes", f"appendonly yes\\nport {port}\\ndir {tmp_path}")

    shell, option, script = service["command"]
    kind, check = service["healthcheck"]["test"]
    server = subprocess.Popen([shell, option, here(script)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        healthy = ["sh", "-c", here(check)]
        wait_until(lambda: subprocess.run(healthy, capture_output=True).returncode == 0, what="a healthy Redis")
        stranger = subprocess.run(["redis-cli", "-p", str(port), "ping"], capture_output=True, text=True)
        arguments = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True).stdout
    finally:
        subprocess.run(["sh", "-c", here(check).replace("ping", "shutdown nosave")], capture_output=True)
        server.wait(timeout=30)

    assert kind == "CMD-SHELL"
    assert "NOAUTH" in stranger.stdout + stranger.stderr
    assert "correct-horse" not in arguments, "the list of processes shows the password"
