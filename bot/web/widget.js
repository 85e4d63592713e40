// The chat on anybody's page:
// <script src="https://kefu.example.com/widget.js" data-title="在线客服" data-color="#17725f" data-position="right" data-lang="zh" defer></script>
// One element with a shadow root is all the page gets: no global names, and no style in or out.
(() => {
  "use strict";
  const script = document.currentScript;
  const TAG = "kefu-widget";
  if (!script || document.querySelector(TAG)) return;

  const options = script.dataset;
  const root = new URL(".", script.src);
  const chinese = options.lang ? options.lang.toLowerCase().startsWith("zh") : /^zh/i.test(navigator.language || "zh") || !/^en/i.test(navigator.language);
  const say = (zh, en) => (chinese ? zh : en);
  const title = options.title || say("在线客服", "Customer service");
  const color = /^#[0-9a-f]{6}$/i.test(options.color || "") ? options.color : "#17725f";
  const side = options.position === "left" ? "left" : "right";

  const STYLE = `
    :host { all: initial; position: fixed; z-index: 2147483000; ${side}: 0; bottom: 0; color-scheme: light dark;
      font: 15px/1.6 system-ui, -apple-system, "PingFang SC", "Microsoft YaHei", "Noto Sans CJK SC", sans-serif; }
    button { font: inherit; cursor: pointer; border: 0; }
    .open { position: fixed; ${side}: 24px; bottom: calc(24px + env(safe-area-inset-bottom)); width: 58px; height: 58px; border-radius: 50%;
      display: grid; place-items: center; background: ${color}; color: ${dark(color) ? "#fff" : "#1a1f1d"};
      box-shadow: 0 4px 14px rgb(0 0 0 / .18), 0 1px 3px rgb(0 0 0 / .12); transition: transform .18s, box-shadow .18s; }
    .open:hover { transform: translateY(-2px); box-shadow: 0 8px 22px rgb(0 0 0 / .22); }
    .open:focus-visible { outline: 3px solid ${color}; outline-offset: 3px; }
    svg { width: 28px; height: 28px; fill: none; stroke: currentColor; stroke-width: 1.8; stroke-linecap: round; stroke-linejoin: round; }
    .dot { position: absolute; top: 2px; right: 2px; width: 14px; height: 14px; border-radius: 50%; background: #e0483e; border: 2px solid #fff; }
    .panel { position: fixed; ${side}: 24px; bottom: calc(96px + env(safe-area-inset-bottom)); width: 400px; height: min(660px, calc(100dvh - 120px));
      border-radius: 18px; overflow: hidden; background: Canvas; box-shadow: 0 12px 48px rgb(0 0 0 / .24), 0 0 0 1px rgb(0 0 0 / .06);
      transform-origin: bottom ${side}; animation: grow .2s ease-out; }
    iframe { display: block; width: 100%; height: 100%; border: 0; }
    .refused { position: absolute; inset: 0; display: grid; place-content: center; gap: 12px; padding: 32px; text-align: center; background: Canvas; color: CanvasText; }
    .refused a { color: inherit; }
    [hidden] { display: none !important; }
    @keyframes grow { from { opacity: 0; transform: translateY(12px) scale(.98); } }
    @media (max-width: 560px), (max-height: 480px) {
      .panel { inset: 0; width: auto; height: auto; border-radius: 0; }
      .panel:not([hidden]) ~ .open { display: none; }
    }
    @media (prefers-reduced-motion: reduce) { .panel { animation: none; } .open { transition: none; } }
    @media print { :host { display: none; } }`;

  function dark(hex) {
    const [red, green, blue] = [1, 3, 5].map((at) => (parseInt(hex.slice(at, at + 2), 16) / 255) ** 2.2);
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue <= 0.36;
  }

  function element(tag, attributes, ...children) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    made.append(...children);
    return made;
  }

  function drawing(path) {
    const space = "http://www.w3.org/2000/svg";
    const picture = document.createElementNS(space, "svg");
    const line = document.createElementNS(space, "path");
    picture.setAttribute("viewBox", "0 0 24 24");
    picture.setAttribute("aria-hidden", "true");
    line.setAttribute("d", path);
    picture.append(line);
    return { picture, line };
  }

  function mount() {
    if (document.querySelector(TAG)) return;
    const host = document.createElement(TAG);
    const shadow = host.attachShadow({ mode: "open" });
    // A constructed sheet needs no exception in the page's own content security policy.
    try {
      const sheet = new CSSStyleSheet();
      sheet.replaceSync(STYLE);
      shadow.adoptedStyleSheets = [sheet];
    } catch {
      shadow.append(element("style", {}, STYLE));
    }

    const TALK = "M4 11.5C4 7.4 7.6 4.5 12 4.5s8 2.9 8 7-3.6 7-8 7c-1 0-2-.1-2.9-.4L5 20l.8-3.8C4.7 15 4 13.3 4 11.500z";
    const CROSS = "M6 6l12 12M18 6 6 18";
    const { picture, line } = drawing(TALK);
    const dot = element("span", { class: "dot", hidden: "" });
    const button = element("button", { class: "open", type: "button", "aria-haspopup": "dialog" }, picture, dot);
    const panel = element("div", { class: "panel", role: "dialog", "aria-label": title, hidden: "" });
    shadow.append(panel, button);

    const query = new URLSearchParams({ embed: "1", title, color });
    if (options.lang) query.set("lang", chinese ? "zh" : "en");
    let frame = null;
    let answered = false;

    const post = (kind) => frame && answered && frame.contentWindow.postMessage({ kefu: kind }, root.origin);
    const label = (open, unread) => {
      button.setAttribute("aria-expanded", String(open));
      button.setAttribute("aria-label", open ? say("关闭客服窗口", "Close the chat") : title + (unread ? say("（有新消息）", " (new message)") : ""));
      line.setAttribute("d", open ? CROSS : TALK);
    };

    function load() {
      frame = element("iframe", { src: new URL(`chat?${query}`, root).href, title });
      panel.append(frame);
      // A site that is not on the list gets a frame the browser refuses to fill, and no event tells of it.
      setTimeout(() => {
        if (answered) return;
        const link = element("a", { href: new URL("chat", root).href, target: "_blank", rel: "noopener" }, say("在新窗口打开客服", "Open the chat in a new window"));
        panel.append(element("div", { class: "refused" }, say("这里暂时打不开客服窗口。", "The chat cannot be shown here."), link));
      }, 8000);
    }

    function show(open) {
      if (open && !frame) load();
      panel.hidden = !open;
      if (open) dot.hidden = true;
      label(open, false);
      post(open ? "shown" : "hidden");
      if (open) frame.focus();
      else button.focus();
    }

    button.addEventListener("click", () => show(panel.hidden));
    document.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && !panel.hidden) show(false);
    });
    window.addEventListener("message", (event) => {
      if (!frame || event.source !== frame.contentWindow || event.origin !== root.origin) return;
      const kind = event.data && event.data.kefu;
      if (kind === "ready") {
        answered = true;
        const refused = panel.querySelector(".refused");
        if (refused) refused.remove();
        post(panel.hidden ? "hidden" : "shown");
      } else if (kind === "close") show(false);
      else if (kind === "unread" && panel.hidden) {
        dot.hidden = false;
        label(false, true);
      }
    });
    label(false, false);
    document.body.append(host);
  }

  if (document.body) mount();
  else document.addEventListener("DOMContentLoaded", mount);
})();
