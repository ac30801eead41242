/** Units of the sea, checked by the compiler: a knot is not a metre per second. */
declare const unit: unique symbol;

type Quantity<Name extends string> = number & { readonly [unit]: Name };

export type Knots = Quantity<"knots">;
export type Miles = Quantity<"nautical miles">;
export type Hours = Quantity<"hours">;

export const knots = (value: number): Knots => value as Knots;
export const miles = (value: number): Miles => value as Miles;

export function passage(distance: Miles, speed: Knots, current: Knots = knots(0)): Hours {
  const made = speed + current;
  if (made <= 0) {
    throw new RangeError("the ship makes no way");
  }
  return (distance / made) as Hours;
}

export function spoken(time: Hours): string {
  const minutes = Math.round(time * 60);
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}
