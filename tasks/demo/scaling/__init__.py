"""Two queues whose workers come and go by backlog, on one machine: ``python -m tasks.demo.scaling``.

``shipped`` reads the policy from ``deploy/``, ``tracking`` decides by it, ``fleet`` starts and stops workers,
``load`` sends tasks, ``watching`` asks ``top`` and Flower, ``report`` shows it, ``checks`` reads what is left.
"""
