"""Cog's server and its worker with everything imported but the publisher's code, waiting to be told whose they are.

The runner starts it inside the walls, with a socket to itself as standard input and the imports to do as its argument. It is three processes:
this one becomes Cog's server, run unmodified; its child, the minder, waits for what Cog starts as `python` (`shim.rs`, first on the server's
PATH); and the minder's child becomes the worker. Packages are imported by the worker to be alone, after the last fork, so that one which starts
threads works as ever. Nothing of a publisher's is here before the order, and all of it is used once.
"""

import sys

# Nothing is imported from this file's folder, and before the order nothing from the project's.
sys.path.pop(0)

import argparse  # noqa: F401, for Cog's server
import asyncio  # noqa: F401, for Cog's worker
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import struct
import types

LENGTH = struct.Struct("<I")
CODE = struct.Struct("<i")
# How Cog 0.23 starts its worker.
WORKER = "import coglet; coglet.server._run_worker()"


class Unfit(Exception):
    """Why nothing can be prepared in this environment."""

    def __init__(self, why, module=None):
        super().__init__(why)
        self.module = module


def hear(line):
    return read(line, *LENGTH.unpack(read(line, LENGTH.size)))


def read(line, length):
    """Exactly so many bytes; the process ends with whoever was to send them."""
    got = b""
    while len(got) < length:
        more = line.recv(length - len(got))
        if not more:
            os._exit(0)
        got += more
    return got


def say(line, text):
    line.sendall(LENGTH.pack(len(text)) + text)


def import_cog():
    try:
        coglet = importlib.import_module("coglet")
        importlib.import_module("cog.server")
        importlib.import_module("cog._inspector")
        coglet.server.serve, coglet.server._run_worker, os.pidfd_open, socket.recv_fds
    except (ImportError, AttributeError) as error:
        raise Unfit(f"this Cog or this Python is not the one that is known: {error}") from None
    if len(os.listdir("/proc/self/task")) > 1:
        raise Unfit("Cog has started threads, which do not survive a fork")


def import_packages(imports):
    """Does what the version's own import statements will do again."""
    for module, names in imports:
        try:
            imported = __import__(module, fromlist=names)
            for name in names:
                getattr(imported, name, None)
        except BaseException as error:
            raise Unfit(f"importing {module} fails: {type(error).__name__}", module) from None
        if any(map(is_gpu, os.listdir("/proc/self/fd"))):
            raise Unfit(f"importing {module} opens the GPU", module)


def is_gpu(file):
    try:
        return os.readlink(f"/proc/self/fd/{file}").startswith("/dev/nvidia")
    except OSError:
        return False


def become_worker(report, handover, imports):
    """Imports, waits, and returns as the process that Cog meant to start."""
    try:
        import_packages(imports)
        say(report, json.dumps({"modules": sorted({name.partition(".")[0] for name in sys.modules})}).encode())
    except Unfit as unfit:
        say(report, json.dumps({"unfit": str(unfit), "module": unfit.module}).encode())
        os._exit(0)
    report.close()
    gc.freeze()
    lead, files, *_ = socket.recv_fds(handover, 1, 3)
    if not lead:
        os._exit(0)
    folder, *variables = hear(handover).split(b"\0")
    handover.close()
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.environb.clear()
    live_as(dict(variable.split(b"=", 1) for variable in variables), folder, ["python", "-c", WORKER], first_on_path="")


def mind(requests, handover, worker):
    """Passes on what the shim brings, and from then on ties the two together: the end of one is the end of the other."""
    lead, files, *_ = socket.recv_fds(requests, 1, 4)
    requests.close()
    if not lead:
        os._exit(0)
    shim = socket.socket(fileno=files[0])
    started_as = hear(shim)
    socket.send_fds(handover, [b"f"], files[1:])
    say(handover, started_as)
    for file in files[1:]:
        os.close(file)
    say(shim, b"")
    ended = os.pidfd_open(worker)
    poll = select.poll()
    poll.register(ended, select.POLLIN)
    poll.register(shim, select.POLLIN)
    if all(file != ended for file, _ in poll.poll()):
        os.kill(worker, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1])
    try:
        shim.sendall(CODE.pack(code))
    finally:
        os._exit(0)


def live_as(environment, folder, command, first_on_path):
    """Takes over all that a process is given when it starts, but what its seat has given it already."""
    switch, rest = command[1], command[3:]
    os.environb.update(environment)
    os.chdir(folder)
    sys.argv[:] = [switch, *rest]
    sys.orig_argv[:] = command
    sys.path.insert(0, first_on_path)
    main = sys.modules["__main__"] = types.ModuleType("__main__")
    main.__annotations__ = {}


def prepare(line, imports):
    """Returns in the process that Cog's worker is to be as "worker", and with the order in the one that its server is to be."""
    try:
        import_cog()
    except Unfit as unfit:
        say(line, json.dumps({"unfit": str(unfit), "module": None}).encode())
        sys.exit(0)
    gc.freeze()
    (requests, shims), (reports, report) = socket.socketpair(), socket.socketpair()
    if os.fork() == 0:
        for not_ours in (line, shims, reports):
            not_ours.close()
        handover, workers = socket.socketpair()
        worker = os.fork()
        if worker == 0:
            requests.close()
            handover.close()
            become_worker(report, workers, imports)
            return None
        report.close()
        workers.close()
        mind(requests, handover, worker)
    requests.close()
    report.close()
    say(line, hear_report(reports))
    reports.close()
    order = json.loads(hear(line))
    line.close()
    os.set_inheritable(shims.fileno(), True)
    order["env"]["FEIRA_MINDER_FD"] = str(shims.detach())
    return order


def hear_report(reports):
    if length := reports.recv(LENGTH.size, socket.MSG_WAITALL):
        return read(reports, *LENGTH.unpack(length))
    return json.dumps({"unfit": "an import ended the process", "module": None}).encode()


def main():
    line = socket.socket(fileno=os.dup(0))
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    order = prepare(line, json.loads(sys.argv[1]))
    if order is None:
        return lambda: exec(compile(WORKER, "<string>", "exec"), sys.modules["__main__"].__dict__)
    environment = {name.encode(): value.encode() for name, value in order["env"].items()}
    module, *arguments = order["module"]
    live_as(environment, order["folder"], [sys.executable, "-m", module, *arguments], first_on_path=order["folder"])
    return lambda: runpy.run_module(module, run_name="__main__", alter_sys=True)


become = main()
become()
