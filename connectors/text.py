"""Text for channels that show less than a page does."""

from collections.abc import Sequence

from connectors.types import Button


def numbered(buttons: Sequence[Button]) -> str:
    """Buttons as a numbered list, one a line, for channels that have none; the number can be typed as the choice."""
    return "\n".join(f"{number}. {button.title}" for number, button in enumerate(buttons, 1))
