"""Attempts on the kernel: the calls that its holes were reached through, and those that would change the machine for everybody."""

import ctypes
import os
import socket
import struct
import time

from .calls import LIBC, call, checked

CLONE_NEWUSER = 0x10000000
BPF_MAP_CREATE = 0
SYSLOG_READ_ALL = 3
KEYRING_OF_THE_SESSION = -3
REBOOT_MAGIC, REBOOT_MAGIC2, CTRL_ALT_DEL_OFF = 0xFEE1DEAD, 0x28121969, 0
# The numbers of the second table of system calls that 64-bit kernels for Intel may have.
X32 = 0x40000000


def key_added(_: dict) -> int:
    return call("add_key", b"user", b"feira-hostile", b"secret", 6, KEYRING_OF_THE_SESSION)


def io_uring_made(_: dict) -> int:
    return call("io_uring_setup", 4, ctypes.create_string_buffer(120)) + 1


def program_for_the_kernel_loaded(_: dict) -> int:
    return _bpf(0)


def program_loaded_by_its_other_number(_: dict) -> int:
    return _bpf(X32)


def _bpf(offset: int) -> int:
    array = struct.pack("IIII", 2, 4, 4, 1)
    return call("bpf", BPF_MAP_CREATE, array, len(array), offset=offset) + 1


def page_faults_taken_over(_: dict) -> int:
    user_mode_only = 1
    return call("userfaultfd", user_mode_only) + 1


def machine_counted(_: dict) -> int:
    """Counts the cycles of all that runs on the first processor."""
    software_clock, size = 1, 112
    attributes = struct.pack("IIQ", software_clock, size, 0).ljust(size, b"\0")
    return call("perf_event_open", attributes, -1, 0, -1, 0) + 1


def kernel_replaced(_: dict) -> str:
    call("kexec_load", 0, 0, None, 0)
    return "loaded"


def module_loaded(_: dict) -> str:
    call("init_module", b"", 0, b"")
    return "loaded"


def machine_restarted(_: dict) -> str:
    checked(LIBC.reboot(CTRL_ALT_DEL_OFF))
    return "allowed"


def own_user_namespace(_: dict) -> str:
    checked(LIBC.unshare(CLONE_NEWUSER))
    return "made"


def host_named(_: dict) -> str:
    socket.sethostname("owned")
    return socket.gethostname()


def clock_set(_: dict) -> str:
    time.clock_settime(time.CLOCK_REALTIME, time.time())
    return "set"


def kernel_log_read(_: dict) -> int:
    text = ctypes.create_string_buffer(4096)
    return checked(LIBC.klogctl(SYSLOG_READ_ALL, text, len(text)))


def hardware_ports_opened(_: dict) -> str:
    if os.uname().machine != "x86_64":
        return ""
    checked(LIBC.iopl(3))
    return "opened"


ATTEMPTS = (
    key_added,
    io_uring_made,
    program_for_the_kernel_loaded,
    program_loaded_by_its_other_number,
    page_faults_taken_over,
    machine_counted,
    kernel_replaced,
    module_loaded,
    machine_restarted,
    own_user_namespace,
    host_named,
    clock_set,
    kernel_log_read,
    hardware_ports_opened,
)
