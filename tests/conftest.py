"""What holds for all tests."""

from hypothesis import settings

# No deadline for an example: on a busy machine one takes longer than hypothesis allows, and nothing is wrong.
settings.register_profile("nextbest", deadline=None)
settings.load_profile("nextbest")
