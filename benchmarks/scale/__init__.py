"""What breaks first as the rate of tasks grows: a queueing model, fed with measured times and AWS's quotas.

``limits`` has the quotas, ``model`` computes workers, latency, calls and dollars, ``report`` writes the page.
"""
