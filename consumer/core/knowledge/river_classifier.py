"""River classifiers by name: made from what the settings say, and nothing but a classifier of River's can be named."""

import re
from collections.abc import Mapping
from difflib import get_close_matches
from importlib import import_module
from inspect import Parameter, signature
from typing import Any

from river import base

_NAME = re.compile(r"(river\.)?([a-z_]+(?:\.[a-z_]+)*)\.([A-Za-z0-9]+)")
_CLASS = "class"
_SEED = 0  # of models that draw: the same examples give the same model


class UnknownModel(ValueError):
    """The settings name no classifier that can be made; the message says what is wrong."""


def river_classifier(name: str, parameters: Mapping[str, Any]) -> Any:
    """Return a new River classifier that tells probabilities; raise UnknownModel where `name` does not stand for one.

    `name` is that of the class within River: ``forest.ARFClassifier``. A parameter that is itself an object of River's
    is a table with its class: ``model = {class = "tree.HoeffdingTreeClassifier", grace_period = 100}``.
    """
    kind = _class_of(name)
    if not issubclass(kind, base.Classifier):
        raise UnknownModel(f"{name} is no classifier, but {_article(kind)}: name a class such as forest.ARFClassifier")
    _require_probabilities(name, _made(name, kind, parameters))
    return _made(name, kind, parameters)


def _class_of(name: str) -> type:
    """Return the class of River's that `name` stands for. Nothing outside of River is imported, and no private name."""
    match = _NAME.fullmatch(name)
    if match is None:
        raise UnknownModel(
            f"{name!r} is no name of a class in River: write module and class, as in forest.ARFClassifier"
        )
    module_name, class_name = match[2], match[3]
    try:
        module = import_module(f"river.{module_name}")
    except ImportError as error:
        raise UnknownModel(f"{name}: River has no module {module_name} that can be used here ({error})") from error
    # Some modules of River's list names that they do not hold.
    public = [each for each in getattr(module, "__all__", ()) if isinstance(getattr(module, each, None), type)]
    if class_name not in public:
        close = get_close_matches(class_name, public, n=1, cutoff=0.5)
        hint = f" Did you mean {module_name}.{close[0]}?" if close else ""
        raise UnknownModel(f"{name}: river.{module_name} has no class {class_name}.{hint}")
    found: type = getattr(module, class_name)
    return found


def _made(name: str, kind: type, parameters: Mapping[str, Any]) -> Any:
    arguments = {key: _value(f"{name}, parameter {key}", value) for key, value in parameters.items()}
    accepted = signature(kind).parameters
    if "seed" in accepted:
        arguments.setdefault("seed", _SEED)
    unknown = sorted(set(arguments) - set(accepted))
    if unknown and not any(each.kind is Parameter.VAR_KEYWORD for each in accepted.values()):
        raise UnknownModel(f"{name} has no parameter {', '.join(unknown)}; it takes {', '.join(accepted) or 'none'}")
    try:
        return kind(**arguments)
    except Exception as error:  # River's constructors raise whatever they like
        raise UnknownModel(f"{name} can't be made with these parameters: {error}") from error


def _value(where: str, value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_value(where, each) for each in value]
    if not isinstance(value, Mapping):
        return value
    inner = dict(value)
    name = inner.pop(_CLASS, None)
    if name is None:
        return inner
    kind = _class_of(str(name))
    if not issubclass(kind, base.Base):
        raise UnknownModel(f"{where}: {name} is nothing that a model of River's is made of")
    return _made(str(name), kind, inner)


def _require_probabilities(name: str, throwaway: Any) -> None:
    try:
        throwaway.learn_one({"a": 0.0}, True)
        throwaway.learn_one({"a": 1.0}, False)
        throwaway.predict_proba_one({"a": 0.5})
    except Exception as error:
        raise UnknownModel(f"{name} can't be compared: it tells no probability of yes or no ({error!r})") from error


def _article(kind: type) -> str:
    bases = (base.Regressor, base.Clusterer, base.Transformer, base.DriftDetector)
    return next((f"a {each.__name__.lower()}" for each in bases if issubclass(kind, each)), "something else")


def takes_weight(model: Any) -> bool:
    """Return whether `model` can give an example a weight."""
    accepted = signature(model.learn_one).parameters
    return "w" in accepted
