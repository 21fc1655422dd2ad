"""What ``pipeline top`` looks at, and what it has seen."""
