"""Installs what the suites need: Debian's packages, Python's, JavaScript's, all by their ordinary clients."""

import functools
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from harness.tally import say

TESTS = Path(__file__).resolve().parent.parent
ROOT = TESTS.parent
IN_CI = bool(os.environ.get("CI"))


def cache() -> Path:
    """What later runs take up again: outside of the clone in CI, for that is thrown away."""
    if IN_CI:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "feira-ci"
    return TESTS / ".cache"


def target() -> Path:
    """Where cargo builds."""
    if named := os.environ.get("CARGO_TARGET_DIR"):
        return Path(named)
    return cache() / "target" if IN_CI else ROOT / "target"


class Missing(Exception):
    """A tool that is needed is not there and cannot be installed: the suite fails."""


def debian(*packages: str) -> None:
    """Installs the packages of Debian that are not there yet."""
    missing = [package for package in packages if not _has(package)]
    if not missing:
        return
    say(f"installing {' '.join(missing)} by apt-get")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["apt-get", "update"], ["apt-get", "install", "--yes", "--no-install-recommends", *missing]):
        if subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True).returncode:
            raise Missing(f"`{' '.join(command)}` failed; install {' '.join(missing)} by hand")


def _has(package: str) -> bool:
    query = ["dpkg-query", "--show", "--showformat=${db:Status-Status}", package]
    return subprocess.run(query, capture_output=True, text=True).stdout == "installed"


def postgres() -> None:
    if not shutil.which("pg_ctl"):
        debian("postgresql")


def chromium() -> Path:
    if not shutil.which("chromium"):
        debian("chromium")
    return Path(shutil.which("chromium") or "/usr/bin/chromium")


def skopeo() -> None:
    if not shutil.which("skopeo"):
        debian("skopeo")


def wasm_target() -> None:
    """The standard library for WebAssembly guests: rustup's, or else Debian's sources of it."""
    sysroot = Path(_output("rustc", "--print", "sysroot"))
    if not (sysroot / "lib/rustlib/wasm32-unknown-unknown").is_dir():
        debian("rustc-web", "rust-web-src")


def python(name: str, requirements: Path) -> Path:
    """The Python of a venv that has exactly these requirements."""
    folder = cache() / f"{name}-{_key(requirements, salt=sys.version)}"
    interpreter = folder / "bin" / "python"

    def install() -> None:
        _quietly(sys.executable, "-m", "venv", "--clear", folder)
        _quietly(interpreter, "-m", "pip", "install", "--disable-pip-version-check", "--requirement", requirements)

    _once(folder, install)
    return interpreter


def javascript() -> None:
    """Puts the locked packages where the tests in `js/` find them."""
    if not shutil.which("npm"):
        raise Missing("npm is needed: install Node 20")
    sources = [TESTS / "js" / name for name in ("package-lock.json", "package.json", ".npmrc")]
    folder = cache() / f"js-{_key(*sources)}"

    def install() -> None:
        for source in sources:
            shutil.copy(source, folder)
        _quietly("npm", "ci", "--ignore-scripts", folder=folder)

    _once(folder, install)
    link = TESTS / "js" / "node_modules"
    link.unlink(missing_ok=True)
    link.symlink_to(folder / "node_modules")


@functools.cache
def binary() -> Path:
    """The program under test: the one that is named, or a release build of this clone."""
    if named := os.environ.get("FEIRA_BIN"):
        return Path(named).resolve()
    say("building the release …")
    build = subprocess.run(
        ["cargo", "build", "--release", "--locked"], cwd=ROOT, env={**os.environ, "CARGO_TARGET_DIR": str(target())}, capture_output=True, text=True
    )
    if build.returncode:
        raise Missing(f"the release does not build:\n{build.stderr[-4000:]}")
    return target() / "release" / "feira"


def _once(folder: Path, install) -> None:
    """Fills a folder the first time; one that was left half full is filled again."""
    complete = folder / ".complete"
    if not complete.exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        say(f"installing {folder.name} …")
        install()
        complete.touch()


def _key(*files: Path, salt: str = "") -> str:
    return hashlib.sha256(b"".join(file.read_bytes() for file in files) + salt.encode()).hexdigest()[:12]


def _quietly(*command: object, folder: Path | None = None) -> None:
    done = subprocess.run([str(word) for word in command], cwd=folder, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise Missing(f"{command} failed:\n{(done.stdout + done.stderr)[-2000:]}")


def _output(*command: str) -> str:
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout.strip()
    except (OSError, subprocess.CalledProcessError) as error:
        raise Missing(f"`{' '.join(command)}` does not work: {error}") from error
