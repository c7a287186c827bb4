"""Dies by SIGKILL in the middle of a prediction when told to, as a model out of memory would."""

import os
import signal

from cog import BasePredictor, Input


class Predictor(BasePredictor):
    def predict(self, die: bool = Input(description="Whether to die", default=True)) -> str:
        if die:
            print("last words", flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
        return "alive"
