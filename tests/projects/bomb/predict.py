"""Takes as much as it can of what there is: processes, memory, files, disk, output; and does not go when it is told to."""

import os
import signal
import sys
import time

from cog import BasePredictor, Input

MIB = 1 << 20


class Predictor(BasePredictor):
    def predict(
        self,
        kind: str = Input(description="What to take", choices=["nothing", "processes", "memory", "descriptors", "disk", "output", "deaf"]),
    ) -> str:
        return getattr(self, kind)()

    def nothing(self) -> str:
        return "taken"

    def processes(self) -> str:
        """Every process starts others, for ever: whoever is ended, others are there."""
        print("begins", flush=True)
        while True:
            try:
                os.fork()
            except OSError:
                continue

    def memory(self) -> str:
        print("begins", flush=True)
        taken = []
        while True:
            taken.append(bytearray(b"x") * (64 * MIB))

    def descriptors(self) -> str:
        print("begins", flush=True)
        opened = 0
        try:
            while True:
                os.open("/dev/null", os.O_RDONLY)
                opened += 1
        except OSError:
            os.closerange(opened, 1 << 20)
        return str(opened)

    def disk(self) -> str:
        print("begins", flush=True)
        block, number = b"x" * MIB, 0
        while True:
            number += 1
            try:
                with open(f"/tmp/{number}", "wb") as file:
                    while True:
                        file.write(block)
            except OSError:
                # One file is as large as it may be, or the disk is full.
                continue

    def output(self) -> str:
        """Past Cog, to the pipe itself, for two seconds, as fast as it takes it."""
        print("begins", flush=True)
        until, written, block = time.monotonic() + 2, 0, b"x" * 79 + b"\n"
        pipe = sys.__stdout__.fileno()
        while time.monotonic() < until:
            written += os.write(pipe, block * 1000)
        return str(written)

    def deaf(self) -> str:
        """Leaves a grandchild in a session of its own that hears no signal, and hears no cancel itself."""
        if os.fork() == 0:
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN)
            os.setsid()
            if os.fork() == 0:
                while True:
                    time.sleep(3600)
            os._exit(0)
        print("begins", flush=True)
        while True:
            try:
                time.sleep(3600)
            except BaseException:  # noqa: BLE001 - it is what a deaf one does.
                continue
