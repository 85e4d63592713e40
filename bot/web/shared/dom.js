// Elements are built, never parsed from strings: no text from outside can become markup.

/** An element: `h("button.primary", {type: "button", onclick}, "text", child)`. Falsy children are left out. */
export function h(selector, attributes = {}, ...children) {
  const [tag, ...classes] = selector.split(".");
  const element = document.createElement(tag || "div");
  if (classes.length) element.className = classes.join(" ");
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "value" || name === "checked" || name === "indeterminate") element[name] = value;
    else if (name === "dataset") Object.assign(element.dataset, value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.flat(Infinity).filter((child) => child || child === 0));
  return element;
}

/** Replaces what an element holds. */
export function fill(element, ...children) {
  element.replaceChildren(...children.flat(Infinity).filter((child) => child || child === 0));
  return element;
}

const SVG = "http://www.w3.org/2000/svg";

/** An SVG element with attributes and children. */
export function svg(tag, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
  element.append(...children.flat());
  return element;
}

const ICONS = {
  send: "M12 19V5M5.5 11.5 12 5l6.5 6.5",
  plus: "M12 5v14M5 12h14",
  menu: "M5 7.5h14M5 12h14M5 16.5h14",
  close: "M6 6l12 12M18 6 6 18",
  up: "M7 11v8.5M7 11H4v8.5h3M7 11l3.7-7c1.5 0 2.5 1.2 2.3 2.7L12.5 10h5.2c1.3 0 2.2 1.2 1.9 2.4l-1.4 5.6c-.2.9-1 1.5-1.9 1.5H7",
  down: "M17 13V4.5M17 13h3V4.5h-3M17 13l-3.7 7c-1.5 0-2.5-1.2-2.3-2.7l.5-3.3H6.3c-1.3 0-2.2-1.2-1.9-2.4L5.8 6c.2-.9 1-1.5 1.9-1.5H17",
  retry: "M20 11a8 8 0 1 0-2.3 6.3M20 5v6h-6",
  home: "M4 11.5 12 5l8 6.5M6.5 10v9h11v-9",
  book: "M5 5.5A1.5 1.5 0 0 1 6.5 4H19v13H6.5A1.5 1.5 0 0 0 5 18.5zM5 18.5A1.5 1.5 0 0 0 6.5 20H19v-3M9 8h6",
  upload: "M12 15V4.5M7.5 9 12 4.5 16.5 9M5 15v3.5A1.5 1.5 0 0 0 6.5 20h11a1.5 1.5 0 0 0 1.5-1.5V15",
  target: "M12 20a8 8 0 1 0 0-16 8 8 0 0 0 0 16zM12 15.5a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7z",
  spark: "M4 18l5-6 4 3.5L20 7M15 7h5v5",
  layers: "M12 4 3.5 8.5 12 13l8.5-4.5zM4 12.5l8 4.2 8-4.2M4 16.3l8 4.2 8-4.2",
  plug: "M9 4v5M15 4v5M6.5 9h11v3a5.5 5.5 0 0 1-11 0zM12 17.5V21",
  trash: "M5 7h14M10 4h4M7 7l1 12.5h8L17 7M10.5 11v5M13.5 11v5",
  edit: "M5 19l1-4L15.5 5.5l3 3L9 18zM13.5 7.5l3 3",
  search: "M10.5 17a6.5 6.5 0 1 0 0-13 6.5 6.5 0 0 0 0 13zM15.5 15.5 20 20",
  leave: "M14 5H6.5A1.5 1.5 0 0 0 5 6.5v11A1.5 1.5 0 0 0 6.5 19H14M10 12h10M16.5 8.5 20 12l-3.5 3.5",
  file: "M7 3.5h7l4 4V20.5H7zM14 3.5v4h4",
  desk: "M5 13v-1a7 7 0 0 1 14 0v1M5 13h2.5v5H6a1 1 0 0 1-1-1zM19 13h-2.5v5H18a1 1 0 0 0 1-1zM18.5 18c0 1.600-1.800 2.500-4.500 2.500",
  chat: "M4 11.5C4 7.4 7.6 4.5 12 4.5s8 2.9 8 7-3.6 7-8 7c-1 0-2-.1-2.9-.4L5 20l.8-3.8C4.7 15 4 13.3 4 11.5z",
  check: "M5 12.5 10 17.5 19 7",
  down_arrow: "M12 5v14M6 13l6 6 6-6",
  left: "M14.5 6 8.5 12l6 6",
  right: "M9.5 6l6 6-6 6",
  info: "M12 20a8 8 0 1 0 0-16 8 8 0 0 0 0 16zM12 11v5M12 8v.1",
};

/** A line icon of 20 pixels; the button around it carries the name. */
export function icon(name) {
  const path = svg("path", { d: ICONS[name] });
  return svg("svg", { viewBox: "0 0 24 24", class: "icon", "aria-hidden": "true", focusable: "false" }, path);
}
