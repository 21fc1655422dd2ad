"""The whole pipeline on one machine, in a minute: ``python -m tasks.demo``.

``workload`` defines and sends the tasks, ``processes`` starts and stops the processes, ``aws_resources``
creates bucket, queues and table, ``worker_journal`` is loaded by the workers, ``report`` prints the table,
``checks`` reads back what is left in AWS, ``flower`` runs Flower.
"""
