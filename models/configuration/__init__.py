"""A detector as a user's own PaddleDetection configuration describes it.

``zoo_entry`` puts it together: ``yaml_files`` reads and merges the files, ``variant`` says what the keys of each format
mean, ``preprocessing`` what those of its reader mean.
"""
