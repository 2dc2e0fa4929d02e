"""Files of users: read and checked in one place, written whole or not at all, and folders of work that can be resumed.

What cannot be used is refused by ``errors.FileError``, whose message begins with the path.
"""
