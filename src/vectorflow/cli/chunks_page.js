"use strict";
(() => {
  const panel = document.getElementById("panel");
  const facts = document.getElementById("panel-facts");
  const text = document.getElementById("panel-text");
  let shown = null;

  const number = (name) => Number(name.slice(1));
  const neighbour = (name, step) => `${name[0]}${number(name) + step}`;
  const segments = (name) =>
    document.querySelectorAll(`.${name[0]}.t > [data-c~="${number(name)}"]`);

  const light = (name) => {
    document.querySelectorAll(".on").forEach((segment) => segment.classList.remove("on"));
    if (name) segments(name).forEach((segment) => segment.classList.add("on"));
  };

  const chunkAt = (target) => {
    const segment = target.closest(".t > [data-c]");
    return segment && segment.parentElement.dataset.side + segment.dataset.c.split(" ").pop();
  };

  const show = (name) => {
    const link = /^[ab]\d+$/.test(name) && document.getElementById(name);
    if (!link) return false;
    const header = document.querySelector(`[data-header="${name}"]`);
    facts.textContent = `${number(name)} · ${link.title}`;
    text.textContent = (header ? header.textContent : "") +
      Array.from(segments(name), (segment) => segment.textContent).join("");
    panel.hidden = false;
    shown = name;
    light(name);
    return true;
  };

  const step = (by) => {
    const name = neighbour(shown, by);
    if (show(name)) document.getElementById(name).scrollIntoView({ block: "center" });
  };

  const close = () => {
    panel.hidden = true;
    shown = null;
    light(null);
  };

  const main = document.querySelector("main");
  main.addEventListener("mouseover", (event) => light(chunkAt(event.target) || shown));
  main.addEventListener("mouseleave", () => light(shown));
  main.addEventListener("click", (event) => {
    const link = event.target.closest(".m a");
    const name = link ? link.id : chunkAt(event.target);
    if (name && document.getSelection().isCollapsed) show(name);
  });
  document.getElementById("close").addEventListener("click", close);
  document.getElementById("previous").addEventListener("click", () => step(-1));
  document.getElementById("next").addEventListener("click", () => step(1));
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") close();
  });
  const follow = () => show(location.hash.slice(1));
  window.addEventListener("hashchange", follow);
  document.documentElement.classList.add("scripts");
  follow();
})();
