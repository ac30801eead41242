"""Files to stored vectors with the local model, beside a bare loop over the same chunks."""

from collections.abc import Sequence

from benchmarks import corpus
from benchmarks.measuring import Goal, Options, Result, Row, answer, middle

BF16 = "OpenVINO bf16"
Run = dict[str, float]


def measure(options: Options) -> Result:
    """Run the loop and the product in turns, each in a process of its own."""
    size, pairs = (200_000, 2) if options.quick else (1_000_000, 3)
    texts = corpus.files(size, options.data / "corpus")
    loops: list[Run] = []
    products: list[Run] = []
    for pair in range(pairs):
        loops.append(answer("bare", texts.folder))
        products.append(answer("product", texts.folder, options.data / f"data-{pair}"))
    _demand_the_same(loops, products)
    figures = _figures(loops, products)
    return Result(
        table=_table(loops, products),
        figures=figures,
        goals=_goals(figures, bf16=str(loops[0]["runtime"]) == BF16),
        summary=(
            f"local: {figures['product']:,.0f} tokens per CPU second from files to a durable store,"
            f" {figures['ratio']:.1%} of a bare loop over the same chunks"
        ),
        notes=[
            str(texts),
            f"model: all-MiniLM-L6-v2 on {loops[0]['runtime']}; {pairs} pairs of runs, interleaved",
        ],
    )


def _demand_the_same(loops: Sequence[Run], products: Sequence[Run]) -> None:
    """The product embeds equal chunks of a batch once, which may be a few less."""
    for run in products:
        few = abs(loops[0]["tokens"] - run["tokens"]) > 0.01 * loops[0]["tokens"]
        if few or run["failed"]:
            message = f"the loop embedded {loops[0]['tokens']} tokens, the product {run['tokens']}"
            raise RuntimeError(message)


def _figures(loops: Sequence[Run], products: Sequence[Run]) -> dict[str, float]:
    cutting = [_speed(run) for run in loops]
    bare = [_speed(run, without=run["cutting_seconds"]) for run in loops]
    product = [_speed(run) for run in products]
    pairs = list(zip(bare, cutting, product, strict=True))
    return {
        "chunks": products[0]["chunks"],
        "tokens": products[0]["tokens"],
        "bare": middle(bare, 0),
        "bare_with_cutting": middle(cutting, 0),
        "product": middle(product, 0),
        "ratio": middle([ours / loop for loop, _, ours in pairs], 4),
        "ratio_with_cutting": middle([ours / loop for _, loop, ours in pairs], 4),
        "startup_cpu_seconds": middle([run["startup_cpu_seconds"] for run in products], 2),
        "cosine": middle([run["cosine"] for run in products], 5),
        "megabytes": middle([run["megabytes"] for run in products], 0),
        "bare_megabytes": middle([run["megabytes"] for run in loops], 0),
    }


def _speed(run: Run, without: float = 0.0) -> float:
    return run["tokens"] / (run["cpu_seconds"] - without)


def _goals(figures: dict[str, float], *, bf16: bool) -> list[Goal]:
    goals = [
        Goal(what="share of the bare loop's speed", value=figures["ratio"], at_least=0.95),
        Goal(what="mean cosine to float32", value=figures["cosine"], at_least=0.999),
    ]
    if bf16:
        bare = Goal(what="bare loop, tokens per CPU s", value=figures["bare"], at_least=12_000)
        goals.insert(1, bare)
    return goals


def _table(loops: Sequence[Run], products: Sequence[Run]) -> list[Row]:
    """One row a run; `loop` neither cuts nor counts tokens, `loop + cutting` does both."""
    rows: list[Row] = [("run", "chunks", "tokens", "CPU s", "tokens per CPU s", "peak MB")]
    for number, (loop, ours) in enumerate(zip(loops, products, strict=True), start=1):
        rows += [
            _row(f"{number} loop", loop, without=loop["cutting_seconds"]),
            _row(f"{number} loop + cutting", loop),
            _row(f"{number} product", ours),
        ]
    return rows


def _row(name: str, run: Run, without: float = 0.0) -> Row:
    return (
        name,
        f"{run['chunks']:,}",
        f"{run['tokens']:,}",
        f"{run['cpu_seconds'] - without:.2f}",
        f"{_speed(run, without):,.0f}",
        f"{run['megabytes']:,.0f}",
    )
