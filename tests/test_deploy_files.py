"""What stands in deploy/ agrees with the server: names of settings, ports, paths and times."""

import re
import tomllib
from configparser import ConfigParser
from pathlib import Path
from typing import Any

import pytest
import yaml

from server import config
from server.config import Settings
from tests.balancers import DEPLOY

pytestmark = pytest.mark.one_database

GONE_S = 15
SETTINGS = list(config.keys())
FILES = sorted(file for file in DEPLOY.rglob("*") if file.is_file())


def documents(path: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((DEPLOY / path).read_text()))


def seconds(text: str) -> int:
    number, unit = re.fullmatch(r"(\d+)(ms|s|m)?", str(text)).groups()  # type: ignore[union-attr]
    return int(number) * {"m": 60, "s": 1, None: 1}.get(unit, 0)


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(DEPLOY)))
def test_every_setting_that_is_named_exists(file: Path) -> None:
    named = set(re.findall(r"\bPALABRE_[A-Z0-9_]+", file.read_text()))
    assert named <= {key.variable for key in SETTINGS}


def test_every_setting_in_words_exists_too() -> None:
    names = {key.name for key in SETTINGS}
    for file in FILES:
        sections = "|".join(Settings.model_fields)
        for name in re.findall(rf"\b(?:{sections})\.[a-z_]+\b", file.read_text()):
            assert name in names | {"postgresql.service"}, f"{file.name}: {name}"


def test_the_two_files_of_each_balancer_differ_only_in_where_they_send_somebody() -> None:
    for one, other in (
        ("nginx/palabre.conf", "nginx/palabre-polling.conf"),
        ("haproxy/haproxy.cfg", "haproxy/haproxy-polling.cfg"),
    ):
        lines, others = (set((DEPLOY / file).read_text().splitlines()) for file in (one, other))
        words = {line.split()[0] for line in lines ^ others if not line.startswith("#")}
        assert words <= {"least_conn;", "hash", "balance", "hash-type"}


def test_nothing_closes_a_quiet_connection_before_its_next_ping() -> None:
    realtime = Settings.model_validate({}).realtime
    pulse = realtime.ping_interval_s + realtime.ping_timeout_s
    for file, pattern in (
        ("nginx/palabre.conf", r"proxy_read_timeout (\w+);"),
        ("haproxy/haproxy.cfg", r"timeout tunnel +(\w+)"),
        ("haproxy/haproxy.cfg", r"timeout client +(\w+)"),
        ("traefik/traefik.yml", r"idleTimeout: (\w+)"),
    ):
        [given] = re.findall(pattern, (DEPLOY / file).read_text())
        assert seconds(given) > pulse, file


def test_systemd_waits_for_the_end_and_tells_the_parent_only() -> None:
    unit = ConfigParser(strict=False)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read_string((DEPLOY / "systemd" / "palabre.service").read_text())
    service = unit["Service"]
    assert int(service["TimeoutStopSec"]) > GONE_S
    assert service["KillMode"] == "mixed"
    assert service["ExecStart"].endswith("palabre serve")
    environment = (DEPLOY / "systemd" / "palabre.env").read_text()
    assert service["EnvironmentFile"] == environment.partition(",")[0].removeprefix("# ")


def test_compose_knows_its_own_services_volumes_and_variables() -> None:
    [compose] = documents("compose/compose.yml")
    services = compose["services"]
    for name, service in services.items():
        assert set(service.get("depends_on", ())) <= set(services), name
        for volume in service.get("volumes", ()):
            source = volume.partition(":")[0]
            own = source.startswith("./ssl/")
            inside = (DEPLOY / "compose" / source).exists() or source in compose["volumes"]
            assert own or inside, f"{name}: {volume}"
    node = services["node1"]
    assert seconds(node["stop_grace_period"]) > GONE_S
    balancer = (DEPLOY / "nginx" / "palabre.conf").read_text()
    for name in ("node1", "node2"):
        assert f"server {name}:8000 " in balancer
        assert services[name] == node
    subnet = compose["networks"]["inside"]["ipam"]["config"][0]["subnet"]
    assert node["environment"]["PALABRE_HTTP__TRUSTED_PROXIES"] == subnet
    text = (DEPLOY / "compose" / "compose.yml").read_text()
    given = set(re.findall(r"(?m)^([A-Z_]+)=", (DEPLOY / "compose" / "example.env").read_text()))
    assert set(re.findall(r"\$\{([A-Z_]+)", text)) == given
    assert services["postgres"]["environment"]["POSTGRES_DB"] in str(
        node["environment"]["PALABRE_DATABASE__URL"]
    )


def test_the_image_serves_where_compose_and_kubernetes_look() -> None:
    dockerfile = (DEPLOY / "Dockerfile").read_text()
    default = Settings.model_validate({}).http.port
    assert f"EXPOSE {default}" in dockerfile
    assert "PALABRE_HTTP__HOST=0.0.0.0" in dockerfile
    [folder] = re.findall(r"PALABRE_FILES__FOLDER=(\S+)", dockerfile)
    [compose] = documents("compose/compose.yml")
    assert f"files:{folder}" in compose["services"]["node1"]["volumes"]
    project = tomllib.loads((DEPLOY.parent / "pyproject.toml").read_text())["project"]
    assert 'ENTRYPOINT ["palabre"]' in dockerfile
    assert "palabre" in project["scripts"]


def test_kubernetes_probes_what_there_is_and_waits_until_everybody_is_gone() -> None:
    deployment, service, claim, budget = documents("kubernetes/palabre.yml")
    pod = deployment["spec"]["template"]["spec"]
    [container] = pod["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    environment = {one["name"]: one.get("value") for one in container["env"]}
    assert environment["PALABRE_HTTP__PORT"] == str(ports["http"])
    assert environment["PALABRE_METRICS__PORT"] == str(ports["metrics"])
    annotations = deployment["spec"]["template"]["metadata"]["annotations"]
    assert annotations["prometheus.io/port"] == str(ports["metrics"])
    probes = {
        kind: (container[f"{kind}Probe"]["httpGet"]["path"]) for kind in ("readiness", "liveness")
    }
    assert probes == {"readiness": "/readyz", "liveness": "/healthz"}
    waits = int(container["lifecycle"]["preStop"]["exec"]["command"][1])
    assert pod["terminationGracePeriodSeconds"] > waits + GONE_S
    assert pod["enableServiceLinks"] is False
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    for selector in (
        deployment["spec"]["selector"]["matchLabels"],
        service["spec"]["selector"],
        budget["spec"]["selector"]["matchLabels"],
    ):
        assert selector.items() <= labels.items()
    assert service["spec"]["ports"][0]["targetPort"] in ports
    [volume] = pod["volumes"]
    assert volume["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
    [mount] = container["volumeMounts"]
    assert environment["PALABRE_FILES__FOLDER"] == mount["mountPath"]


def test_traefik_finds_its_certificate_its_nodes_and_its_entry() -> None:
    [own] = documents("traefik/traefik.yml")
    for file in ("palabre.yml", "palabre-polling.yml"):
        [dynamic] = documents(f"traefik/{file}")
        [router] = dynamic["http"]["routers"].values()
        balancer = dynamic["http"]["services"][router["service"]]["loadBalancer"]
        assert set(router["entryPoints"]) <= set(own["entryPoints"])
        assert [one["url"] for one in balancer["servers"]] == [
            "http://node1:8000",
            "http://node2:8000",
        ]
        assert balancer["healthCheck"]["path"] == "/readyz"
        assert "!PathPrefix(`/metrics`)" in router["rule"]
        assert ("sticky" in balancer) == (file == "palabre-polling.yml")
    assert own["providers"]["file"]["filename"].endswith("/palabre.yml")
