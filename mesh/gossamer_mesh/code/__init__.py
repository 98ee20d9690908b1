"""What the mesh knows functions by: their meaning as a digest, and the form in which they travel.

Nothing is imported here: the digest is computed with the standard library alone.
"""
