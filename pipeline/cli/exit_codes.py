"""Exit codes of the ``pipeline`` command. Imports neither Celery nor boto3.

=====  ==========================================================
0      success, no findings
1      findings
2      error, or wrong usage
=====  ==========================================================
"""

import click

FINDINGS = 1
ERROR = 2


class Failure(click.ClickException):
    """The command failed; exit code 2."""

    exit_code = ERROR
