"""Exit codes of the ``pipeline`` command. Imports neither Celery nor boto3.

=====  ==========================================================
0      success, no findings
1      findings
2      error, or wrong usage
=====  ==========================================================
"""

from typing import NoReturn

import click

FINDINGS = 1
ERROR = 2


class Failure(click.ClickException):
    """The command failed; exit code 2."""

    exit_code = ERROR


def exit_with(code: int) -> NoReturn:
    """End the command with an exit code."""
    click.get_current_context().exit(code)
