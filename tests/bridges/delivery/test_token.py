"""The bearer token of a SinkBinding."""

import os
from pathlib import Path

import pytest

from thinbridge.delivery.token import MAX_TOKEN, RECHECK, Token


def test_a_token_comes_changes_and_goes(tmp_path: Path) -> None:
    path = tmp_path / "token"
    token = Token(str(path))
    assert token.line(0.0) == ""
    path.write_text("abc.def-g_h\n")
    assert token.line(RECHECK / 2) == ""
    assert token.line(RECHECK) == "authorization: Bearer abc.def-g_h\r\n"
    assert token.line(2 * RECHECK) == "authorization: Bearer abc.def-g_h\r\n"
    replacement = tmp_path / "new"  # the kubelet replaces the file, so the inode changes even if the time does not
    replacement.write_text("second")
    os.utime(replacement, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
    replacement.rename(path)
    assert token.line(3 * RECHECK) == "authorization: Bearer second\r\n"
    path.unlink()
    assert token.line(4 * RECHECK) == ""


@pytest.mark.parametrize("content", [b"", b" \n", b"a\r\nx: y", b"a b", b"\xff", b"a\x00"])
def test_what_is_no_token_is_no_header(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "token"
    path.write_bytes(content)
    assert Token(str(path)).line(0.0) == ""


def test_it_is_bounded(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_bytes(b"a" * (2 * MAX_TOKEN))
    assert len(Token(str(path)).line(0.0)) < MAX_TOKEN + 30
