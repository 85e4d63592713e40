// What the console asks of the server. A session that has run out brings the sign-in back over the page and then goes on.
import { language, t } from "../shared/i18n.js";
import { address, ask, Refused } from "../shared/server.js";

let signIn = null;
let waiting = null;

/** `show()` asks a person to sign in and resolves when they have. */
export function onExpired(show) {
  signIn = show;
}

async function again(request) {
  try {
    return await request();
  } catch (error) {
    if (error.status !== 401 || !signIn) throw error;
    // Several requests can find the session gone at once; one sign-in serves them all.
    waiting ??= signIn().finally(() => (waiting = null));
    await waiting;
    return request();
  }
}

// Changes under way. Whoever deletes something and goes to the trash at once must find it there, so what is read waits
// for what was changed before. A POST may work for long (a check, a search) and is not waited for.
const changes = new Set();

function change(method, path, body) {
  const work = again(() => ask(method, path, { body }));
  const ended = work.then(
    () => changes.delete(ended),
    () => changes.delete(ended),
  );
  changes.add(ended);
  return work;
}

export async function get(path) {
  await Promise.all(changes);
  return again(() => ask("GET", path));
}

export const post = (path, body = {}) => again(() => ask("POST", path, { body }));
export const put = (path, body) => change("PUT", path, body);
export const patch = (path, body) => change("PATCH", path, body);
export const remove = (path) => change("DELETE", path);

/** A path with a query; empty values are left out. */
export function query(path, values) {
  const used = Object.entries(values).filter(([, value]) => value !== "" && value !== null && value !== undefined);
  return used.length ? `${path}?${new URLSearchParams(used)}` : path;
}

/** Sends a file with fields; `onprogress(fraction)`. fetch cannot tell how far an upload is, so this is an XMLHttpRequest. */
export function upload(path, file, fields = {}, onprogress = () => {}, signal = undefined) {
  const once = () =>
    new Promise((resolve, reject) => {
      const form = new FormData();
      for (const [name, value] of Object.entries(fields)) form.append(name, value);
      form.append("file", file, file.name);
      const request = new XMLHttpRequest();
      request.open("POST", address(path));
      request.setRequestHeader("Accept", "application/json");
      request.setRequestHeader("Accept-Language", language);
      request.responseType = "json";
      request.upload.onprogress = ({ loaded, total }) => total && onprogress(loaded / total);
      request.onerror = () => reject(new Refused(0, "offline", t("upload_broken")));
      request.onabort = () => reject(new Refused(0, "aborted", t("upload_stopped")));
      request.onload = () => {
        if (request.status < 300) return resolve(request.response);
        const { code = "http", message = t("error_http", { status: request.status }) } = request.response?.error ?? {};
        return reject(new Refused(request.status, code, message));
      };
      signal?.addEventListener("abort", () => request.abort());
      request.send(form);
    });
  return again(once);
}

const OVER = new Set(["done", "failed", "cancelled"]);
const POLL_MS = 700;

/** Follows a job to its end and returns it; `onchange(job)` at each change. Events where they come, questions where not. */
export function follow(jobId, onchange = () => {}, signal = undefined) {
  return new Promise((resolve, reject) => {
    const source = new EventSource(address(`api/jobs/${jobId}/events`));
    let timer = 0;
    const stop = () => {
      source.close();
      clearTimeout(timer);
    };
    const take = (job) => {
      if (signal?.aborted) return stop();
      onchange(job);
      if (!OVER.has(job.state)) return undefined;
      stop();
      return resolve(job);
    };
    const poll = async () => {
      try {
        take(await get(`api/jobs/${jobId}`));
      } catch (error) {
        // A restarting service is worth waiting for; a job that is gone is not.
        if (error.status && error.status < 500) {
          stop();
          reject(error);
          return;
        }
      }
      if (timer !== null && !signal?.aborted) timer = setTimeout(poll, POLL_MS);
    };
    source.addEventListener("progress", (event) => take(JSON.parse(event.data)));
    source.addEventListener("done", (event) => {
      take(JSON.parse(event.data));
    });
    source.onerror = () => {
      source.close();
      if (!timer) timer = setTimeout(poll, POLL_MS);
    };
    signal?.addEventListener("abort", stop);
  });
}
