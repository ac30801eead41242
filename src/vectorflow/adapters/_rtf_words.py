"""Control words of RTF by what they mean here."""

from collections.abc import Mapping

CHARACTERS: Mapping[str, str] = {
    "tab": "\t",
    "line": "\n",
    "lbr": "\n",
    "emdash": "\u2014",
    "endash": "\u2013",
    "lquote": "\u2018",
    "rquote": "\u2019",
    "ldblquote": "\u201c",
    "rdblquote": "\u201d",
    "bullet": "\u2022",
    "emspace": " ",
    "enspace": " ",
    "qmspace": " ",
    "nestcell": " ",
    "~": "\xa0",
    "_": "-",
    "\\": "\\",
    "{": "{",
    "}": "}",
    "\t": "\t",
}
"""Words that stand for a character."""

SKIPPED = frozenset(
    [
        "colortbl",
        "pict",
        "object",
        "nonshppict",
        "nonesttables",
        "shprslt",
        "sp",
        "sn",
        "sv",
        "listtable",
        "listoverridetable",
        "rsidtbl",
        "revtbl",
        "filetbl",
        "themedata",
        "colorschememapping",
        "datastore",
        "latentstyles",
        "annotation",
        "atnid",
        "atnauthor",
        "atntime",
        "atndate",
        "atnref",
        "atnparent",
        "atnicn",
        "ftnsep",
        "ftnsepc",
        "ftncn",
        "aftnsep",
        "aftnsepc",
        "aftncn",
        "xe",
        "tc",
        "tcn",
        "rxe",
        "txe",
        "pn",
        "template",
        "operator",
        "company",
        "category",
        "manager",
        "comment",
        "hlinkbase",
    ]
)
"""Groups without text of the document, or with what stands elsewhere too."""

EDGES = frozenset(
    ["header", "headerl", "headerr", "headerf", "footer", "footerl", "footerr", "footerf"]
)

KEPT = frozenset(["footnote", "shpinst", "ud", "fldinst", "pntext", "listtext"])
"""Groups that are marked as such that a reader may pass over, and are read all the same."""

INFO: Mapping[str, str] = {
    "title": "title",
    "author": "author",
    "subject": "subject",
    "keywords": "keywords",
    "doccomm": "description",
}
"""Groups of what a document says of itself -> our names."""

DATES: Mapping[str, str] = {"creatim": "created", "revtim": "modified"}
"""Groups that hold a date -> our names."""

DATE_PARTS = ("yr", "mo", "dy", "hr", "min")
