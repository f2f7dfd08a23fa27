"""The chart is what Kubernetes takes, and what it renders is safe to run."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

from riverbridge.settings import load
from tests.deploy.tools import installed, read_yaml, unpack_helm
from tests.support.parts import part

pytestmark = pytest.mark.deploy

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts" / "riverbridge"
PARENT = Path(__file__).parent / "parent"
SMALL = {
    "database": {"existingSecret": "db"},
    "env": {
        "RIVERBRIDGE_SINKS__EVENTS__TYPE": "kafka",
        "RIVERBRIDGE_SINKS__EVENTS__BOOTSTRAP_SERVERS": "broker:9092",
        "RIVERBRIDGE_SINKS__EVENTS__TOPIC": "jobs.{kind}",
    },
}
FULL = SMALL | {
    "replicas": 3,
    "grace": 60,
    "secretEnv": {
        "RIVERBRIDGE_SINKS__EVENTS__CONFIG__SASL_PASSWORD": {"name": "kafka", "key": "password"}
    },
    "envFromSecrets": ["more"],
    "serviceAccount": {"create": True, "annotations": {"eks.amazonaws.com/role-arn": "arn:x"}},
    "podDisruptionBudget": {"enabled": True},
    "migrate": {"enabled": True, "existingSecret": "owner"},
    "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
    "image": {"digest": "sha256:" + "0" * 64},
    "imagePullSecrets": [{"name": "registry"}],
    "hooks": {"enabled": True, "service": {"enabled": True, "annotations": {"a": "b"}}},
    "extraVolumes": [{"name": "ca", "configMap": {"name": "ca"}}],
    "extraVolumeMounts": [{"name": "ca", "mountPath": "/etc/ca", "readOnly": True}],
    "podAnnotations": {"a": "b"},
    "podLabels": {"team": "shop"},
    "nodeSelector": {"kubernetes.io/os": "linux"},
    "tolerations": [{"key": "spot", "operator": "Exists"}],
    "affinity": {"podAntiAffinity": {}},
    "topologySpreadConstraints": [
        {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"}
    ],
}

Object = dict[str, Any]


class Refused(AssertionError):
    """helm did not render; the text is its complaint."""


class Helm:
    """helm, and a directory for values."""

    def __init__(self, program: Path, scratch: Path) -> None:
        self._program = program
        self._scratch = scratch

    def __call__(self, command: str, *args: object) -> str:
        done = subprocess.run(
            [str(self._program), command, *map(str, args)],
            capture_output=True, text=True, timeout=60, check=False,
            env={"HOME": str(self._scratch)},
        )  # fmt: skip
        if done.returncode:
            raise Refused(done.stdout + done.stderr)
        return done.stdout

    def text(self, values: Object, chart: Path = CHART) -> str:
        path = self._scratch / "values.yaml"
        path.write_text(json.dumps(values), encoding="utf-8")
        return self("template", "release", chart, "--namespace", "shop", "--values", path)

    def objects(self, values: Object, chart: Path = CHART) -> list[Object]:
        return [found for found in read_yaml(self.text(values, chart)) if found]


@pytest.fixture(scope="session")
def helm_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with part("deploy"):
        return unpack_helm(tmp_path_factory.mktemp("helm"))


@pytest.fixture
def helm(helm_program: Path, tmp_path: Path) -> Helm:
    return Helm(helm_program, tmp_path)


@pytest.fixture
def parent(tmp_path: Path) -> Path:
    """A parent chart with ours as its dependency, as `helm dependency build` leaves it."""
    chart = tmp_path / "shop"
    shutil.copytree(PARENT, chart)
    shutil.copytree(CHART, chart / "charts" / "riverbridge")
    return chart


def of_kind(objects: list[Object], kind: str) -> Object:
    (found,) = [each for each in objects if each["kind"] == kind]
    return found


def container(objects: list[Object]) -> Object:
    (found,) = of_kind(objects, "Deployment")["spec"]["template"]["spec"]["containers"]
    assert isinstance(found, dict)
    return found


def check_with_kubernetes(text: str, tmp_path: Path) -> None:
    """Every object fits its schema; Prometheus' own kind has none there."""
    with part("deploy"):
        program = installed("kubernetes-validate")
    path = tmp_path / "rendered.yaml"
    path.write_text(text, encoding="utf-8")
    done = subprocess.run(
        [program, "--strict", path], capture_output=True, text=True, timeout=60, check=False
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    kinds = set(re.findall(r"^kind: (\w+)", text, re.MULTILINE)) - {"ServiceMonitor"}
    for kind in kinds:
        assert f"passed for resource {kind.lower()}/" in said


def test_the_chart_passes_lint(helm: Helm, tmp_path: Path) -> None:
    values = tmp_path / "lint.yaml"
    values.write_text(json.dumps(FULL), encoding="utf-8")
    assert "0 chart(s) failed" in helm("lint", "--strict", CHART, "--values", values)


@pytest.mark.parametrize("values", [SMALL, FULL], ids=["small", "full"])
def test_what_it_renders_fits_the_schemas(helm: Helm, values: Object, tmp_path: Path) -> None:
    check_with_kubernetes(helm.text(values), tmp_path)


def test_the_schemas_find_what_is_wrong(helm: Helm, tmp_path: Path) -> None:
    broken = helm.text(SMALL).replace("replicas: 1", 'replicas: "two"')
    with pytest.raises(AssertionError, match="two"):
        check_with_kubernetes(broken, tmp_path)


def test_no_more_is_installed_than_asked_for(helm: Helm) -> None:
    assert [each["kind"] for each in helm.objects(SMALL)] == ["Deployment"]
    assert {each["kind"] for each in helm.objects(FULL)} == {
        "Deployment", "Job", "PodDisruptionBudget", "Service", "ServiceAccount", "ServiceMonitor",
    }  # fmt: skip


@pytest.mark.parametrize("kind", ["Deployment", "Job"])
def test_the_pods_are_restricted(helm: Helm, kind: str) -> None:
    """What the restricted Pod Security Standard asks, and a root file system nobody writes to."""
    pod = of_kind(helm.objects(FULL), kind)["spec"]["template"]["spec"]
    assert pod["enableServiceLinks"] is False
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for each in pod["containers"]:
        assert each["securityContext"] | {"runAsUser": 0} == {
            "runAsNonRoot": True,
            "runAsUser": 0,
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        }
        assert each["securityContext"]["runAsUser"] > 10000
        assert each["resources"]["limits"]["memory"]


def test_the_environment_is_one_the_bridge_takes(helm: Helm) -> None:
    given = container(helm.objects(FULL))["env"]
    secret = {each["name"] for each in given if "valueFrom" in each}
    assert secret == {"DATABASE_URL", "RIVERBRIDGE_SINKS__EVENTS__CONFIG__SASL_PASSWORD"}
    values = {each["name"]: each.get("value", "postgresql://app@db/app") for each in given}
    settings = load(values, None, None)
    assert settings.grace == 60
    assert settings.probes.host == "0.0.0.0"
    assert settings.probes.port == 8081
    assert (settings.hooks.host, settings.hooks.port) == ("0.0.0.0", 8082)
    assert list(settings.sinks) == ["events"]


@pytest.mark.parametrize("grace", [0, 25, 600])
def test_the_pod_outlives_the_longest_stop(helm: Helm, grace: int) -> None:
    pod = of_kind(helm.objects(SMALL | {"grace": grace}), "Deployment")["spec"]["template"]["spec"]
    hold, lanes, rest = 5, 5, 10
    assert pod["terminationGracePeriodSeconds"] >= grace + hold + lanes + rest


def test_alone_it_has_both_probes(helm: Helm) -> None:
    found = container(helm.objects(SMALL))
    assert found["livenessProbe"]["httpGet"] == {"path": "/livez", "port": "rb-probes"}
    assert found["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "rb-probes"}
    assert found["ports"] == [{"name": "rb-probes", "containerPort": 8081}]


def test_webhooks_have_a_port_and_a_service_if_asked_for(helm: Helm) -> None:
    port = {"name": "rb-hooks", "containerPort": 8082}
    assert port not in container(helm.objects(SMALL))["ports"]
    opened = helm.objects(SMALL | {"hooks": {"enabled": True}})
    assert port in container(opened)["ports"]
    assert [each["kind"] for each in opened] == ["Deployment"]
    served = helm.objects(SMALL | {"hooks": {"enabled": True, "service": {"enabled": True}}})
    service = of_kind(served, "Service")
    assert service["metadata"]["name"] == "release-riverbridge-hooks"
    assert service["spec"]["type"] == "ClusterIP"
    assert service["spec"]["ports"] == [{"name": "hooks", "port": 80, "targetPort": "rb-hooks"}]
    pod = of_kind(served, "Deployment")["spec"]["template"]
    assert service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
    # A broker that is down must not turn webhooks away.
    ready = container(served)["readinessProbe"]["httpGet"]
    assert ready == {"path": "/readyz/hooks", "port": "rb-hooks"}


def test_webhooks_come_to_a_sidecar_by_the_parents_service(helm: Helm, parent: Path) -> None:
    hooks = {"enabled": True}
    (deployment,) = helm.objects({"riverbridge": {"hooks": hooks}}, parent)
    (sidecar,) = deployment["spec"]["template"]["spec"]["initContainers"]
    assert "rb-hooks" in [each["name"] for each in sidecar["ports"]]
    assert "readinessProbe" not in sidecar
    with pytest.raises(Refused, match="is the parent chart's"):
        helm.objects({"riverbridge": {"hooks": hooks | {"service": {"enabled": True}}}}, parent)


def test_as_a_sidecar_it_never_takes_the_pod_out_of_service(
    helm: Helm, parent: Path, tmp_path: Path
) -> None:
    check_with_kubernetes(helm.text({}, parent), tmp_path)
    (deployment,) = helm.objects({}, parent)
    pod = deployment["spec"]["template"]["spec"]
    (sidecar,) = pod["initContainers"]
    assert sidecar["restartPolicy"] == "Always"
    assert sidecar["livenessProbe"]["httpGet"]["path"] == "/livez"
    assert "readinessProbe" not in sidecar
    assert "startupProbe" not in sidecar
    assert pod["terminationGracePeriodSeconds"] == 45


def test_a_sidecar_may_be_an_ordinary_container(helm: Helm, parent: Path) -> None:
    (deployment,) = helm.objects({"riverbridge": {"sidecar": {"native": False}}}, parent)
    pod = deployment["spec"]["template"]["spec"]
    assert "initContainers" not in pod
    names = [each["name"] for each in pod["containers"]]
    assert names == ["shop", "riverbridge"]
    assert "restartPolicy" not in pod["containers"][1]
    assert "readinessProbe" not in pod["containers"][1]


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"database": {"existingSecret": ""}}, "database.existingSecret is not set"),
        ({"env": {"DATABASE_URL": "postgresql://x"}}, "use database.existingSecret"),
        ({"env": {"RIVERBRIDGE_GRACE": "5m"}}, "env.RIVERBRIDGE_GRACE cannot be set: use grace"),
        ({"env": {"RIVERBRIDGE_LANES": 4}}, "RIVERBRIDGE_LANES"),
        ({"env": {"RIVERBRIDGE_HOOKS__PORT": "9000"}}, "use hooks.port"),
        ({"hooks": {"service": {"enabled": True}}}, "hooks.service.enabled needs hooks.enabled"),
        ({"hooks": {"port": 0}}, "port"),
        ({"hooks": {"service": {"type": "ExternalName"}}}, "type"),
        ({"mode": "both"}, "mode"),
        ({"grace": 601}, "grace"),
        ({"migrate": {"enabled": True}}, "migrate.existingSecret is not set"),
        (
            {"env": {"A": "x"}, "secretEnv": {"A": {"name": "secret", "key": "key"}}},
            "A is in both env and secretEnv",
        ),
    ],
)
def test_values_that_cannot_work_are_refused(helm: Helm, values: Object, complaint: str) -> None:
    with pytest.raises(Refused, match=re.escape(complaint)):
        helm.text(SMALL | values)


def test_the_version_is_the_packages() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    with part("deploy"):
        (chart,) = read_yaml((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    assert chart["appVersion"] == project["version"]


def test_hadolint_finds_nothing_in_the_dockerfile() -> None:
    with part("deploy"):
        program = installed("hadolint")
    done = subprocess.run(
        [program, ROOT / "Dockerfile"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
