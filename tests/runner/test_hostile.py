"""A model that tries everything against what stands around it, behind strict walls and, where that harms nobody, without any."""

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest

from harness.projects import project
from harness.server import Server

# What is not shown to succeed without walls, and why.
WOULD_CHANGE_THE_MACHINE = "it would change this machine"
NEEDS_MORE = "it needs what this machine may not have"
IS_OF_THE_WALLS = "without walls there is no such thing"
SHOWN = ""

ATTEMPTS = {
    # On other processes, and on what the walls allow this one to be.
    "other_processes": SHOWN,
    "environment_of_others": SHOWN,
    "memory_of_another": SHOWN,
    "another_traced": SHOWN,
    "launcher_signalled": SHOWN,
    "stranger_signalled": SHOWN,
    "limits_of_another": SHOWN,
    "descriptors_of_another": SHOWN,
    "descriptors_inherited": SHOWN,
    "tree_of_another": SHOWN,
    "runners_program": SHOWN,
    "namespaces_joined": SHOWN,
    "precedence": SHOWN,
    "real_time": SHOWN,
    "immunity_from_want_of_memory": NEEDS_MORE,
    "limits_raised": NEEDS_MORE,
    "core_file": SHOWN,
    "program_of_root": SHOWN,
    "root": SHOWN,
    # On files.
    "secret_of_the_server": SHOWN,
    "scratch_of_a_neighbour": SHOWN,
    "whatever_can_be_found": SHOWN,
    "weights_written": SHOWN,
    "code_written": SHOWN,
    "startup_of_the_next_tenant": SHOWN,
    "startup_of_the_interpreter": SHOWN,
    "bytecode_poisoned": SHOWN,
    "library_for_every_program": SHOWN,
    "programs_of_the_system": SHOWN,
    "hard_link_out": SHOWN,
    "device_node": NEEDS_MORE,
    "devices_of_the_machine": SHOWN,
    "file_system_mounted": SHOWN,
    "file_system_mounted_the_new_way": SHOWN,
    "walls_unmounted": SHOWN,
    "root_changed": SHOWN,
    "file_opened_by_its_number": NEEDS_MORE,
    "settings_of_the_kernel": SHOWN,
    "orders_to_the_kernel": NEEDS_MORE,
    "memory_of_the_kernel": NEEDS_MORE,
    "addresses_of_the_kernel": NEEDS_MORE,
    "control_groups": SHOWN,
    "file_that_cannot_be_removed": NEEDS_MORE,
    "something_left_for_the_next_caller": IS_OF_THE_WALLS,
    "what_the_last_caller_left": SHOWN,
    "folder_too_deep_to_wipe": IS_OF_THE_WALLS,
    "whether_it_was_wiped": IS_OF_THE_WALLS,
    # On the network, on sockets and memory that are shared, on the runner's own port.
    "hosts_loopback": SHOWN,
    "hosts_loopback_of_version_6": SHOWN,
    "hosts_own_address": SHOWN,
    "gateways_door": SHOWN,
    "metadata_of_the_cloud": NEEDS_MORE,
    "internet": NEEDS_MORE,
    "raw_socket": SHOWN,
    "packet_socket": SHOWN,
    "socket_to_the_hypervisor": NEEDS_MORE,
    "socket_to_the_kernels_ciphers": NEEDS_MORE,
    "netlink_beyond_routes": NEEDS_MORE,
    "abstract_socket": SHOWN,
    "socket_in_a_folder": SHOWN,
    "shared_memory_of_another": SHOWN,
    "shared_file_of_another": SHOWN,
    "neighbours_port": SHOWN,
    "runners_port_as_a_proxy": IS_OF_THE_WALLS,
    "output_of_another_prediction": IS_OF_THE_WALLS,
    # On the kernel.
    "key_added": SHOWN,
    "io_uring_made": NEEDS_MORE,
    "program_for_the_kernel_loaded": NEEDS_MORE,
    "program_loaded_by_its_other_number": NEEDS_MORE,
    "page_faults_taken_over": NEEDS_MORE,
    "machine_counted": SHOWN,
    "kernel_replaced": WOULD_CHANGE_THE_MACHINE,
    "module_loaded": WOULD_CHANGE_THE_MACHINE,
    "machine_restarted": WOULD_CHANGE_THE_MACHINE,
    "own_user_namespace": SHOWN,
    "host_named": SHOWN,
    "clock_set": WOULD_CHANGE_THE_MACHINE,
    "kernel_log_read": SHOWN,
    "hardware_ports_opened": NEEDS_MORE,
}


class Quarry(NamedTuple):
    """What there is to be had, with where it is: as the model is told, and as it is without walls."""

    secret: str
    folder: Path
    facts: dict


@pytest.fixture(scope="module")
def quarry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Quarry]:
    secret = f"secret-{secrets.token_hex(16)}"
    folder = tmp_path_factory.mktemp("quarry")
    # Nothing but the walls is to keep anybody out.
    for parent in [folder, *folder.parents][:3]:
        parent.chmod(0o711)
    (folder / "file").write_text(secret)
    command = [sys.executable, "-m", "harness.quarry", secret, folder / "socket"]
    environment = {**os.environ, "QUARRY_SECRET": secret}
    with subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        facts = json.loads(process.stdout.readline())
        disk = os.stat(folder).st_dev
        facts |= {
            "secret": secret,
            "file": str(folder / "file"),
            "disk": disk,
            "disk_name": os.path.basename(os.path.realpath(f"/sys/dev/block/{os.major(disk)}:{os.minor(disk)}")),
            "marker": f"marker-{secrets.token_hex(8)}",
            "group": own_group(),
        }
        yield Quarry(secret, folder, facts)
        process.stdin.close()
        process.wait()


def own_group() -> str:
    """The directory of this process's control group, by which the runner's groups stand."""
    lines = [line.split(":", 2) for line in Path("/proc/self/cgroup").read_text().splitlines()]
    places = [Path("/sys/fs/cgroup") / controllers.removeprefix("name=") / path.lstrip("/") for _, controllers, path in lines]
    return str(next(place for place in places if (place / "cgroup.procs").exists()))


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory, quarry: Quarry) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("strict"), "--isolation", "strict", environment={"QUARRY_SECRET": quarry.secret}) as server:
        yield server


def test_behind_strict_walls_nothing_that_a_hostile_model_tries_succeeds(strict: Server, quarry: Quarry, capsys: pytest.CaptureFixture):
    api = strict.api()
    neighbour, hostile = (f"feira/{name}:{strict.push(project(name), f'feira/{name}')['id']}" for name in ("neighbour", "hostile"))
    marker = quarry.facts["marker"]
    kept = api.create(neighbour, {"secret": quarry.secret, "marker": marker})["id"]
    api.running(kept, "keeps it")
    scratch = next((strict.home / "runner" / "scratch").glob(f"*/{marker}"))
    facts = quarry.facts | {
        "above": 1,
        "neighbour_port": 47001,
        "neighbour_scratch": str(scratch),
        "neighbour_prediction": kept,
        "gateway": int(strict.url.rpartition(":")[2]),
    }
    came = {}
    for name in ATTEMPTS:
        ended = api.run(hostile, {"name": name, "facts": json.dumps(facts)})
        if name == "folder_too_deep_to_wipe" and ended.get("error_code") == "killed":
            # Its files are counted while it runs, and these cannot be.
            continue
        assert ended["status"] == "succeeded", (name, ended["error"], ended["logs"])
        came[name] = json.loads(ended["output"])
    got = {name: told["got"] for name, told in came.items() if told["got"]}
    with capsys.disabled():
        print(f"\nhostile model behind strict walls: {len(got)} of {len(ATTEMPTS)} attempts succeeded")
    assert got == {}
    # What it was after is all still there, and so are those who had it.
    assert Path(f"/proc/{quarry.facts['stranger']}").exists()
    assert api.prediction(kept)["status"] == "processing"
    api.cancel(kept)


@pytest.mark.parametrize("linked", [False, True], ids=["by name", "through a link"])
@pytest.mark.parametrize("file", ["FILE", "/etc/passwd", "/etc/shadow", "/proc/1/environ", "/proc/self/environ", "/proc/1/root/FILE"])
def test_a_file_of_the_machine_does_not_leave_it_as_an_output(strict: Server, quarry: Quarry, file: str, linked: bool):
    api = strict.api()
    version = f"feira/hostile-output:{strict.push(project('hostile-output'), 'feira/hostile-output')['id']}"
    ended = api.run(version, {"file": file.replace("FILE", quarry.facts["file"]), "linked": linked})
    content = httpx.get(ended["output"]).content if ended["output"] else b""
    assert quarry.secret.encode() not in content
    # The walls have a list of users of their own, with two in it.
    users = [line.split(b":")[0] for line in content.splitlines()] if file == "/etc/passwd" else []
    assert users in ([], [b"root", b"model"])


@pytest.mark.parametrize("name", [name for name, why in ATTEMPTS.items() if why == SHOWN])
def test_without_walls_the_attempt_succeeds(strict: Server, quarry: Quarry, tmp_path: Path, name: str):
    """The control: an attempt that never could succeed would prove nothing."""
    weights = tmp_path / "project"
    weights.mkdir()
    for file in ("weights.bin", "predict.py"):
        (weights / file).write_bytes((project("hostile") / file).read_bytes())
    for folder in ("scratch", "packages", "memory"):
        (tmp_path / folder).mkdir()
    (tmp_path / quarry.facts["marker"]).write_text(quarry.secret)
    facts = quarry.facts | {
        "tree": str(tmp_path),
        "project": str(weights),
        "scratch": str(tmp_path / "scratch"),
        "packages": str(tmp_path / "packages"),
        "module": str(tmp_path / "packages" / "module.py"),
        "memory": str(tmp_path / "memory"),
        "neighbour_port": quarry.facts["port"],
        "neighbour_scratch": quarry.facts["file"],
        "gateway": int(strict.url.rpartition(":")[2]),
    }
    if name == "what_the_last_caller_left":
        unconfined("something_left_for_the_next_caller", facts)
    told = unconfined(name, facts)
    assert told["got"], told


def unconfined(name: str, facts: dict) -> dict:
    """Makes an attempt in a process that has every right of this one, with mounts and a host name of its own for others' sake."""
    command = ["unshare", "--mount", "--uts", sys.executable, "-m", "attempts", name]
    outside = os.open("/", os.O_RDONLY | os.O_DIRECTORY)
    try:
        done = subprocess.run(command, cwd=project("hostile"), input=json.dumps(facts), pass_fds=[outside], capture_output=True, text=True)
    finally:
        os.close(outside)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
