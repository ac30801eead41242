export interface Debounced<Arguments extends unknown[]> {
  (...values: Arguments): void;
  cancel(): void;
}

/** Calls a function once, when nobody has asked for a while. */
export function debounce<Arguments extends unknown[]>(
  call: (...values: Arguments) => void,
  milliseconds: number,
): Debounced<Arguments> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const debounced = (...values: Arguments): void => {
    clearTimeout(timer);
    timer = setTimeout(() => call(...values), milliseconds);
  };
  return Object.assign(debounced, { cancel: () => clearTimeout(timer) });
}
