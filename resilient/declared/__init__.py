"""
Policies that a file declares: read, checked, merged with what decorators say, and explained.
"""
