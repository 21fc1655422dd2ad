"""A day of two queues under the shipped scaling policies, simulated: ``python -m benchmarks scaling``.

``service_times`` measures how long tasks take, ``loads`` has the day, ``day`` simulates it, ``policies`` are
those of deploy/ and others, ``report`` writes docs/howto/scaling.md.
"""
