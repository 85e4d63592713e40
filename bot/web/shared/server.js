// One way to ask the server. Addresses are relative to the installation's root, so a proxy may serve it below a path.
import { tag, t } from "./i18n.js";

export const ROOT = new URL("../../../", import.meta.url);

/** The address of a path of the API, absolute. */
export const address = (path) => new URL(path, ROOT).href;

/** What the server refused, with a sentence that can be shown. `status` 0 means it was not reached. */
export class Refused extends Error {
  constructor(status, code, message, details) {
    super(message);
    this.status = status;
    this.code = code;
    this.details = details;
  }
}

/** The error of an answer that is not 2xx, in words. */
export async function refusal(response) {
  try {
    const { error } = await response.json();
    return new Refused(response.status, error.code, error.message, error.details);
  } catch {
    return new Refused(response.status, "http", t("error_http", { status: response.status }));
  }
}

/** The answer as a Response; throws `Refused`. */
export async function send(method, path, { body, token, headers = {}, signal } = {}) {
  const all = { Accept: "application/json", "Accept-Language": tag, ...headers };
  if (token) all.Authorization = `Bearer ${token}`;
  if (body !== undefined && !(body instanceof FormData)) all["Content-Type"] = "application/json";
  const sent = body === undefined || body instanceof FormData ? body : JSON.stringify(body);
  let response;
  try {
    response = await fetch(address(path), { method, headers: all, body: sent, signal, cache: "no-store" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused(0, "offline", t("error_offline"));
  }
  if (!response.ok) throw await refusal(response);
  return response;
}

/** The answer's JSON, null for an empty one. */
export async function ask(method, path, options) {
  const response = await send(method, path, options);
  return response.status === 204 ? null : response.json();
}
