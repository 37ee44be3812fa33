"""Names of classes: numbers where there are none, a user's own from a file, checked."""

import pytest

from pssdet.errors import BadInput
from pssdet.models.labels import numbered, read_labels


def names_of(folder, content, count=3):
    path = folder / "names.txt"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_labels(path, count)


def test_numbers():
    assert numbered(3) == ("class 0", "class 1", "class 2")


@pytest.mark.parametrize("content", ["a\nb c\nd", "a\r\nb c \r\nd\r\n\r\n", "\ufeffa\nb c\nd\n"])
def test_one_name_per_line(tmp_path, content):
    assert names_of(tmp_path, content) == ("a", "b c", "d")


def test_names_of_any_script_that_may_occur_twice(tmp_path):
    assert names_of(tmp_path, "鼠标\nbench\nbench\n") == ("鼠标", "bench", "bench")


@pytest.mark.parametrize("first", ["background", "Background", "__background__"])
def test_a_background_line_that_is_one_too_many_is_left_out(tmp_path, first):
    assert names_of(tmp_path, f"{first}\na\nb\nc\n") == ("a", "b", "c")


def test_another_first_line_that_is_one_too_many_is_not(tmp_path):
    with pytest.raises(BadInput, match=r"4 line.*3 classes"):
        names_of(tmp_path, "a\nb\nc\nd\n")


def test_a_background_among_exactly_as_many_names_leaves_one_too_few(tmp_path):
    with pytest.raises(BadInput, match=r"the background.*give 3 names"):
        names_of(tmp_path, "background\na\nb\n")


@pytest.mark.parametrize("content", ["", "\n\n", "a\nb\n", "\na\nb\nc\n"])
def test_a_wrong_count_says_how_many_are_expected(tmp_path, content):
    with pytest.raises(BadInput, match="give 3 names"):
        names_of(tmp_path, content)


def test_what_is_no_list_of_names(tmp_path):
    with pytest.raises(BadInput, match="empty line"):
        names_of(tmp_path, "a\n\nc\n")
    with pytest.raises(BadInput, match="UTF-8"):
        names_of(tmp_path, b"a\nb\xff\nc\n")
    with pytest.raises(BadInput, match="nowhere"):
        read_labels(tmp_path / "nowhere", 3)
    with pytest.raises(BadInput, match="cannot be read"):
        read_labels(tmp_path, 3)
