"""What can be followed: log lines with their fields, and spans."""
