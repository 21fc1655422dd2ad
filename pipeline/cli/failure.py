"""What every command ends with when it cannot do its work. Imports neither Celery nor boto3.

=====  ==========================================================
0      nothing found, or done
1      findings: somebody should look
2      the command could not do its work, or was called wrongly
=====  ==========================================================
"""

import click

FINDINGS = 1
ERROR = 2


class Failure(click.ClickException):
    """The command could not do its work."""

    exit_code = ERROR
