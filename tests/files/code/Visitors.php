<?php

declare(strict_types=1);

namespace Example\Harbour;

use InvalidArgumentException;

/** Counts who climbs the tower; the stairs bear only so many at once. */
final class Visitors
{
    private int $inside = 0;
    private int $today = 0;

    public function __construct(private readonly int $most)
    {
        if ($most < 1) {
            throw new InvalidArgumentException('The tower must hold at least one visitor.');
        }
    }

    public function enter(int $people): bool
    {
        if ($this->inside + $people > $this->most) {
            return false;
        }
        $this->inside += $people;
        $this->today += $people;

        return true;
    }

    public function leave(int $people): void
    {
        $this->inside = max(0, $this->inside - $people);
    }

    public function report(): string
    {
        return sprintf('%d inside, %d today', $this->inside, $this->today);
    }
}
