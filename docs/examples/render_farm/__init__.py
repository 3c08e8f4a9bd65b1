"""
A film rendered through a farm of failing servers, bare and with `resilient`.
"""
