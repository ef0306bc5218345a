"""What the README shows runs as it stands."""

from __future__ import annotations

from pathlib import Path

from tests.test_docs import blocks

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def test_first_screen_has_the_two_commands():
    """Each is a single line that makes its environment, installs and runs."""
    first_screen = README.splitlines()[:30]
    commands = [line for line in first_screen if line.startswith("python -m venv ")]
    assert len(commands) == 2
    assert all("pip install -c constraints.txt" in line for line in commands)


def test_the_three_uses_run(capsys):
    """The code blocks after the first, one after the other; each at most 18 lines."""
    codes = [code for code, _ in blocks(README)][1:]
    assert len(codes) == 3
    assert max(len(code.strip().splitlines()) for code in codes) <= 18
    namespace: dict[str, object] = {}
    for code in codes:
        exec(compile(code, "README.md", "exec"), namespace)
    assert namespace["step"].success
    assert "trace:" in capsys.readouterr().out
