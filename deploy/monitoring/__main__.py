"""Prints the template: ``python -m deploy.monitoring default,bulk > deploy/monitoring.yaml``."""

import sys

from deploy.monitoring.template import template

if __name__ == "__main__":
    sys.stdout.write(template(sys.argv[1].split(",")))
