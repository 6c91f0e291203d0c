"""Writes the table of families into docs/open-models.md, between its two marks: python scripts/open_models_table.py."""

from pathlib import Path

from muybridge.commands.models import markdown

PAGE = Path(__file__).parents[1] / "docs" / "open-models.md"
BEGIN, END = "<!-- families -->\n", "<!-- end of families -->"


def main() -> None:
    """Replaces what stands between the marks."""
    before, rest = PAGE.read_text(encoding="utf-8").split(BEGIN)
    _, after = rest.split(END)
    PAGE.write_text(before + BEGIN + markdown() + END + after, encoding="utf-8")


if __name__ == "__main__":
    main()
