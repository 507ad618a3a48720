"""How Python functions become machine code, and how that is kept on disk."""
