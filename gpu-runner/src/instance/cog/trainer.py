"""The publisher's `train`, with the files of what it returns uploaded from here: Cog would send one inside an object as base64."""

import dataclasses
import functools
import inspect
import mimetypes
import os
import pathlib
import urllib.parse
import urllib.request

from cog import FieldInfo, current_scope
from cog.predictor import load_predictor_from_ref


def upload(path, training):
    """Where the platform keeps the file."""
    url = f"{os.environ['MODEL_UPLOAD_URL']}/{urllib.parse.quote(path.name)}"
    headers = {
        "Content-Length": str(path.stat().st_size),
        "Content-Type": mimetypes.guess_type(path.name)[0] or "application/octet-stream",
        "X-Prediction-Id": training,
    }
    with path.open("rb") as file:
        request = urllib.request.Request(url, data=file, headers=headers, method="PUT")
        with urllib.request.urlopen(request) as answer:
            return answer.headers["Location"]


def kept(value, training):
    """A value with its files in place."""
    if isinstance(value, pathlib.Path):
        return upload(value, training)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    elif hasattr(value, "model_dump"):
        value = value.model_dump()
    if isinstance(value, dict):
        return {name: kept(field, training) for name, field in value.items()}
    if isinstance(value, (list, tuple)):
        return [kept(item, training) for item in value]
    return value


def defaults_of(function):
    """What an input is when it is left out: Cog fills it in for a predictor, not for a trainer."""
    parameters = inspect.signature(function).parameters.items()
    return {name: parameter.default.default for name, parameter in parameters if isinstance(parameter.default, FieldInfo)}


def with_files_kept(function):
    defaults = defaults_of(function)

    def training():
        return current_scope().context["training"]

    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        return function
    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def trained(**inputs):
            return kept(await function(**(defaults | inputs)), training())

    else:

        @functools.wraps(function)
        def trained(**inputs):
            return kept(function(**(defaults | inputs)), training())

    return trained


train = with_files_kept(load_predictor_from_ref(os.environ["MODEL_TRAINER"]))
