"""System calls that Python has no words for."""

import ctypes
import os

LIBC = ctypes.CDLL(None, use_errno=True)

# By the machine: <https://github.com/torvalds/linux/blob/master/arch/x86/entry/syscalls/syscall_64.tbl>, and the generic table of the others.
NUMBERS = {
    "x86_64": {"add_key": 248, "bpf": 321, "init_module": 175, "kexec_load": 246, "perf_event_open": 298, "userfaultfd": 323},
    "aarch64": {"add_key": 217, "bpf": 280, "init_module": 105, "kexec_load": 104, "perf_event_open": 241, "userfaultfd": 282},
}[os.uname().machine] | {"io_uring_setup": 425, "fsopen": 430}


def checked(result: int) -> int:
    """What a C function returned, unless it is -1."""
    if result == -1:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def call(name: str, *arguments: object, offset: int = 0) -> int:
    return checked(LIBC.syscall(ctypes.c_long(NUMBERS[name] + offset), *arguments))
