"""Names from files, where they are shown."""


def plain(text: object, keep: str = "") -> str:
    """A name from a file as one line that any format can hold: what cannot be printed becomes U+FFFD.

    `keep` are characters that stay although they cannot be printed.
    """
    return "".join(char if char.isprintable() or char in keep else "\ufffd" for char in str(text))
