import { useMemo } from "react";

export interface Reading {
  at: Date;
  metres: number;
}

interface Props {
  readings: readonly Reading[];
  width?: number;
  height?: number;
}

/** Draws the water of a day as one line. */
export function TideChart({ readings, width = 480, height = 120 }: Props) {
  const line = useMemo(() => {
    const highest = Math.max(...readings.map((reading) => reading.metres), 1);
    const start = readings[0]?.at.getTime() ?? 0;
    const length = (readings.at(-1)?.at.getTime() ?? 1) - start;
    return readings
      .map(({ at, metres }) => {
        const x = ((at.getTime() - start) / length) * width;
        return `${x.toFixed(1)},${(height - (metres / highest) * height).toFixed(1)}`;
      })
      .join(" ");
  }, [readings, width, height]);

  return (
    <svg role="img" aria-label="Height of the tide" viewBox={`0 0 ${width} ${height}`}>
      <polyline points={line} fill="none" stroke="currentColor" />
    </svg>
  );
}
