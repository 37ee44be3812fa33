"""Reduced precision: recipes, half precision, int8 with Q/DQ."""
