"""What a flag is and when it is on: pure functions of a definition, a context and a moment.

None of them knows Django, Redis, a clock or a source of chance.
"""
