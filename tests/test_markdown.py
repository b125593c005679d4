"""The evaluation section of a model card."""

from pipeline.markdown import replace_evaluation_section


def test_card_section_is_put_in_once():
    card = "# Model\n\ntext\n"
    once = replace_evaluation_section(card, "first")
    assert replace_evaluation_section(once, "second") == once.replace("first", "second")
    assert once.startswith(card)
