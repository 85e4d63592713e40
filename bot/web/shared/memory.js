// localStorage, or this page's own memory where the browser forbids it (private windows, blocked third-party frames).

const fallback = new Map();

function storage() {
  try {
    const key = "kefu.probe";
    localStorage.setItem(key, "1");
    localStorage.removeItem(key);
    return localStorage;
  } catch {
    return null;
  }
}

const store = storage();

/** The value kept under a key, null where there is none. */
export function kept(key) {
  try {
    return JSON.parse(store ? store.getItem(key) : (fallback.get(key) ?? "null"));
  } catch {
    return null;
  }
}

/** Keeps a value; null forgets it. */
export function keep(key, value) {
  const text = JSON.stringify(value);
  try {
    if (!store) fallback.set(key, text);
    else if (value === null) store.removeItem(key);
    else store.setItem(key, text);
  } catch {
    fallback.set(key, text);
  }
}
