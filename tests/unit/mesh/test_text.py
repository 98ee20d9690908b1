from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossamer_mesh.errors import ConfigError
from gossamer_mesh.text import check_text, stray


@given(st.text(st.characters() | st.sampled_from("\ud800\udc80\udfff")))
def test_what_utf_8_carries_is_text_and_nothing_else(text: str):
    at = stray(text)
    if at < 0:
        assert text.encode().decode() == text
        assert check_text(text, "x=") is text
    else:
        assert text[:at].encode().decode() == text[:at]
        with pytest.raises(UnicodeEncodeError):
            text[at].encode()


def test_the_error_names_the_character_and_can_be_printed():
    with pytest.raises(ConfigError, match=r"description='.*\\udc80.*' holds '\\udc80'") as caught:
        check_text("a" * 10_000 + "\udc80" + "b" * 10_000, "description=")
    said = str(caught.value)
    assert len(said) < 300
    assert said.encode()
