"""The one error of demonstrations."""


class DemonstrationsError(ValueError):
    """Demonstrations that cannot be used; says what was found, what was expected, what to do."""
