"""The model projects of the tests, and copies of them that a test changes."""

import shutil
from pathlib import Path

PROJECTS = Path(__file__).resolve().parent.parent / "projects"
PREBUILT_HOOKS = PROJECTS.parent.parent / "hooks" / "guests" / "prebuilt"


def project(name: str) -> Path:
    return PROJECTS / name


def copy(name: str, folder: Path, files: dict[str, str | bytes] | None = None) -> Path:
    """A copy of a project with files added."""
    target = folder / name
    shutil.copytree(project(name), target)
    for path, content in (files or {}).items():
        place = target / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content if isinstance(content, bytes) else content.encode())
    return target


def with_hook(name: str, folder: Path, component: bytes, stages: list[str], config: str = "{}", on_error: str = "fail") -> Path:
    """A copy of a project that publishes a hook beside its model."""
    told = f"""
[[hooks]]
name = "tested"
component = "hook.wasm"
stages = {stages!r}
config = {config}
on_error = "{on_error}"
"""
    return copy(name, folder, {"feira.toml": told, "hook.wasm": component})
