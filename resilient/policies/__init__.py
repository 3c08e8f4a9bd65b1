"""
The policies: what to decide, without doing any of it.
"""
