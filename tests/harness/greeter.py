"""Feira's own model `hello-world` as a version of any name: it needs no environment and starts in a millisecond."""

from harness.api import Api

DELAY_MS_MAX = 60_000

INPUT = {
    "title": "Input",
    "type": "object",
    "properties": {
        "name": {"type": "string", "title": "Name", "default": "world", "x-order": 0},
        "delay_ms": {"type": "integer", "title": "Delay Ms", "default": 0, "minimum": 0, "maximum": DELAY_MS_MAX, "x-order": 1},
    },
}


def greeter(api: Api, model: str, concurrency: int = 64) -> str:
    """Publishes it, and names its version as callers do. One of concurrency 1 lets all but one call wait."""
    owner, _, name = model.partition("/")
    new = {"owner": owner, "name": name, "visibility": "public", "hardware": "cpu"}
    assert api.post("/v1/models", json=new).status_code in (201, 409)
    schema = {"openapi": "3.0.2", "info": {"title": "Cog", "version": "0.1.0"}, "paths": {}}
    schema["components"] = {"schemas": {"Input": INPUT, "Output": {"title": "Output", "type": "string"}}}
    config = {"protocol": "cog", "command": ["feira", "model", "hello-world"], "concurrency": concurrency, "cog_version": "0.23.1"}
    answer = api.post(f"/v1/models/{model}/versions", json={"config": config | {"openapi_schema": schema}, "files": []})
    assert answer.status_code in (200, 201), answer.text
    return f"{model}:{answer.json()['id']}"
