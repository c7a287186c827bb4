"""Attempts on files: those of others, those that the next one will run, those of the machine, and what should be wiped and is not."""

import fcntl
import importlib.util
import os
import stat
import struct
import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path

from .calls import LIBC, call, checked

MNT_DETACH = 2
FS_IOC_SETFLAGS, FS_IMMUTABLE = 0x40086602, 0x10
# A handle of the root directory of most file systems: its inode is number 2.
HANDLE_OF_A_ROOT = struct.pack("IiII", 8, 1, 2, 0)
DEPTH = 20_000
MEMORY = Path("/dev/shm")


def secret_of_the_server(facts: dict) -> str:
    return _expect(Path(facts["file"]).read_text(), facts)


def scratch_of_a_neighbour(facts: dict) -> str:
    return _expect(Path(facts["neighbour_scratch"]).read_text(), facts)


def whatever_can_be_found(facts: dict) -> str:
    """Looks through the whole tree for a file that others have."""
    for folder, folders, names in os.walk(facts.get("tree", "/")):
        if folder == "/":
            folders[:] = [name for name in folders if name not in ("proc", "sys", "usr")]
        if facts["marker"] in names:
            return _expect((Path(folder) / facts["marker"]).read_text(), facts)
    return ""


def weights_written(facts: dict) -> str:
    return _overwritten(Path(facts.get("project", os.getcwd())) / "weights.bin")


def code_written(facts: dict) -> str:
    return _overwritten(Path(facts.get("project", os.getcwd())) / "predict.py")


def startup_of_the_next_tenant(facts: dict) -> str:
    """Every Python of the environment would run it."""
    return _planted(Path(facts.get("packages") or sysconfig.get_paths()["purelib"]) / "sitecustomize.py", facts)


def startup_of_the_interpreter(facts: dict) -> str:
    return _planted(Path(facts.get("packages") or sysconfig.get_paths()["stdlib"]) / "hostile.pth", facts)


def bytecode_poisoned(facts: dict) -> str:
    source = facts.get("module") or importlib.util.find_spec("cog").origin
    cached = Path(importlib.util.cache_from_source(source))
    cached.parent.mkdir(exist_ok=True)
    return _planted(cached, facts)


def library_for_every_program(facts: dict) -> str:
    """`LD_PRELOAD` for all, whatever their environment is."""
    return _planted(Path(facts.get("packages", "/etc")) / "ld.so.preload", facts)


def programs_of_the_system(facts: dict) -> str:
    return _planted(Path(facts.get("packages", "/usr/local/bin")) / "python", facts)


def hard_link_out(facts: dict) -> str:
    """A second name, under which a file could be changed, or stays when the first is gone."""
    link = Path(facts.get("scratch", "/tmp")) / "link"
    os.link(Path(facts.get("project", os.getcwd())) / "weights.bin", link)
    return str(link)


def device_node(facts: dict) -> str:
    node = Path(facts.get("scratch", "/tmp")) / "disk"
    os.mknod(node, stat.S_IFBLK | 0o600, facts["disk"])
    return _first_bytes([node])


def devices_of_the_machine(facts: dict) -> str:
    names = ["mem", "kmsg", "port", "net/tun", "fuse", "kvm", "loop-control", "vhost-net", "vsock", "ptmx", facts["disk_name"]]
    return _first_bytes([Path("/dev") / name for name in names])


def file_system_mounted(facts: dict) -> str:
    at = facts.get("scratch", "/tmp").encode()
    checked(LIBC.mount(b"hostile", at, b"tmpfs", 0, None))
    return "mounted"


def file_system_mounted_the_new_way(_: dict) -> str:
    return f"context {call('fsopen', b'tmpfs', 0)}"


def walls_unmounted(_: dict) -> str:
    checked(LIBC.umount2(b"/proc", MNT_DETACH))
    return "unmounted"


def root_changed(facts: dict) -> str:
    os.chroot(facts.get("scratch", "/tmp"))
    return "changed"


def file_opened_by_its_number(facts: dict) -> str:
    """The scratch lies on the machine's own file system: its root has a number there, whatever is mounted where."""
    scratch = os.open(facts.get("scratch", "/tmp"), os.O_RDONLY)
    opened = checked(LIBC.open_by_handle_at(scratch, HANDLE_OF_A_ROOT, os.O_RDONLY))
    return str(os.listdir(opened))


def settings_of_the_kernel(_: dict) -> str:
    """Where a crash's memory goes. Nothing is changed if it can be written."""
    pattern = Path("/proc/sys/kernel/core_pattern")
    with pattern.open("r+") as setting:
        setting.write(setting.read())
    return "written"


def orders_to_the_kernel(_: dict) -> str:
    """`h` asks the kernel to print what else could be asked."""
    Path("/proc/sysrq-trigger").write_text("h")
    return "taken"


def memory_of_the_kernel(_: dict) -> str:
    return _first_bytes([Path("/proc/kcore")])


def addresses_of_the_kernel(_: dict) -> str:
    with open("/proc/kallsyms") as symbols:
        address = symbols.readline().split()[0]
    return "" if int(address, 16) == 0 else address


def control_groups(facts: dict) -> str:
    """A process that leaves its group leaves its limits."""
    groups = [Path(facts["group"]), *Path("/sys/fs/cgroup").glob("**/feira-*")]
    for group in groups:
        if (group / "cgroup.procs").exists():
            (group / "cgroup.procs").write_text(str(os.getpid()))
            return str(group)
    return ""


def file_that_cannot_be_removed(facts: dict) -> str:
    place = Path(facts.get("scratch", "/tmp")) / "stays"
    with place.open("w") as file:
        fcntl.ioctl(file, FS_IOC_SETFLAGS, struct.pack("l", FS_IMMUTABLE))
        fcntl.ioctl(file, FS_IOC_SETFLAGS, struct.pack("l", 0))
    return "made"


def something_left_for_the_next_caller(facts: dict) -> str:
    """Comes to nothing by itself: the next attempt looks for it."""
    scratch, memory = Path(facts.get("scratch", "/tmp")), Path(facts.get("memory", MEMORY))
    for place in _left(scratch, memory):
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(facts["secret"])
    closed = scratch / "closed"
    closed.mkdir()
    (closed / "left").touch()
    # Whoever wipes must look into it all the same.
    closed.chmod(0)
    return ""


def what_the_last_caller_left(facts: dict) -> str:
    scratch, memory = Path(facts.get("scratch", "/tmp")), Path(facts.get("memory", MEMORY))
    return " ".join(str(place) for place in [*_left(scratch, memory), scratch / "closed"] if place.exists())


def _left(scratch: Path, memory: Path) -> list[Path]:
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    customized = scratch / ".local/lib" / version / "site-packages/usercustomize.py"
    return [scratch / "left", customized, memory / "left"]


def folder_too_deep_to_wipe(facts: dict) -> str:
    """Whoever removes it with a function that calls itself runs out of files or of stack. It is deep enough if it is there afterwards."""
    here = os.getcwd()
    os.chdir(facts.get("scratch", "/tmp"))
    for _ in range(DEPTH):
        os.mkdir("deep")
        os.chdir("deep")
    os.chdir(here)
    return ""


def whether_it_was_wiped(facts: dict) -> str:
    deep = Path(facts.get("scratch", "/tmp")) / "deep"
    return str(deep) if deep.exists() else ""


def _overwritten(path: Path) -> str:
    try:
        path.chmod(0o666)
    except OSError as refusal:
        if refusal.errno is None:
            raise
    with path.open("r+b") as file:
        file.write(b"#")
    return str(path)


def _planted(path: Path, facts: dict) -> str:
    path.write_text(f"# {facts['secret']}\n")
    return str(path)


def _first_bytes(paths: Iterable[Path]) -> str:
    refusal = FileNotFoundError(2, "none of them")
    for path in paths:
        try:
            with open(path, "rb", buffering=0) as file:
                return f"{path}: {os.get_blocking(file.fileno())}"
        except FileNotFoundError:
            continue
        except OSError as error:
            refusal = error
    raise refusal


def _expect(text: str, facts: dict) -> str:
    return text if facts["secret"] in text else ""


ATTEMPTS = (
    secret_of_the_server,
    scratch_of_a_neighbour,
    whatever_can_be_found,
    weights_written,
    code_written,
    startup_of_the_next_tenant,
    startup_of_the_interpreter,
    bytecode_poisoned,
    library_for_every_program,
    programs_of_the_system,
    hard_link_out,
    device_node,
    devices_of_the_machine,
    file_system_mounted,
    file_system_mounted_the_new_way,
    walls_unmounted,
    root_changed,
    file_opened_by_its_number,
    settings_of_the_kernel,
    orders_to_the_kernel,
    memory_of_the_kernel,
    addresses_of_the_kernel,
    control_groups,
    file_that_cannot_be_removed,
    something_left_for_the_next_caller,
    what_the_last_caller_left,
    folder_too_deep_to_wipe,
    whether_it_was_wiped,
)
