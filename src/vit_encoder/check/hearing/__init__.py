"""What a student's process may see of the checks: it hears, and knows nothing of what
is right. Marking puts this folder into the sandbox, and nothing else of `check`.
"""
