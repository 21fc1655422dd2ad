"""What ``docker-compose.yml`` says."""

from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES = COMPOSE["services"]


def command(service):
    """Return the program that a service runs, with its arguments; of a script, its first line."""
    words = SERVICES[service]["command"]
    return words[-1].splitlines()[0].removesuffix(" &").split() if words[0] == "sh" else words
