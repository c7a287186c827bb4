"""Sleeps as long as it is told: in short naps that a cancel ends, or in one native call that none can."""

import time

from cog import BasePredictor, CancelationException, Input

NAP_SECONDS = 0.01


class Predictor(BasePredictor):
    def predict(
        self,
        seconds: float = Input(description="How long to sleep", default=1.0, ge=0, le=3600),
        deaf: bool = Input(description="Sleep in one native call, which hears no cancel", default=False),
    ) -> str:
        wake_at = time.monotonic() + seconds
        print("asleep", flush=True)
        try:
            while (left := wake_at - time.monotonic()) > 0:
                time.sleep(left if deaf else min(left, NAP_SECONDS))
        except CancelationException:
            print("cancel heard", flush=True)
            raise
        return f"slept {seconds:g} s"
