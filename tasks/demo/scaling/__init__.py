"""Two queues whose workers come and go by backlog, on one machine: ``python -m tasks.demo.scaling``.

``shipped`` reads the policy from ``deploy/``, ``tracking`` decides by it, ``fleet`` starts and stops workers,
``load`` sends the task of ``waiting``, ``watching`` asks ``top`` and Flower, ``loop`` runs it all, ``report``
shows it, and ``checks`` reads what is left.
"""
