"""Names in figures, letter by letter."""

from contextlib import AbstractContextManager

from matplotlib import font_manager, rc_context


def figure_text_style() -> AbstractContextManager[None]:
    """While a figure is drawn and saved in it, a `$` begins no formula, and Chinese is shown where there is a font."""
    more = sorted(name for name in font_manager.get_font_names() if "CJK" in name)
    return rc_context({"text.parse_math": False, "font.family": ["DejaVu Sans", *more[:1]]})
