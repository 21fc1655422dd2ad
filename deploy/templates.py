"""Reads the templates beside it, and executes the functions that they use."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

DEPLOY = Path(__file__).parent


class Loader(yaml.SafeLoader):
    """Reads short forms of CloudFormation's functions as the long ones: ``!Ref X`` as ``{"Ref": "X"}``."""


def _function(loader: yaml.SafeLoader, tag: str, node: yaml.Node) -> dict[str, Any]:
    name = tag if tag == "Ref" else f"Fn::{tag}"
    if isinstance(node, yaml.MappingNode):
        return {name: loader.construct_mapping(node, deep=True)}
    if isinstance(node, yaml.SequenceNode):
        return {name: loader.construct_sequence(node, deep=True)}
    text = str(node.value)
    return {name: text.split(".", 1) if tag == "GetAtt" else text}


Loader.add_multi_constructor("!", _function)


def parsed(text: str) -> dict[str, Any]:
    """Return the content of a template."""
    content: dict[str, Any] = yaml.load(text, Loader)  # noqa: S506 - a SafeLoader
    return content


def template(name: str) -> dict[str, Any]:
    """Return the content of a template of this folder: ``core.yaml``."""
    return parsed((DEPLOY / name).read_text(encoding="utf-8"))


def resolved(value: Any, values: Mapping[str, Any]) -> Any:
    """Return a value with its functions executed.

    Args:
        value: part of a template.
        values: those of parameters, conditions, mappings and variables of loops, by name.
    """
    if isinstance(value, list):
        return [resolved(each, values) for each in value]
    return _executed(value, values) if isinstance(value, dict) else value


def _executed(value: Mapping[str, Any], values: Mapping[str, Any]) -> Any:
    match value:
        case {"Ref": name}:
            return values[name]
        case {"Fn::If": [name, yes, no]}:
            return resolved(yes if values[name] else no, values)
        case {"Fn::FindInMap": [name, row, column, {"DefaultValue": default}]}:
            return values[name].get(resolved(row, values), {}).get(column, resolved(default, values))
        case {"Fn::Sub": text}:
            return _substituted(text, values)
    return {name: resolved(each, values) for name, each in value.items()}


def _substituted(text: Any, values: Mapping[str, Any]) -> str:
    if isinstance(text, list):
        text, own = text
        values = {**values, **resolved(own, values)}
    return re.sub(r"\$\{(\w+)\}", lambda found: str(values[found[1]]), text)
