"""
The adapters: tenacity and pybreaker, as the policies use them.
"""
