"""Marking of a class: a folder or a zip of notebooks becomes a table of marks.

What students wrote runs in a sandbox that holds no expected value; the points are made
outside it, by the judge that the checks of the notebooks use.
"""
