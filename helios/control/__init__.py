"""What flags, breakers, modules and rollouts share.

Each of them is a subject. Its changes are counted in one row of `control.models.SubjectGeneration`, so that one query,
`control.generations.read()`, tells a task whether any of the four has moved since it last looked:

    seen = generations.read()
    seen["flags"], seen["modules"], seen["breakers"], seen["rollouts"]

What a task knows of one subject holds as long as that subject's `Generation` is the same.
"""
