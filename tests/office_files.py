"""Office documents and books written by hand, as small as their formats allow."""

import io
from collections.abc import Mapping
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile, ZipInfo

W = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
A = 'xmlns:a="http://schemas.openxmlformats.org/drawingml/2006/main"'
P = 'xmlns:p="http://schemas.openxmlformats.org/presentationml/2006/main"'
R = 'xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships"'
_RELATIONS = "http://schemas.openxmlformats.org/package/2006/relationships"
_KIND = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_CORE = "http://schemas.openxmlformats.org/package/2006/relationships/metadata/core-properties"

OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"


def archive(entries: Mapping[str, str | bytes]) -> bytes:
    """Pack entries in order; the same ones give the same bytes."""
    packed = io.BytesIO()
    with ZipFile(packed, "w") as file:
        for name, data in entries.items():
            how = ZIP_STORED if name == "mimetype" else ZIP_DEFLATED
            info = ZipInfo(name)
            info.compress_type = how
            file.writestr(info, data)
    return packed.getvalue()


def relations(targets: Mapping[str, str]) -> str:
    """Write relations: id and the last word of its type, `rId1 slide` -> part."""
    rows = "".join(
        f'<Relationship Id="{key.split()[0]}" Type="{_type(key.split()[1])}" Target="{target}"/>'
        for key, target in targets.items()
    )
    return f'<Relationships xmlns="{_RELATIONS}">{rows}</Relationships>'


def _type(kind: str) -> str:
    return _CORE if kind == "core-properties" else f"{_KIND}/{kind}"


CORE = (
    '<cp:coreProperties xmlns:cp="http://schemas.openxmlformats.org/package/2006/metadata/'
    'core-properties" xmlns:dc="http://purl.org/dc/elements/1.1/" '
    'xmlns:dcterms="http://purl.org/dc/terms/">'
    "<dc:title>Yearly report</dc:title><dc:creator>Ada Lovelace</dc:creator>"
    "<dc:subject>Engines</dc:subject><cp:keywords>looms, cards</cp:keywords>"
    "<dcterms:created>2024-01-02T03:04:05Z</dcterms:created>"
    "<dcterms:modified>2025-06-07T08:09:10Z</dcterms:modified></cp:coreProperties>"
)

STYLES = f"""<w:styles {W}>
<w:style w:type="paragraph" w:default="1" w:styleId="Standard"><w:name w:val="Normal"/></w:style>
<w:style w:type="paragraph" w:styleId="Titel"><w:name w:val="Title"/></w:style>
<w:style w:type="paragraph" w:styleId="Autor"><w:name w:val="Author"/>
<w:basedOn w:val="Titel"/></w:style>
<w:style w:type="paragraph" w:styleId="berschrift1"><w:name w:val="heading 1"/>
<w:pPr><w:outlineLvl w:val="0"/></w:pPr></w:style>
<w:style w:type="paragraph" w:styleId="berschrift2"><w:name w:val="heading 2"/></w:style>
<w:style w:type="paragraph" w:styleId="Eigene"><w:name w:val="Chapter of ours"/>
<w:basedOn w:val="berschrift2"/></w:style>
<w:style w:type="paragraph" w:styleId="Code"><w:name w:val="Source Code"/></w:style>
<w:style w:type="paragraph" w:styleId="Inhalt"><w:name w:val="TOC Heading"/></w:style>
</w:styles>"""

NUMBERING = f"""<w:numbering {W}>
<w:abstractNum w:abstractNumId="0">
<w:lvl w:ilvl="0"><w:start w:val="1"/><w:numFmt w:val="bullet"/><w:lvlText w:val="o"/></w:lvl>
<w:lvl w:ilvl="1"><w:start w:val="1"/><w:numFmt w:val="bullet"/><w:lvlText w:val="o"/></w:lvl>
</w:abstractNum>
<w:abstractNum w:abstractNumId="1">
<w:lvl w:ilvl="0"><w:start w:val="1"/><w:numFmt w:val="decimal"/><w:lvlText w:val="%1."/></w:lvl>
<w:lvl w:ilvl="1"><w:start w:val="1"/><w:numFmt w:val="lowerLetter"/><w:lvlText w:val="%1.%2)"/>
</w:lvl></w:abstractNum>
<w:num w:numId="1"><w:abstractNumId w:val="0"/></w:num>
<w:num w:numId="2"><w:abstractNumId w:val="1"/></w:num>
<w:num w:numId="3"><w:abstractNumId w:val="1"/>
<w:lvlOverride w:ilvl="0"><w:startOverride w:val="1"/></w:lvlOverride></w:num>
</w:numbering>"""


def docx(body: str, parts: Mapping[str, str] | None = None, core: str = CORE) -> bytes:
    """Write a Word document.

    Args:
        body: Paragraphs and tables.
        parts: Type of relation -> part, beside styles and numbering: `footnotes`, `header`.
    """
    kinds = {"styles": STYLES, "numbering": NUMBERING, **(parts or {})}
    related = {f"rId{at} {kind}": f"{kind}.xml" for at, kind in enumerate(kinds)}
    return archive(
        {
            "_rels/.rels": relations(
                {"rId1 officeDocument": "word/document.xml", "rId2 core-properties": "core.xml"}
            ),
            "core.xml": core,
            "word/document.xml": f"<w:document {W} {A} {R}><w:body>{body}</w:body></w:document>",
            "word/_rels/document.xml.rels": relations(related),
            **{f"word/{kind}.xml": part for kind, part in kinds.items()},
        }
    )


def paragraph(text: str, style: str = "", properties: str = "") -> str:
    """Write a paragraph of a Word document."""
    styled = f'<w:pStyle w:val="{style}"/>' if style else ""
    return f"<w:p><w:pPr>{styled}{properties}</w:pPr>{run(text)}</w:p>"


def run(text: str, properties: str = "") -> str:
    """Write a run of a Word document."""
    looks = f"<w:rPr>{properties}</w:rPr>" if properties else ""
    return f'<w:r>{looks}<w:t xml:space="preserve">{text}</w:t></w:r>'


def item(text: str, number: int, level: int = 0) -> str:
    """Write a list item of a Word document."""
    place = f'<w:numPr><w:ilvl w:val="{level}"/><w:numId w:val="{number}"/></w:numPr>'
    return paragraph(text, properties=place)


def cell(text: str, properties: str = "") -> str:
    """Write a cell of a Word table."""
    return f"<w:tc><w:tcPr>{properties}</w:tcPr>{paragraph(text)}</w:tc>"


def table(*rows: str) -> str:
    """Write a Word table out of rows of cells."""
    return "<w:tbl>" + "".join(f"<w:tr>{row}</w:tr>" for row in rows) + "</w:tbl>"


def shape(text: str, kind: str = "", looks: str = "") -> str:
    """Write a shape of a slide.

    Args:
        text: Paragraphs, or plain text of one.
        kind: What it stands for: `title`, `body`; empty for a text box.
        looks: Attributes of its `cNvPr`.
    """
    place = f'<p:ph type="{kind}"/>' if kind else ""
    body = text if text.startswith("<a:p>") else f"<a:p><a:r><a:t>{text}</a:t></a:r></a:p>"
    return (
        f'<p:sp><p:nvSpPr><p:cNvPr id="1" name="One" {looks}/><p:cNvSpPr/><p:nvPr>{place}</p:nvPr>'
        f"</p:nvSpPr><p:txBody><a:bodyPr/>{body}</p:txBody></p:sp>"
    )


def line(text: str, look: str = "", **attributes: str) -> str:
    """Write a paragraph of a slide; `look` stands inside of its properties."""
    said = "".join(f' {name}="{value}"' for name, value in attributes.items())
    return f"<a:p><a:pPr{said}>{look}</a:pPr><a:r><a:t>{text}</a:t></a:r></a:p>"


def frame(graphic: str) -> str:
    """Write a frame with a table, chart or diagram."""
    return (
        '<p:graphicFrame><p:nvGraphicFramePr><p:cNvPr id="4" name="Frame"/><p:nvPr/>'
        f"</p:nvGraphicFramePr><a:graphic><a:graphicData>{graphic}</a:graphicData></a:graphic>"
        "</p:graphicFrame>"
    )


def pptx(
    slides: list[str],
    notes: Mapping[int, str] | None = None,
    others: Mapping[str, str] | None = None,
) -> bytes:
    """Write a presentation.

    Args:
        slides: The shapes of each, in the order of the show; files are numbered the other way.
        notes: Slide, counted from 1 -> shapes of its notes.
        others: Type of relation -> part that the last slide refers to.
    """
    count = len(slides)
    shown = "".join(f'<p:sldId id="{at}" r:id="rId{at}"/>' for at in range(1, count + 1))
    entries = {
        "_rels/.rels": relations(
            {"rId1 officeDocument": "ppt/presentation.xml", "rId2 core-properties": "core.xml"}
        ),
        "core.xml": CORE,
        "ppt/presentation.xml": f"<p:presentation {P} {R}><p:sldIdLst>{shown}</p:sldIdLst>"
        "</p:presentation>",
        "ppt/_rels/presentation.xml.rels": relations(
            {f"rId{at} slide": f"slides/slide{count - at}.xml" for at in range(1, count + 1)}
        ),
    }
    for at, shapes in enumerate(slides, 1):
        name = f"slide{count - at}.xml"
        entries[f"ppt/slides/{name}"] = _tree("sld", shapes)
        related: dict[str, str] = {}
        if notes and at in notes:
            entries[f"ppt/notes/{name}"] = _tree("notes", notes[at])
            related["rIdN notesSlide"] = f"../notes/{name}"
        for kind, part in (others or {}).items() if at == count else ():
            entries[f"ppt/{kind}.xml"] = part
            related[f"rId-{kind} {kind}"] = f"/ppt/{kind}.xml"
        entries[f"ppt/slides/_rels/{name}.rels"] = relations(related)
    return archive(entries)


def _tree(name: str, shapes: str) -> str:
    return (
        f"<p:{name} {A} {P} {R}><p:cSld><p:spTree><p:nvGrpSpPr/>{shapes}</p:spTree></p:cSld>"
        f"</p:{name}>"
    )


_ODF = (
    " ".join(
        f'xmlns:{prefix}="urn:oasis:names:tc:opendocument:xmlns:{name}:1.0"'
        for prefix, name in {
            "office": "office",
            "text": "text",
            "table": "table",
            "style": "style",
            "draw": "drawing",
            "meta": "meta",
            "svg": "svg-compatible",
            "manifest": "manifest",
        }.items()
    )
    + ' xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:xlink="http://www.w3.org/1999/xlink"'
)

ODT_STYLES = """<office:styles>
<style:style style:name="Title" style:family="paragraph"/>
<style:style style:name="Preformatted_20_Text" style:family="paragraph"/>
<text:outline-style><text:outline-level-style text:level="1" style:num-format="1"/>
<text:outline-level-style text:level="2" style:num-format="a" style:num-suffix=")"
 text:display-levels="2"/></text:outline-style>
</office:styles><office:master-styles><style:master-page>
<style:header><text:p>Engines Ltd</text:p></style:header>
<style:footer><text:p>Page <text:page-number>7</text:page-number> of all</text:p></style:footer>
<style:footer-left><text:p>Page <text:page-number>8</text:page-number> of all</text:p>
</style:footer-left></style:master-page></office:master-styles>"""

ODT_LOOKS = """<office:automatic-styles>
<style:style style:name="P1" style:parent-style-name="Title"/>
<style:style style:name="T1"><style:text-properties text:display="none"/></style:style>
<text:list-style style:name="L1"><text:list-level-style-number text:level="1"
 style:num-format="1" style:num-suffix="."/>
<text:list-level-style-bullet text:level="2" text:bullet-char="o"/></text:list-style>
</office:automatic-styles>"""

ODT_META = """<office:meta><dc:title>Yearly report</dc:title>
<meta:initial-creator>Ada Lovelace</meta:initial-creator><dc:creator>Somebody else</dc:creator>
<meta:keyword>looms</meta:keyword><meta:keyword>cards</meta:keyword>
<meta:creation-date>2024-01-02T03:04:05.67</meta:creation-date><dc:date>2025-06-07T08:09:10</dc:date>
</office:meta>"""


def odt(body: str, looks: str = ODT_LOOKS, styles: str = ODT_STYLES, manifest: str = "") -> bytes:
    """Write an OpenDocument text."""
    return archive(
        {
            "mimetype": "application/vnd.oasis.opendocument.text",
            "content.xml": f"<office:document-content {_ODF}>{looks}<office:body><office:text>"
            f"{body}"
            "</office:text></office:body></office:document-content>",
            "styles.xml": f"<office:document-styles {_ODF}>{styles}</office:document-styles>",
            "meta.xml": f"<office:document-meta {_ODF}>{ODT_META}</office:document-meta>",
            "META-INF/manifest.xml": f"<manifest:manifest {_ODF}>{manifest}</manifest:manifest>",
        }
    )


_CONTAINER = (
    '<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>'
    '<rootfile full-path="OEBPS/book.opf"/></rootfiles></container>'
)
_XHTML = (
    '<?xml version="1.0" encoding="utf-8"?>\n<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.1//EN" '
    '"http://www.w3.org/TR/xhtml11/DTD/xhtml11.dtd">\n'
    '<html xmlns="http://www.w3.org/1999/xhtml" xmlns:epub="http://www.idpf.org/2007/ops">'
    "<head><title/></head><body>{}</body></html>"
)
NAV_KIND = 'media-type="application/xhtml+xml" properties="nav"'
NCX_KIND = 'media-type="application/x-dtbncx+xml"'
NCX = (
    '<?xml version="1.0"?>\n<!DOCTYPE ncx PUBLIC "-//NISO//DTD ncx 2005-1//EN" '
    '"http://www.daisy.org/z3986/2005/ncx-2005-1.dtd">\n'
    '<ncx xmlns="http://www.daisy.org/z3986/2005/ncx/"><navMap>{}</navMap></ncx>'
)


def epub(
    chapters: Mapping[str, str], contents: str, kind: str = NAV_KIND, encryption: str = ""
) -> bytes:
    """Write a book.

    Args:
        chapters: File -> its body, in the order of reading; the files are packed the other way.
        contents: The table of contents: a body of XHTML, or a whole NCX.
        kind: Attributes of its item.
        encryption: What is in `META-INF/encryption.xml`; empty for none.
    """
    items = "".join(
        f'<item id="c{at}" href="{name}" media-type="application/xhtml+xml"/>'
        for at, name in enumerate(chapters)
    )
    spine = "".join(f'<itemref idref="c{at}"/>' for at in range(len(chapters)))
    entries: dict[str, str | bytes] = {
        "mimetype": "application/epub+zip",
        "META-INF/container.xml": _CONTAINER,
        "OEBPS/book.opf": '<package xmlns="http://www.idpf.org/2007/opf" '
        'xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:opf="http://www.idpf.org/2007/opf">'
        "<metadata><dc:title>The Engine</dc:title><dc:creator>Ada Lovelace</dc:creator>"
        "<dc:creator>Charles Babbage</dc:creator><dc:language>en</dc:language>"
        '<dc:date opf:event="publication">1843</dc:date>'
        '<meta property="dcterms:modified">2024-01-02T03:04:05Z</meta></metadata>'
        f'<manifest><item id="nav" href="contents" {kind}/>{items}</manifest>'
        f'<spine toc="nav"><itemref idref="nav"/>{spine}</spine></package>',
    }
    for name, body in reversed(chapters.items()):
        entries[f"OEBPS/{name.replace('%20', ' ')}"] = _XHTML.format(body)
    entries["OEBPS/contents"] = contents if kind == NCX_KIND else _XHTML.format(contents)
    if encryption:
        entries["META-INF/encryption.xml"] = encryption
    return archive(entries)
