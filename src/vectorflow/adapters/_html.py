"""HTML -> blocks: what the extractors of web pages, mails and books share."""

from collections.abc import Iterator
from itertools import chain

from vectorflow.adapters._blocks import Block
from vectorflow.adapters._html_page import Page
from vectorflow.adapters._html_walk import Walk


def blocks(page: Page) -> Iterator[Block]:
    """Give what a reader of the page would read, in order.

    Where the page says what its main content is, it alone; menus are left out, unless there is
    nothing else.
    """
    walked = Walk(page).blocks(page.content)
    if (first := next(walked, None)) is not None:
        return chain((first,), walked)
    return Walk(page, menus=True).blocks(page.body)
