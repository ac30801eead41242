"""Source code: a class per language, all alike but for their names."""

from collections.abc import Iterator
from typing import BinaryIO, ClassVar

from vectorflow.adapters._text_decoding import decoded
from vectorflow.adapters._text_sections import bounded
from vectorflow.domain.documents import Section, SectionKind
from vectorflow.ports.extractor import Extractor


class _CodeExtractor(Extractor):
    """Gives source as it is; what a chunker makes of it depends on the language."""

    revision: ClassVar[int] = 1
    sandboxed: ClassVar[bool] = False
    language: ClassVar[str]

    def extract(self, source: BinaryIO) -> Iterator[Section]:
        start = 0
        for text in bounded(decoded(source)):
            yield Section(text=text, start=start, kind=SectionKind.CODE, language=self.language)
            start += len(text)


class PythonExtractor(_CodeExtractor):
    """Python, and stubs of it."""

    language = "python"
    suffixes = (".py", ".pyi", ".pyw")


class JavaScriptExtractor(_CodeExtractor):
    """JavaScript, with JSX too."""

    language = "javascript"
    suffixes = (".js", ".mjs", ".cjs", ".jsx")


class TypeScriptExtractor(_CodeExtractor):
    """TypeScript without JSX."""

    language = "typescript"
    suffixes = (".ts", ".mts", ".cts")


class TsxExtractor(_CodeExtractor):
    """TypeScript with JSX, which reads `<` in another way."""

    language = "tsx"
    suffixes = (".tsx",)


class JavaExtractor(_CodeExtractor):
    """Java."""

    language = "java"
    suffixes = (".java",)


class GoExtractor(_CodeExtractor):
    """Go."""

    language = "go"
    suffixes = (".go",)


class RustExtractor(_CodeExtractor):
    """Rust."""

    language = "rust"
    suffixes = (".rs",)


class CExtractor(_CodeExtractor):
    """C."""

    language = "c"
    suffixes = (".c",)


class CppExtractor(_CodeExtractor):
    """C++, and headers of C, which its grammar reads too."""

    language = "cpp"
    suffixes = (".cpp", ".cc", ".cxx", ".c++", ".h", ".hpp", ".hh", ".hxx", ".ipp", ".inl")


class CSharpExtractor(_CodeExtractor):
    """C#."""

    language = "csharp"
    suffixes = (".cs", ".csx")


class RubyExtractor(_CodeExtractor):
    """Ruby."""

    language = "ruby"
    suffixes = (".rb", ".rake", ".gemspec")


class PhpExtractor(_CodeExtractor):
    """PHP, with the HTML around it."""

    language = "php"
    suffixes = (".php", ".phtml")


class BashExtractor(_CodeExtractor):
    """Scripts of Bash and of shells like it."""

    language = "bash"
    suffixes = (".sh", ".bash", ".zsh", ".ksh")


class SqlExtractor(_CodeExtractor):
    """SQL of any database."""

    language = "sql"
    suffixes = (".sql",)


class CssExtractor(_CodeExtractor):
    """CSS, and the languages that are compiled to it."""

    language = "css"
    suffixes = (".css", ".scss", ".less")


class KotlinExtractor(_CodeExtractor):
    """Kotlin."""

    language = "kotlin"
    suffixes = (".kt", ".kts")


class SwiftExtractor(_CodeExtractor):
    """Swift."""

    language = "swift"
    suffixes = (".swift",)


class ScalaExtractor(_CodeExtractor):
    """Scala."""

    language = "scala"
    suffixes = (".scala", ".sc")
