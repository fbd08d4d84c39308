"""The class that no engine of these tests survives."""

CLASSES = ("a", "b", "c")
POISON = CLASSES.index("c")
