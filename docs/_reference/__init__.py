"""Writes the generated parts of the reference from the code: ``python -m docs._reference``.

They are kept in the repository, so that they also read well on a code host, and reviews show what changes in the
public face. A test fails if they are out of date.
"""
