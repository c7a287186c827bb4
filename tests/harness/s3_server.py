"""moto's S3, which answers one request after the other.

It looks whether a name is taken and writes it in two steps: of writers at one moment each would be told that it was the first, which S3
never does.
"""

import sys
import threading
from collections.abc import Callable, Iterable

from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import run_simple


class InTurn:
    """An application for one request at a time."""

    def __init__(self, application: Callable):
        self.application = application
        self.turn = threading.Lock()

    def __call__(self, environ: dict, start_response: Callable) -> Iterable[bytes]:
        with self.turn:
            return self.application(environ, start_response)


if __name__ == "__main__":
    run_simple("127.0.0.1", int(sys.argv[1]), InTurn(DomainDispatcherApplication(create_backend_app)), threaded=True)
