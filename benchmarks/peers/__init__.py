"""Who takes part: this project and its peers. ``peers`` lists them, ``workload`` is what they do.

``producer`` and ``consumer`` are the processes of each, ``standins`` the servers that they use.
"""
