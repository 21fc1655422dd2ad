"""The whole pipeline on one machine, in a minute: ``python -m tasks.demo``.

``workload`` says what is sent, ``system`` starts and ends the processes, ``places`` makes what they need in
AWS, ``journal`` is loaded by the workers, ``report`` shows what happened, ``proof`` reads back what is left.
"""
