"""
What the classifier knows: the table of errors, and where exceptions carry their codes.
"""
