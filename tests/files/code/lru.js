/** Keeps what was asked for last; a Map remembers the order of its keys. */
export class Lru {
  #kept = new Map();

  constructor(most) {
    this.most = most;
  }

  get(key) {
    if (!this.#kept.has(key)) {
      return undefined;
    }
    const value = this.#kept.get(key);
    this.#kept.delete(key);
    this.#kept.set(key, value);
    return value;
  }

  set(key, value) {
    this.#kept.delete(key);
    this.#kept.set(key, value);
    if (this.#kept.size > this.most) {
      this.#kept.delete(this.#kept.keys().next().value);
    }
  }
}
