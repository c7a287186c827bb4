"""A version that can be trained, published file by file, and what is asked of it."""

import hashlib

from harness.api import TERMINAL, Api
from harness.projects import project
from harness.wait import until

# Predicts what its weights say, and the text; trains weights that are the text. The name of the file is what a caller sees.
SOURCE = '''
import tempfile
import time
from pathlib import Path as LocalPath

from cog import BasePredictor, Input, Path


def written(text: str, seconds: float) -> Path:
    print("writing", flush=True)
    wake_at = time.monotonic() + seconds
    while time.monotonic() < wake_at:
        time.sleep(0.01)
    path = LocalPath(tempfile.mkdtemp()) / "written.txt"
    path.write_text(text)
    return Path(path)


class Predictor(BasePredictor):
    def setup(self) -> None:
        weights = LocalPath("weights")
        self.weights = weights.read_text() if weights.exists() else "untrained"

    def predict(self, text: str = Input(default=""), seconds: float = Input(default=0.0)) -> Path:
        return written(f"{self.weights} {text}", seconds)


def train(text: str = Input(default=""), seconds: float = Input(default=0.0)) -> Path:
    return written(text, seconds)
'''


def schema() -> dict:
    properties = {"text": {"type": "string", "default": ""}, "seconds": {"type": "number", "default": 0.0, "maximum": 600}}
    given = {"type": "object", "properties": properties}
    file = {"type": "string", "format": "uri"}
    schemas = {"Input": given, "Output": file, "TrainingInput": given | {"required": ["text"]}, "TrainingOutput": file}
    return {"openapi": "3.0.2", "info": {"title": "Cog", "version": "0.1.0"}, "paths": {}, "components": {"schemas": schemas}}


def publish(api: Api) -> str:
    """Publishes it as feira/trainable, and names its version as callers do."""
    api.post("/v1/models", json={"owner": "feira", "name": "trainable", "visibility": "public", "hardware": "cpu"})
    files = {"predict.py": SOURCE.encode(), "requirements.lock": (project("echo") / "requirements.lock").read_bytes()}
    named = []
    for name, content in files.items():
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        assert api.put(f"/v1/blobs/{digest}", content=content).status_code in (200, 201)
        named.append({"path": name, "digest": digest, "size": len(content)})
    environment = {"python": "3.11", "lock": "requirements.lock"}
    config = {"protocol": "cog", "predictor": "predict.py:Predictor", "trainer": "predict.py:train", "environment": environment}
    answer = api.post("/v1/models/feira/trainable/versions", json={"config": config | {"openapi_schema": schema()}, "files": named})
    assert answer.status_code in (200, 201), answer.text
    return f"feira/trainable:{answer.json()['id']}"


def path(reference: str) -> str:
    model, _, version = reference.partition(":")
    return f"/v1/models/{model}/versions/{version}/trainings"


def train(api: Api, reference: str, destination: str, input: dict) -> dict:
    answer = api.post(path(reference), json={"destination": destination, "input": input})
    assert answer.status_code == 201, answer.text
    return answer.json()


def ended(api: Api, id: str) -> dict:
    def training_has_ended() -> dict | None:
        training = api.get(f"/v1/trainings/{id}").json()
        return training if training["status"] in TERMINAL else None

    return until(training_has_ended, 300)
