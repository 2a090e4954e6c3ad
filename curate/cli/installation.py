"""What is installed, what of it works, and the command that mends what does not."""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

from curate.cache import cache_folder
from curate.reports.numbers import size

_HOME = Path(__file__).resolve().parents[2]  # where curate, schemas and indexing lie side by side
_REQUIREMENT = re.compile(r"([\w.-]+)")
_EXTRA = re.compile(r"extra == ['\"]([\w-]+)['\"]")
_CPU_TORCH = "uv pip install --torch-backend=cpu '.[index]'"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. `absent` is no fault: it was not asked for."""

    name: str
    state: Literal["good", "absent", "broken"]
    found: str
    fix: str = ""


def findings() -> list[Finding]:
    """Everything that `curate doctor` looks at, in the order it is shown."""
    return [
        _python(),
        *_extras(),
        *_clashes(),
        _neighbour("schemas"),
        _neighbour("indexing"),
        _device(),
        _cache(),
    ]


def _python() -> Finding:
    found = f"{platform.python_version()} on {platform.machine()}, {sys.executable}"
    return Finding("python", "good", found)


def requirements() -> dict[str, list[str]]:
    """Distributions that each extra needs, as curate was packaged; "" for those that it always needs."""
    wanted: dict[str, list[str]] = {"": []}
    for requirement in metadata.requires("curate") or []:
        name, extra = _REQUIREMENT.match(requirement), _EXTRA.search(requirement)
        if name:
            wanted.setdefault(extra.group(1) if extra else "", []).append(name.group(1))
    return wanted


def _extras() -> Iterator[Finding]:
    for extra, names in requirements().items():
        versions = {name: _version(name) for name in names}
        missing = [name for name, version in versions.items() if not version]
        there = ", ".join(f"{name} {version}" for name, version in versions.items() if version)
        install = f"pip install '.[{extra}]'" if extra else "pip install --force-reinstall ."
        if extra == "index":
            install += f"   (without a GPU, smaller: {_CPU_TORCH})"
        other = {"index": "faiss-gpu", "gpu": "faiss-cpu"}.get(extra, "")
        if other and _version(other):
            install = f"pip uninstall -y {other} && {install}   (it takes the place of {other})"
        title = f"[{extra}]" if extra else f"curate {_version('curate')}"
        if not missing:
            yield Finding(title, "good", there)
        elif not extra:
            yield Finding(title, "broken", f"needs {', '.join(missing)}", install)
        else:
            yield Finding(title, "absent", f"not installed: {', '.join(missing)}", install)


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return ""


def _clashes() -> Iterator[Finding]:
    """Distributions that own the same module: which one is imported is chance."""
    owners = metadata.packages_distributions()
    for module, right in (("faiss", "faiss-cpu"), ("fasttext", "fasttext-community")):
        found = sorted(set(owners.get(module, [])))
        if len(found) > 1:
            fix = f"pip uninstall -y {' '.join(found)} && pip install --force-reinstall {right}"
            yield Finding(module, "broken", f"{' and '.join(found)} own the same folder", fix)


def _neighbour(module: str) -> Finding:
    """A package of ours that another one of that name hides."""
    spec = importlib.util.find_spec(module)
    where = Path(spec.origin).resolve().parent if spec and spec.origin else None
    if where == _HOME / module:
        return Finding(module, "good", str(where))
    fix = f"Rename or uninstall the other module {module}; it stands before ours on sys.path."
    return Finding(module, "broken", f"{where or 'nothing'} is imported instead of {_HOME / module}", fix)


def _device() -> Finding:
    """Where texts will be embedded. Imports torch, for it alone knows whether its GPU works."""
    if not _version("torch"):
        return Finding("device", "absent", "no torch: texts cannot be embedded")
    import torch

    cores = len(os.sched_getaffinity(0))
    if torch.cuda.is_available():
        return Finding(
            "device", "good", f"{torch.cuda.get_device_name(0)}, torch {torch.__version__}; {cores} cores"
        )
    if torch.version.cuda and Path("/dev/nvidia0").exists():
        found = f"torch {torch.__version__} does not reach the GPU"
        return Finding("device", "broken", found, "nvidia-smi shows whether the driver works")
    backends = [name for name in ("onnxruntime", "torch") if _version(name)]
    return Finding(
        "device", "good", f"CPU, {cores} cores; embeds with {' or '.join(backends)}, whichever is faster"
    )


def _cache() -> Finding:
    folder = cache_folder()
    used = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    probe = next(path for path in (folder, *folder.parents) if path.exists())
    if not os.access(probe, os.W_OK):
        return Finding(
            "cache", "broken", f"{folder} cannot be written", "export CURATE_CACHE=/a/folder/of/yours"
        )
    return Finding("cache", "good", f"{folder}, {size(used)} (safe to delete)")
