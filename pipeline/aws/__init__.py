"""What is the same for every service of AWS: sessions, limits, error codes, logs."""
