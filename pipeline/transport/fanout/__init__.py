"""Events, remote control and broadcasts, over SNS topics and a queue for each listener."""
