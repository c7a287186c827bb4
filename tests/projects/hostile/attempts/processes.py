"""Attempts on other processes, and on what the walls allow this one to be."""

import ctypes
import os
import resource
import signal
import subprocess
from pathlib import Path

from .calls import LIBC, checked

PTRACE_SEIZE = 0x4206
NOBODY = 65534
REALTIME = 1


def other_processes(facts: dict) -> str:
    return next((text for text in _of_all("cmdline") if facts["secret"] in text), "")


def environment_of_others(facts: dict) -> str:
    return next((text for text in _of_all("environ") if facts["secret"] in text), "")


def memory_of_another(facts: dict) -> int:
    """Of the process above it: the launcher, when there is one."""
    pid = facts["above"]
    start = int(Path(f"/proc/{pid}/maps").read_text().partition("-")[0], 16)
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        memory.seek(start)
        return len(memory.read(16))


def another_traced(facts: dict) -> str:
    checked(LIBC.ptrace(PTRACE_SEIZE, facts["above"], None, None))
    return "traced"


def launcher_signalled(facts: dict) -> str:
    # Nobody minds this one; those who may send it may send any.
    os.kill(facts["above"], signal.SIGURG)
    return "sent"


def stranger_signalled(facts: dict) -> str:
    if facts["secret"] not in Path(f"/proc/{facts['stranger']}/cmdline").read_text():
        return ""
    os.kill(facts["stranger"], signal.SIGURG)
    return "sent"


def limits_of_another(facts: dict) -> str:
    return str(resource.prlimit(facts["above"], resource.RLIMIT_NOFILE))


def descriptors_of_another(facts: dict) -> str:
    at = f"/proc/{facts['above']}/fd"
    return str([os.readlink(f"{at}/{number}") for number in os.listdir(at)])


def descriptors_inherited(facts: dict) -> str:
    """A directory that was left open leads out of any tree."""
    for number in os.listdir("/proc/self/fd"):
        try:
            return _expect(os.read(os.open("../" * 40 + facts["file"], os.O_RDONLY, dir_fd=int(number)), 64).decode(), facts)
        except OSError:
            continue
    return ""


def tree_of_another(facts: dict) -> str:
    return _expect(Path(f"/proc/{facts['above']}/root{facts['file']}").read_text(), facts)


def runners_program(facts: dict) -> int:
    """Whoever can open a program through the process that runs it can, one day, write it."""
    with open(f"/proc/{facts['above']}/exe", "rb") as program:
        return len(program.read(4))


def namespaces_joined(facts: dict) -> str:
    namespace = os.open(f"/proc/{facts['above']}/ns/net", os.O_RDONLY)
    checked(LIBC.setns(namespace, 0))
    return "joined"


def precedence(_: dict) -> int:
    os.setpriority(os.PRIO_PROCESS, 0, -5)
    return os.getpriority(os.PRIO_PROCESS, 0)


def real_time(_: dict) -> str:
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(REALTIME))
    return "granted"


def immunity_from_want_of_memory(_: dict) -> str:
    at = Path("/proc/self/oom_score_adj")
    at.write_text("-900")
    return at.read_text()


def limits_raised(_: dict) -> str:
    try:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_CORE, (1 << 20, 1 << 20))
    except ValueError:
        # Python's word for the kernel's refusal.
        return ""
    return "raised"


def core_file(facts: dict) -> str:
    """What a crash writes may go to a program that runs as root outside all walls."""
    child = os.fork()
    if child == 0:
        os.chdir(facts.get("scratch", "/tmp"))
        _, most = resource.getrlimit(resource.RLIMIT_CORE)
        resource.setrlimit(resource.RLIMIT_CORE, (most, most))
        os.abort()
    _, status = os.waitpid(child, 0)
    return "dumped" if os.WCOREDUMP(status) else ""


def program_of_root(_: dict) -> str:
    """Runs `su`, which is root's and says so in its mode, as somebody who is not root."""
    stranger = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.getuid() == 0 else {}
    with subprocess.Popen(["/usr/bin/su"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **stranger) as su:
        # It asks for a password, and waits.
        su.stderr.read(1) or su.stdout.read(1)
        status = Path(f"/proc/{su.pid}/status").read_text()
        su.kill()
    effective = next(line.split()[2] for line in status.splitlines() if line.startswith("Uid:"))
    return "root" if effective == "0" else ""


def root(_: dict) -> str:
    os.setuid(0)
    return str(os.getuid())


def _of_all(what: str) -> list[str]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            found.append((process / what).read_text(errors="replace"))
        except OSError:
            continue
    return found


def _expect(text: str, facts: dict) -> str:
    return text if facts["secret"] in text else ""


LIBC.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]

ATTEMPTS = (
    other_processes,
    environment_of_others,
    memory_of_another,
    another_traced,
    launcher_signalled,
    stranger_signalled,
    limits_of_another,
    descriptors_of_another,
    descriptors_inherited,
    tree_of_another,
    runners_program,
    namespaces_joined,
    precedence,
    real_time,
    immunity_from_want_of_memory,
    limits_raised,
    core_file,
    program_of_root,
    root,
)
