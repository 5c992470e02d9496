"""Texts on which encodings, cuts and Python's own idea of a character differ."""

from hypothesis import strategies as st

SPACES = "\t\n\x0b\x0c\r \x85\xa0\u1680\u2000\u2003\u200a\u2028\u2029\u202f\u205f\u3000"
ATOMS = (
    *SPACES,
    *("\r\n", "\n\n", " \n", "   ", "\t\n"),
    *"\x00\x1c\x1d\x1e\x1f\x7f\u200b\u200d\ufeff",  # white space to Python, or to the eye
    *(
        "a",
        "Z",
        "word",
        " The",
        "é",
        "ſ",
        "ǅ",
        "ʰ",
        "中",
        "文字",
        "の",
        "ー",
        "한",
        "क्षि",
        "y\u0301",
        "\u0301",
        "\u20dd",
    ),
    *("0", "42", "1234", "٣", "²", "Ⅷ"),
    *(
        "/",
        "//",
        "/\n",
        ";\n",
        "'",
        "'s",
        "'LL",
        "'ſ",
        "’s",
        "!",
        "…",
        "。",
        "，",
        "{",
        '"',
        "-",
        "_",
        "<|endoftext|>",
    ),
    *("👍", "👨‍👩‍👧", "🇨🇭", "€", "\ud800", "\udc00", "\ud83d", "\udbff\udfff", "\U0010ffff"),
)


def texts(max_size: int = 24) -> st.SearchStrategy[str]:
    """Return texts of these atoms, of runs of them, and of anything else."""
    atoms = st.sampled_from(ATOMS)
    runs = st.builds(str.__mul__, atoms, st.integers(2, 40))
    return st.one_of(
        st.lists(atoms, max_size=max_size), st.lists(atoms | runs | st.text(max_size=5), max_size=9)
    ).map("".join)
