"""Benchmarks: each refuses to time a wrong result, and prints the table that is committed."""
