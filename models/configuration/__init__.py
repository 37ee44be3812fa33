"""A detector as a user's own PaddleDetection configuration describes it.

``zoo_entry`` puts it together: ``tree`` reads YAML as untrusted input, ``includes`` merges the files,
``dygraph`` and ``static`` say what the keys of each format mean, ``preprocessing`` what those of its reader mean.
"""
