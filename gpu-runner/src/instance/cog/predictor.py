"""The publisher's predictor, whose `setup` gets its weights as the path that it asks for: Cog 0.23 hands it a text, whatever it asks for."""

import os
import pathlib
import typing

from cog import Path, predictor

extract = predictor.extract_setup_weights


def wants_path(hint):
    return any(isinstance(one, type) and issubclass(one, pathlib.PurePath) for one in (hint, *typing.get_args(hint)))


def extract_as_asked(model):
    weights = extract(model)
    hint = typing.get_type_hints(type(model).setup).get("weights")
    return Path(weights) if weights and wants_path(hint) else weights


predictor.extract_setup_weights = extract_as_asked
Predictor = predictor.load_predictor_from_ref(os.environ["MODEL_PREDICTOR"])
