"""The commands of ``pipeline``: what is asked, what is printed, and the exit code."""
