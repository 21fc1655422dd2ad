"""Files that a client uploads become tasks, on one machine, in a minute: ``python -m tasks.demo.doors``.

``client`` is a client without AWS credentials, ``aws_resources`` creates bucket, queue and notification,
``gateway`` runs the web service, ``report`` prints the table, ``checks`` reads what is left.
"""
