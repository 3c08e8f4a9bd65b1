"""
The command line: ``resilient run``, ``resilient check`` and ``resilient explain``.
"""
