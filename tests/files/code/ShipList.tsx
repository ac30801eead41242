import { useState, type ChangeEvent } from "react";

type Ship = { imo: number; name: string; berth?: number };

const byName = (a: Ship, b: Ship): number => a.name.localeCompare(b.name);

export default function ShipList({ ships }: { ships: Ship[] }) {
  const [wanted, setWanted] = useState("");
  const shown = ships.filter((ship) => ship.name.toLowerCase().includes(wanted)).sort(byName);

  function search(event: ChangeEvent<HTMLInputElement>): void {
    setWanted(event.target.value.toLowerCase());
  }

  return (
    <section>
      <label>
        Ship <input value={wanted} onChange={search} />
      </label>
      <ul>
        {shown.map((ship) => (
          <li key={ship.imo}>
            {ship.name} {ship.berth === undefined ? <em>at sea</em> : <>at berth {ship.berth}</>}
          </li>
        ))}
      </ul>
    </section>
  );
}
