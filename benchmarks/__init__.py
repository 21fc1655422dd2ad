"""Measurements that decided how this library works; ``make bench`` prints them as Markdown."""
