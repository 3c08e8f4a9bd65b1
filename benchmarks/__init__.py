"""
Benchmarks: one file per question, asked by ``python -m benchmarks [--quick]``.
"""
