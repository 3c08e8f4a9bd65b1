"""
What a circuit breaker is made of: permits, the machine, what people do to it by hand.
"""
