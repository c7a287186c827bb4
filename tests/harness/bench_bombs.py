"""A model that takes all it can get, again and again, for as long as a measurement takes."""

import threading

from harness.api import TERMINAL
from harness.server import Server
from harness.wait import until

KINDS = ("processes", "memory", "descriptors", "disk", "output", "deaf")
BEGUN_SECONDS_MAX = 60


class Bomb:
    """Goes off as long as it is entered: what ends by itself is started again, and what is left at the end is cancelled."""

    def __init__(self, server: Server, version: str, kind: str):
        self.server, self.version, self.kind = server, version, kind

    def __enter__(self) -> "Bomb":
        self.enough, self.begun = threading.Event(), threading.Event()
        self.thread = threading.Thread(target=self.go, daemon=True)
        self.thread.start()
        assert self.begun.wait(BEGUN_SECONDS_MAX), "the bomb did not go off"
        return self

    def __exit__(self, *_: object) -> None:
        self.enough.set()
        self.thread.join()

    def go(self) -> None:
        with self.server.api() as api:
            while not self.enough.is_set():
                id = api.create(self.version, {"kind": self.kind})["id"]

                def it_goes_off_or_is_over(id: str = id) -> bool:
                    prediction = api.prediction(id)
                    if "begins" in prediction["logs"]:
                        self.begun.set()
                    return prediction["status"] in TERMINAL or self.enough.is_set()

                until(it_goes_off_or_is_over, BEGUN_SECONDS_MAX * 10)
                api.cancel(id)
