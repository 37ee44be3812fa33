"""A detector as a user's own PaddleDetection configuration describes it.

``zoo_entry`` puts it together: ``yaml_files`` reads the files, ``variant`` says what the keys mean.
"""
