"""Parts of a text joined to chunks: as much as fits, cut at the best kind of place."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from vectorflow.adapters._text_cuts import Places, splits_character
from vectorflow.adapters._text_tokens import TokenizedText


@dataclass(frozen=True, slots=True, kw_only=True)
class Joined:
    """A text, and how its parts are joined.

    A chunk ends at the last place of the best kind that it reaches. One in the first quarter of its
    room counts only if the part that follows would then be whole, which it would not be otherwise.
    """

    text: TokenizedText
    size: int
    """Units of a chunk, at most."""
    levels: Sequence[Places]
    """Where it may be cut, from the best kind of place to the poorest."""
    overlap: int = 0
    """Units that a chunk may repeat of the one before."""
    again: Sequence[Places] = ()
    """What repeats: whole parts of the best of these kinds that has any; without them, nothing."""
    together: int = 0
    """No place up to this position is a good one."""

    def chunks(self) -> Iterator[tuple[int, int]]:
        """Give the chunks, white space at their ends included."""
        begin, done, visible = 0, 0, len(self.text.text.rstrip())
        while done < visible:
            end = self._end(begin, done)
            if begin < done and self.text.alone(begin, end) > self.size:
                begin, end = done, self._end(done, done)
            yield begin, end
            begin, done = self._again(begin, end), end

    def _end(self, begin: int, done: int) -> int:
        """Give where a chunk ends that holds all up to `done` already."""
        room = max(1, self.size - self.text.reserved(begin))
        while True:
            end = self._reached(begin, done, room)
            over = self.text.alone(begin, end) - self.size
            if over <= 0 or room == 1:
                return end
            room = max(1, room - over)

    def _reached(self, begin: int, done: int, room: int) -> int:
        text = self.text
        first = text.first(begin)
        if text.count - first <= room:
            return len(text.text)
        low, high = max(done, self.together) + 1, text.position(first + room)
        enough = text.position(first + room // 4)
        for places in self.levels:
            fit = (at for at in reversed(places(text.text, low, high)) if self._is_good(at))
            at = next(fit, None)
            if at is not None and (at >= enough or self._goes_on_whole(places, at, room)):
                return at
        return text.position(text.cut_before(first + room, max(first, text.after(done))))

    def _goes_on_whole(self, places: Places, at: int, room: int) -> bool:
        """Tell whether the part that begins here fits into a chunk."""
        last = self.text.first(at) + room
        return last >= self.text.count or bool(
            places(self.text.text, at + 1, self.text.position(last))
        )

    def _again(self, begin: int, end: int) -> int:
        """Give where the chunk after one begins."""
        if not self.overlap:
            return end
        text, after = self.text, self.text.after(end)
        low = max(begin + 1, text.position(after - self.overlap))
        for places in self.again:
            for at in places(text.text, low, end - 1):
                if text.units(at, end) <= self.overlap and self._is_good(at):
                    return at
        return end

    def _is_good(self, at: int) -> bool:
        return not splits_character(self.text.text, at)
