"""This project beside its peers: real workers on a stand-in for AWS, all peers in the same run.

``peers`` lists who takes part, ``workload`` what they do. ``cell`` measures one peer once, ``run`` repeats
all of them in turns, and ``report`` turns the medians into tables. ``prices`` has the prices of AWS.
"""
