"""deploy/: what Ray Serve and Kubernetes are given is valid, and says the same as the code."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from recsys.errors import BadInput
from serving.ray_app import RAY_ENVIRONMENT
from serving.scale import Autoscale, most, options, parse

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"


@pytest.fixture
def config() -> dict[str, Any]:
    return yaml.safe_load((DEPLOY / "serve.yaml").read_text())


@pytest.fixture
def manifests() -> dict[str, dict[str, Any]]:
    return {doc["kind"]: doc for doc in yaml.safe_load_all((DEPLOY / "kuberay.yaml").read_text())}


def test_serve_accepts_the_config_and_finds_the_application(config: dict[str, Any], tmp_path: Path) -> None:
    from ray.serve._private.api import call_user_app_builder_with_args_if_necessary as call
    from ray.serve.schema import ServeDeploySchema

    checked = ServeDeploySchema.model_validate(config)
    assert checked.applications[0].import_path == "serving.cluster:build"
    from serving.cluster import build

    application = call(build, {"home": str(tmp_path)})
    assert application._bound_deployment.name == "recsys"
    with pytest.raises((ValidationError, ValueError)):
        call(build, {"home": str(tmp_path), "replicas": 3})


def test_the_deployment_has_the_numbers_of_the_code(config: dict[str, Any]) -> None:
    written = config["applications"][0]["deployments"][0]
    bounds = written["autoscaling_config"]
    meant = options(Autoscale(bounds["min_replicas"], bounds["max_replicas"]))
    del meant["graceful_shutdown_timeout_s"]  # longer where the proxies of other nodes have to hear of it
    assert {name: written[name] for name in meant} == meant


def test_both_files_say_the_same_and_every_node_has_the_environment(
    config: dict[str, Any], manifests: dict[str, dict[str, Any]]
) -> None:
    service = manifests["RayService"]["spec"]
    assert yaml.safe_load(service["serveConfigV2"]) == config
    environment = manifests["ConfigMap"]["data"]
    longer = "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S"
    assert {k: v for k, v in environment.items() if k in RAY_ENVIRONMENT} == RAY_ENVIRONMENT | {
        longer: environment[longer]
    }
    cluster = service["rayClusterConfig"]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        pod = group["template"]["spec"]
        assert pod["containers"][0]["envFrom"] == [{"configMapRef": {"name": "recsys-environment"}}]
        assert pod["volumes"][0]["persistentVolumeClaim"]["claimName"] == "recsys-home"
    drained = config["applications"][0]["deployments"][0]["graceful_shutdown_timeout_s"]
    assert float(environment[longer]) < drained


def test_kubernetes_accepts_what_is_its_own(manifests: dict[str, dict[str, Any]]) -> None:
    validator = pytest.importorskip("kubernetes_validate")
    for kind in ("PersistentVolumeClaim", "ConfigMap", "Deployment"):
        validator.validate(manifests[kind], "1.30", strict=True)


def test_bounds_of_autoscaling_are_checked() -> None:
    assert parse("2:5") == (2, 5)
    assert most(parse("2:5")) == 5
    assert options(3)["num_replicas"] == 3
    for wrong in ("", "3", "5:2", "0:2", "a:b"):
        with pytest.raises(BadInput, match="--autoscale"):
            parse(wrong)
