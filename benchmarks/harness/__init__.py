"""Real workers of all peers on a stand-in for AWS, in the same run.

``scenarios`` is the table of what is measured, and ``rows`` that of the figures that have a goal. ``cell``
measures one peer once, ``run`` repeats all of them in turns, ``summary`` takes medians and ratios, and
``report`` and ``plots`` show them. ``prices`` has the prices of AWS.
"""
