"""Reads the templates beside it."""

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
