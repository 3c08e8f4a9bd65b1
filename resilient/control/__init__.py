"""
Service level control: levels by hand, by scope, and by signals.
"""
